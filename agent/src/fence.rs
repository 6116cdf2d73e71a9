//! Attempts that must not run any more, remembered so that a cancel which overtakes its task still works. The attempt's number is a
//! fencing token: it rises with each submission, and a cancel bars its own number and all lower ones.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use echo_bus::id::TaskId;

/// No task is on its way for longer than this.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Under a flood of cancels the oldest are forgotten first.
const MOST: usize = 131_072;

/// A time, small: every attempt of the last minute has two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp(u32);

/// The highest ended attempt of each task that was heard of lately.
#[derive(Debug, Default)]
pub struct Fence {
    ended: HashMap<TaskId, (u32, Stamp)>,
    order: VecDeque<(Stamp, TaskId)>,
    origin: Option<Instant>,
}

impl Fence {
    /// Ends an attempt and all lower ones of its task.
    pub fn raise(&mut self, task: TaskId, attempt: u32, now: Instant) {
        let origin = *self.origin.get_or_insert(now);
        let now = Stamp::at(now, origin);
        let known = self.ended.get(&task).map_or(attempt, |(known, _)| attempt.max(*known));
        self.ended.insert(task, (known, now));
        self.order.push_back((now, task));
        self.forget(now);
    }

    /// Whether this attempt has been ended.
    pub fn bars(&self, task: TaskId, attempt: u32, now: Instant) -> bool {
        let Some(origin) = self.origin else { return false };
        let now = Stamp::at(now, origin);
        self.ended.get(&task).is_some_and(|(known, at)| attempt <= *known && at.is_fresh(now))
    }

    fn forget(&mut self, now: Stamp) {
        while let Some((at, task)) = self.order.front().copied() {
            if self.order.len() <= MOST && at.is_fresh(now) {
                return;
            }
            self.order.pop_front();
            // A fence that was raised again lives on under its later entry.
            if self.ended.get(&task).is_some_and(|(_, raised)| *raised == at) {
                self.ended.remove(&task);
            }
        }
    }
}

impl Stamp {
    /// Hundredths of a second: more than a year fits.
    const PER_SECOND: u128 = 100;

    fn at(now: Instant, origin: Instant) -> Self {
        let since = now.saturating_duration_since(origin).as_millis() * Self::PER_SECOND / 1000;
        Self(u32::try_from(since).unwrap_or(u32::MAX))
    }

    fn is_fresh(self, now: Self) -> bool {
        u128::from(now.0.saturating_sub(self.0)) <= REMEMBERED.as_millis() * Self::PER_SECOND / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TASK: TaskId = TaskId::from_u128(1);

    #[test]
    fn a_cancel_ends_its_attempt_and_all_lower_ones() {
        let (mut fence, now) = (Fence::default(), Instant::now());
        fence.raise(TASK, 3, now);
        fence.raise(TASK, 2, now);
        assert!(fence.bars(TASK, 1, now) && fence.bars(TASK, 3, now));
        assert!(!fence.bars(TASK, 4, now) && !fence.bars(TaskId::from_u128(2), 1, now));
    }

    #[test]
    fn a_cancel_is_remembered_for_a_minute_from_the_last_one() {
        let (mut fence, start) = (Fence::default(), Instant::now());
        fence.raise(TASK, 1, start);
        fence.raise(TASK, 1, start + Duration::from_secs(50));
        fence.raise(TaskId::from_u128(2), 1, start + Duration::from_secs(70));
        assert!(fence.bars(TASK, 1, start + Duration::from_secs(109)));
        assert!(!fence.bars(TASK, 1, start + Duration::from_secs(111)));
    }

    #[test]
    fn a_flood_of_cancels_is_bounded() {
        let (mut fence, now) = (Fence::default(), Instant::now());
        for task in 0..200_000 {
            fence.raise(TaskId::from_u128(task), 1, now);
        }
        assert!(fence.ended.len() <= MOST && fence.order.len() <= MOST);
        assert!(fence.bars(TaskId::from_u128(199_999), 1, now));
    }

    proptest! {
        #[test]
        fn a_fence_never_falls_within_its_minute(steps in prop::collection::vec((0u128..4, 0u32..5, 0u64..20_000), 1..60)) {
            let (mut fence, mut now) = (Fence::default(), Instant::now());
            let mut all: Vec<(TaskId, u32, Instant)> = Vec::new();
            for (task, attempt, wait) in steps {
                now += Duration::from_millis(wait);
                let task = TaskId::from_u128(task);
                fence.raise(task, attempt, now);
                all.push((task, attempt, now));
                for (task, attempt, at) in &all {
                    prop_assert!(now.duration_since(*at) >= REMEMBERED || fence.bars(*task, *attempt, now));
                }
            }
        }
    }
}
