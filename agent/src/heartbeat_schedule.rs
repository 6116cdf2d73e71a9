//! When the next heartbeat is due: regularly, and soon after a change, but never in a flood.

use std::time::{Duration, Instant};

/// The shortest time between beats about changes.
const CHANGED: Duration = Duration::from_millis(50);

/// A node that can take work again says so sooner: somebody may be waiting for it.
const FREED: Duration = Duration::from_millis(5);

/// A beat lists each attempt, and whoever hears it reads each. Where there are more than so many, beats about changes are
/// rarer in proportion: what is listed in a second stays the same.
const LISTED: usize = 256;

/// The schedule of the heartbeats.
#[derive(Debug)]
pub struct HeartbeatSchedule {
    every: Duration,
    last: Option<Instant>,
    /// How many times longer the pauses are.
    stretch: u32,
    due: Instant,
}

impl HeartbeatSchedule {
    /// The first beat is due at once.
    pub fn new(every: Duration, now: Instant) -> Self {
        Self { every, last: None, stretch: 1, due: now }
    }

    /// Something has changed; `freed` if the node was full and is not any more.
    pub fn changed(&mut self, freed: bool, now: Instant) {
        let pause = if freed { FREED } else { CHANGED };
        let soonest = self.last.map_or(now, |last| (last + pause * self.stretch).max(now));
        self.due = self.due.min(soonest);
    }

    /// When the next beat is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// A beat that lists so many attempts went out.
    pub fn beaten(&mut self, listed: usize, now: Instant) {
        self.last = Some(now);
        self.stretch = u32::try_from(listed.div_ceil(LISTED)).unwrap_or(u32::MAX).max(1);
        self.due = now + self.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_lists_are_told_less_often_and_never_less_than_regularly() {
        let now = Instant::now();
        let mut schedule = HeartbeatSchedule::new(Duration::from_secs(1), now);
        for (listed, changed, freed) in [
            (0, CHANGED, FREED),
            (LISTED, CHANGED, FREED),
            (LISTED * 4, CHANGED * 4, FREED * 4),
            (1_000_000, CHANGED * 20, CHANGED * 20),
        ] {
            schedule.beaten(listed, now);
            schedule.changed(false, now);
            assert_eq!(schedule.due() - now, changed, "{listed}");
            schedule.changed(true, now);
            assert_eq!(schedule.due() - now, freed, "{listed}");
        }
    }

    #[test]
    fn a_freed_slot_is_told_sooner_than_other_changes() {
        let now = Instant::now();
        let mut schedule = HeartbeatSchedule::new(Duration::from_secs(1), now);
        schedule.beaten(1, now);
        schedule.changed(false, now);
        assert_eq!(schedule.due(), now + CHANGED);
        schedule.changed(true, now);
        assert_eq!(schedule.due(), now + FREED);
        schedule.changed(false, now);
        assert_eq!(schedule.due(), now + FREED, "a lesser change delays nothing");
    }

    proptest! {
        #[test]
        fn beats_are_neither_rare_nor_a_flood(changes in prop::collection::vec((0u64..400, any::<bool>()), 0..100)) {
            let start = Instant::now();
            let every = Duration::from_secs(1);
            let (mut schedule, mut now, mut beats) = (HeartbeatSchedule::new(every, start), start, Vec::new());
            for (wait, freed) in changes {
                let next = now + Duration::from_millis(wait);
                while schedule.due() <= next {
                    now = schedule.due().max(now);
                    schedule.beaten(1, now);
                    beats.push(now);
                }
                now = next;
                schedule.changed(freed, now);
            }
            for pair in beats.windows(2) {
                let between = pair[1].duration_since(pair[0]);
                prop_assert!(between >= FREED && between <= every);
            }
        }
    }
}
