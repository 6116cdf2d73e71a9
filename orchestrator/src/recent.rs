//! What is remembered for a while and then forgotten, bounded whatever comes.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use echo_bus::id::TaskId;

/// Something about recent tasks.
#[derive(Debug)]
pub struct Recent<V> {
    kept: HashMap<TaskId, (Instant, V)>,
    /// By age; a task that was noted again is here more than once.
    ages: VecDeque<(Instant, TaskId)>,
    age: Duration,
    limit: usize,
}

impl<V> Recent<V> {
    /// Keeps for `age`, and `limit` tasks at most.
    pub fn new(age: Duration, limit: usize) -> Self {
        Self { kept: HashMap::new(), ages: VecDeque::new(), age, limit }
    }

    pub fn get(&self, task: TaskId) -> Option<&V> {
        self.kept.get(&task).map(|(_, value)| value)
    }

    pub fn note(&mut self, task: TaskId, value: V, now: Instant) {
        self.kept.insert(task, (now, value));
        self.ages.push_back((now, task));
        while self.ages.len() > self.limit {
            self.forget_oldest();
        }
    }

    /// Forgets what is old.
    pub fn expire(&mut self, now: Instant) {
        while self.ages.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > self.age) {
            self.forget_oldest();
        }
        if self.ages.is_empty() && self.kept.capacity() > 4_096 {
            (self.kept, self.ages) = (HashMap::new(), VecDeque::new());
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at, task)) = self.ages.pop_front() else { return };
        if self.kept.get(&task).is_some_and(|(noted, _)| *noted == at) {
            self.kept.remove(&task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_or_too_much_is_forgotten() {
        let (mut recent, start) = (Recent::new(Duration::from_secs(60), 2), Instant::now());
        let [a, b, c] = [1, 2, 3].map(TaskId::from_u128);
        recent.note(a, 1, start);
        recent.note(b, 1, start);
        recent.note(c, 1, start + Duration::from_secs(1));
        assert_eq!((recent.get(a), recent.get(b)), (None, Some(&1)));
        recent.expire(start + Duration::from_secs(61));
        assert_eq!((recent.get(b), recent.get(c)), (None, Some(&1)));
        recent.expire(start + Duration::from_secs(62));
        assert_eq!((recent.get(c), recent.ages.len()), (None, 0));
    }

    #[test]
    fn what_is_noted_again_stays_longer() {
        let (mut recent, start, task) =
            (Recent::new(Duration::from_secs(60), 9), Instant::now(), TaskId::from_u128(1));
        recent.note(task, 1, start);
        recent.note(task, 2, start + Duration::from_secs(50));
        recent.expire(start + Duration::from_secs(70));
        assert_eq!(recent.get(task), Some(&2));
    }
}
