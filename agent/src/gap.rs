//! Suspend detection: whether this process was stopped, suspended or cut off for a while. What waited in a socket during such a
//! gap may be old: others may have answered it since. So no task is started after a gap before a round trip that began after it
//! has come back, or before the task's edge has confirmed it (`node/admit.rs`).

use echo_bus::clock::Now;
use echo_bus::holding::LateTick;

/// Whether what arrives may be older than it looks.
#[derive(Debug)]
pub struct Gap {
    tick: LateTick,
    /// Counts the gaps.
    number: u64,
    settled: bool,
    /// The gap that the round trip under way started after.
    asked: Option<u64>,
}

impl Gap {
    /// A process that has just begun to listen.
    pub fn new(now: Now) -> Self {
        Self { tick: LateTick::new(now), number: 0, settled: true, asked: None }
    }

    /// To be called at every tick and before every task; true if a gap has just ended.
    pub fn observe(&mut self, now: Now) -> bool {
        let late = self.tick.observe(now).is_some();
        if late {
            self.open();
        }
        late
    }

    /// The connection is new: what comes may have waited in the broker.
    pub fn reconnected(&mut self) {
        self.open();
    }

    fn open(&mut self) {
        self.number += 1;
        self.settled = false;
    }

    /// Everything that came before or during the gap has been seen.
    pub fn settled(&self) -> bool {
        self.settled
    }

    /// The gap after which a round trip has to start now, if one is needed and none is under way for it.
    pub fn wants_round_trip(&mut self) -> Option<u64> {
        if self.settled || self.asked == Some(self.number) {
            return None;
        }
        self.asked = Some(self.number);
        self.asked
    }

    /// The round trip that started after that gap has come back, or has not.
    pub fn came_back(&mut self, number: u64, whole: bool) {
        if number == self.number {
            self.settled |= whole;
            self.asked = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(now: Now, ms: u64) -> Now {
        Now { at: now.at + Duration::from_millis(ms), unix_ms: now.unix_ms + ms }
    }

    #[test]
    fn a_late_tick_is_a_gap() {
        let start = Now::read();
        let mut gap = Gap::new(start);
        assert!(!gap.observe(after(start, 900)) && gap.settled());
        assert!(gap.observe(after(start, 2100)) && !gap.settled());
    }

    #[test]
    fn only_a_round_trip_that_started_after_the_gap_settles_it() {
        let start = Now::read();
        let mut gap = Gap::new(start);
        gap.reconnected();
        let first = gap.wants_round_trip().unwrap();
        assert_eq!(gap.wants_round_trip(), None, "one at a time");
        assert!(gap.observe(after(start, 5000)));
        gap.came_back(first, true);
        assert!(!gap.settled());
        let second = gap.wants_round_trip().unwrap();
        gap.came_back(second, false);
        assert!(!gap.settled());
        let third = gap.wants_round_trip().unwrap();
        gap.came_back(third, true);
        assert!(gap.settled() && gap.wants_round_trip().is_none());
    }
}
