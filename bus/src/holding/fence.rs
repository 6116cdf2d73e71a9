//! Fencing tokens: attempts that must not run any more, remembered so that a cancel which overtakes its task still works.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::times::{FENCED, FENCES};
use crate::id::{AttemptId, TaskId};

/// A time, small: every attempt of the last minute has two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp(u32);

/// The highest ended attempt of each task that was heard of lately. It stands for [`FENCED`], and there are [`FENCES`] of
/// them at most.
#[derive(Debug, Default)]
pub struct Fence {
    ended: HashMap<TaskId, (u32, Stamp)>,
    order: VecDeque<(Stamp, TaskId)>,
    origin: Option<Instant>,
}

impl Fence {
    /// Ends an attempt and all lower ones of its task.
    pub fn raise(&mut self, id: AttemptId, now: Instant) {
        let AttemptId { task, attempt } = id;
        let origin = *self.origin.get_or_insert(now);
        let now = Stamp::at(now, origin);
        let known = self.ended.get(&task).map_or(attempt, |(known, _)| attempt.max(*known));
        self.ended.insert(task, (known, now));
        self.order.push_back((now, task));
        self.forget(now);
    }

    /// Whether this attempt has been ended.
    pub fn bars(&self, id: AttemptId, now: Instant) -> bool {
        let Some(origin) = self.origin else { return false };
        let now = Stamp::at(now, origin);
        self.ended.get(&id.task).is_some_and(|(known, at)| id.attempt <= *known && at.is_fresh(now))
    }

    /// Gives back the memory of what no longer stands; a fence that is not raised any more does not do so by itself.
    pub fn expire(&mut self, now: Instant) {
        let Some(origin) = self.origin else { return };
        self.forget(Stamp::at(now, origin));
        if self.order.is_empty() {
            *self = Self::default();
        }
    }

    fn forget(&mut self, now: Stamp) {
        while let Some((at, task)) = self.order.front().copied() {
            if self.order.len() <= FENCES && at.is_fresh(now) {
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
        u128::from(now.0.saturating_sub(self.0)) <= FENCED.as_millis() * Self::PER_SECOND / 1000
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const fn id(task: u128, attempt: u32) -> AttemptId {
        AttemptId { task: TaskId::from_u128(task), attempt }
    }

    #[test]
    fn a_cancel_ends_its_attempt_and_all_lower_ones() {
        let (mut fence, now) = (Fence::default(), Instant::now());
        fence.raise(id(1, 3), now);
        fence.raise(id(1, 2), now);
        assert!(fence.bars(id(1, 1), now) && fence.bars(id(1, 3), now));
        assert!(!fence.bars(id(1, 4), now) && !fence.bars(id(2, 1), now));
    }

    #[test]
    fn a_cancel_is_remembered_for_a_minute_from_the_last_one() {
        let (mut fence, start) = (Fence::default(), Instant::now());
        fence.raise(id(1, 1), start);
        fence.raise(id(1, 1), start + Duration::from_secs(50));
        fence.raise(id(2, 1), start + Duration::from_secs(70));
        assert!(fence.bars(id(1, 1), start + Duration::from_secs(109)));
        assert!(!fence.bars(id(1, 1), start + Duration::from_secs(111)));
    }

    #[test]
    fn what_no_longer_stands_takes_no_memory() {
        let (mut fence, start) = (Fence::default(), Instant::now());
        for task in 0..10_000 {
            fence.raise(id(task, 1), start);
        }
        fence.expire(start + FENCED);
        assert!(fence.bars(id(9_999, 1), start + FENCED));
        fence.expire(start + FENCED + Duration::from_secs(1));
        assert_eq!((fence.ended.capacity(), fence.order.capacity()), (0, 0));
    }

    #[test]
    fn a_flood_of_cancels_is_bounded() {
        let (mut fence, now) = (Fence::default(), Instant::now());
        for task in 0..200_000 {
            fence.raise(id(task, 1), now);
        }
        assert!(fence.ended.len() <= FENCES && fence.order.len() <= FENCES);
        assert!(fence.bars(id(199_999, 1), now));
    }

    proptest! {
        #[test]
        fn a_fence_never_falls_within_its_minute(steps in prop::collection::vec((0u128..4, 0u32..5, 0u64..20_000), 1..60)) {
            let (mut fence, mut now) = (Fence::default(), Instant::now());
            let mut all: Vec<(AttemptId, Instant)> = Vec::new();
            for (task, attempt, wait) in steps {
                now += Duration::from_millis(wait);
                let id = id(task, attempt);
                fence.raise(id, now);
                all.push((id, now));
                for (id, at) in &all {
                    prop_assert!(now.duration_since(*at) >= FENCED || fence.bars(*id, now));
                }
            }
        }
    }
}
