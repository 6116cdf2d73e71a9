//! A line of the log that may have cause to be said very often: it is said once in a while, with how often it was not.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When something was said last, and how often it was left unsaid since.
#[derive(Debug)]
pub struct Rarely {
    every: Duration,
    last: Mutex<(Option<Instant>, u64)>,
}

impl Rarely {
    pub const fn new(every: Duration) -> Self {
        Self { every, last: Mutex::new((None, 0)) }
    }

    /// Whether to say it now: how often it was left unsaid before.
    pub fn now(&self) -> Option<u64> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0.is_some_and(|said| now.duration_since(said) < self.every) {
            last.1 += 1;
            return None;
        }
        let unsaid = last.1;
        *last = (Some(now), 0);
        Some(unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_said_once_in_a_while_and_counted() {
        let (rarely, began) = (Rarely::new(Duration::from_secs(5)), Instant::now());
        let said: Vec<Option<u64>> =
            (0..12).map(|second| rarely.at(began + Duration::from_secs(second))).collect();
        let told: Vec<(usize, u64)> =
            said.iter().enumerate().filter_map(|(at, it)| Some((at, (*it)?))).collect();
        assert_eq!(told, [(0, 0), (5, 4), (10, 4)]);
    }
}
