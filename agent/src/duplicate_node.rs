//! Two agents under one node id: who of them leaves.
//!
//! A ping cannot tell, since both answer it. Two heartbeats that count on can: only a living process sends them.

use std::time::{Duration, Instant};

use echo_bus::id::BootId;
use echo_bus::message::Namesake;

/// Starts closer together than this are the same age; then the smaller boot id stays.
const SAME_AGE: Duration = Duration::from_millis(100);

/// A beat that comes this long after the one before is no proof that both are from a living process.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// What was heard of a namesake.
#[derive(Debug, Default)]
pub struct DuplicateNode {
    heard: Option<(BootId, u64, Instant)>,
}

impl DuplicateNode {
    /// A heartbeat under our own id; true if we are the one who leaves.
    pub fn hear(&mut self, beat: &Namesake, me: &BootId, uptime: Duration, now: Instant) -> bool {
        if beat.boot == *me {
            return false;
        }
        let before = self.heard.replace((beat.boot.clone(), beat.number, now));
        let alive = before.is_some_and(|(boot, number, at)| {
            boot == beat.boot && number < beat.number && now.duration_since(at) < FORGOTTEN
        });
        alive && younger(uptime, me, Duration::from_millis(beat.uptime_ms), &beat.boot)
    }
}

/// Whether the first of two is the one who leaves. A beat needs time to arrive, which makes its hearer look older, so
/// both never leave.
fn younger(mine: Duration, me: &BootId, theirs: Duration, them: &BootId) -> bool {
    if mine.abs_diff(theirs) <= SAME_AGE { me > them } else { mine < theirs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boot(text: &str) -> BootId {
        text.parse().unwrap()
    }

    #[test]
    fn of_two_that_started_together_one_leaves() {
        let age = Duration::from_secs(5);
        assert!(younger(age, &boot("b"), age, &boot("a")));
        assert!(!younger(age, &boot("a"), age, &boot("b")));
    }

    proptest! {
        #[test]
        fn two_never_both_leave(a in 0u64..5000, b in 0u64..5000, there in 0u64..50, back in 0u64..50, swap in any::<bool>()) {
            let ms = Duration::from_millis;
            let (x, y) = if swap { (boot("b"), boot("a")) } else { (boot("a"), boot("b")) };
            let first = younger(ms(a + there), &x, ms(b), &y);
            let second = younger(ms(b + back), &y, ms(a), &x);
            prop_assert!(!(first && second));
            if a.abs_diff(b) > 200 {
                prop_assert_eq!(first, a < b);
                prop_assert_eq!(second, b < a);
            }
        }
    }
}
