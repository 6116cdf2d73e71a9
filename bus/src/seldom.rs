//! A line of the log that others can cause: said once in a while, with how often it was not. A flood of nonsense fills no disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two such lines.
const PAUSE: Duration = Duration::from_secs(1);

/// For a `static` beside the line.
#[derive(Debug)]
pub struct Seldom(Mutex<Said>);

#[derive(Debug)]
struct Said {
    last: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    #[expect(clippy::new_without_default, reason = "it is made in a constant")]
    pub const fn new() -> Self {
        Self(Mutex::new(Said { last: None, left_out: 0 }))
    }

    /// Whether the line may be said now: then how many were left out since the last one.
    pub fn may_say(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            said.left_out += 1;
            return None;
        }
        said.last = Some(now);
        Some(std::mem::take(&mut said.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_line_is_one_line_and_a_count() {
        let (seldom, begun) = (Seldom::new(), Instant::now());
        let said: Vec<u64> = (0..25_000_u64)
            .filter_map(|at| seldom.may_say(begun + Duration::from_micros(100 * at)))
            .collect();
        assert_eq!(said, [0, 9_999, 9_999]);
    }
}
