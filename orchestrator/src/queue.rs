//! Who waits for what, in the order of time waited. Bounded in number and in bytes: a full queue is the mesh's backpressure, and the
//! client is told to come back later.

use std::collections::BTreeMap;

use echo_bus::id::TaskId;

use crate::need::Line;

/// Requests may be megabytes; this many bytes of them wait at most.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// A place in a line: who began to wait earlier is before who came later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When the task's wait began, in microseconds since the orchestrator's start; before it for tasks that come again.
    since: i64,
    serial: u64,
}

/// A line for each thing that is waited for.
#[derive(Debug)]
pub struct Queue {
    lines: BTreeMap<Line, BTreeMap<Place, TaskId>>,
    len: usize,
    bytes: usize,
    limit: usize,
    serial: u64,
}

impl Queue {
    pub fn new(limit: usize) -> Self {
        Self { lines: BTreeMap::new(), len: 0, bytes: 0, limit, serial: 0 }
    }

    /// Whether a task of this size may wait too.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.len < self.limit && self.bytes.saturating_add(bytes) <= MAX_BYTES
    }

    /// Lets a task wait; ask [`Queue::has_room`] before.
    pub fn join(&mut self, line: &Line, since: i64, task: TaskId, bytes: usize) -> Place {
        self.serial += 1;
        let place = Place { since, serial: self.serial };
        self.lines.entry(line.clone()).or_default().insert(place, task);
        (self.len, self.bytes) = (self.len + 1, self.bytes + bytes);
        place
    }

    /// Lets a task go.
    pub fn leave(&mut self, line: &Line, place: Place, bytes: usize) {
        let Some(waiting) = self.lines.get_mut(line) else { return };
        if waiting.remove(&place).is_some() {
            (self.len, self.bytes) = (self.len - 1, self.bytes - bytes);
        }
        if waiting.is_empty() {
            self.lines.remove(line);
        }
    }

    /// How many are served before this one, and itself: 1 is next.
    pub fn position(&self, line: &Line, place: Place) -> u32 {
        let before = self.lines.get(line).map_or(0, |waiting| waiting.range(..=place).count());
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    /// Who waits for what, each line in order.
    pub fn lines(&self) -> impl Iterator<Item = (&Line, &BTreeMap<Place, TaskId>)> {
        self.lines.iter()
    }

    pub fn line(&self, line: &Line) -> impl Iterator<Item = TaskId> {
        self.lines.get(line).into_iter().flat_map(|waiting| waiting.values().copied())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(queue: &Queue) -> Vec<TaskId> {
        queue.line(&Line::Default).collect()
    }

    #[test]
    fn who_waited_longer_is_first() {
        let mut queue = Queue::new(9);
        let [a, b, c] = [1, 2, 3].map(TaskId::from_u128);
        let place = queue.join(&Line::Default, 5, a, 1);
        queue.join(&Line::Default, -5, b, 1);
        queue.join(&Line::Default, 5, c, 1);
        assert_eq!(ids(&queue), [b, a, c]);
        assert_eq!(queue.position(&Line::Default, place), 2);
    }

    #[test]
    fn the_queue_is_bounded_in_number_and_in_bytes() {
        let mut queue = Queue::new(2);
        assert!(queue.has_room(MAX_BYTES) && !queue.has_room(MAX_BYTES + 1));
        let place = queue.join(&Line::Default, 0, TaskId::from_u128(1), MAX_BYTES);
        assert!(!queue.has_room(1));
        queue.leave(&Line::Default, place, MAX_BYTES);
        queue.leave(&Line::Default, place, MAX_BYTES);
        assert!(queue.has_room(MAX_BYTES) && queue.is_empty());
        queue.join(&Line::Pull, 0, TaskId::from_u128(1), 1);
        queue.join(&Line::Default, 0, TaskId::from_u128(2), 1);
        assert!(!queue.has_room(1));
    }
}
