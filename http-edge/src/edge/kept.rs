//! What nobody reads: when its task is cancelled, and when its answer is dropped.
//!
//! Without `keep` a task ends with its last reader, and its answer with the last one who has read its end. With it, both
//! go on for that long after the last reader has left; with a `keep` that does not go on only the answer of a task that has
//! ended does. All kept answers together have a limit in memory: the oldest that
//! nobody reads go first. Ids of kept answers that were dropped are remembered for a while, so that whoever asks hears why.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use echo_bus::id::{ClientName, TaskId};
use echo_bus::message::ReadAnswer;

use super::event::Action;
use super::{Edge, Task};

/// Ids of dropped answers that are remembered.
const REMEMBERED: usize = 4096;

/// Why an answer is kept no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Its time is over.
    Expired,
    /// It had to make room.
    Evicted,
}

/// Why there is no task of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    Unknown,
    Gone(Gone),
}

/// The bounds of what is kept, and what they have cost.
#[derive(Debug)]
pub(super) struct Kept {
    most: usize,
    tasks: HashSet<TaskId>,
    /// Each with what opened it.
    gone: VecDeque<(TaskId, Opens, Gone)>,
}

/// What opens an answer: its key, and the name of its client.
type Opens = (Option<u64>, Option<ClientName>);

impl Kept {
    pub fn new(most: usize) -> Self {
        Self { most, tasks: HashSet::new(), gone: VecDeque::new() }
    }

    pub fn begin(&mut self, task: TaskId) {
        self.tasks.insert(task);
    }

    /// It is kept no longer.
    pub fn end(&mut self, task: TaskId) -> bool {
        self.tasks.remove(&task)
    }

    fn note(&mut self, task: TaskId, opens: Opens, why: Gone) {
        if self.gone.len() == REMEMBERED {
            self.gone.pop_front();
        }
        self.gone.push_back((task, opens, why));
    }

    /// What may be known of a task that is not there, by who asks so.
    pub fn absent(&self, question: &ReadAnswer) -> Absent {
        let opens = |(key, client): &Opens| {
            *client == question.client && key.is_none_or(|key| question.key == Some(key))
        };
        let gone = self.gone.iter().rfind(|(gone, of, _)| *gone == question.task && opens(of));
        gone.map_or(Absent::Unknown, |(.., why)| Absent::Gone(*why))
    }
}

impl Edge {
    /// Lets go of a task that nobody reads, when its time without a reader is over.
    pub(super) fn keep_or_drop(&mut self, id: TaskId, now: Instant, out: &mut Vec<Action>) {
        self.keep_or_drop_because(id, "nobody reads the answer", now, out);
    }

    /// The same; `why` is for the log, if the task is cancelled.
    pub(super) fn keep_or_drop_because(
        &mut self,
        id: TaskId,
        why: &'static str,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if !task.is_read(now) {
            task.alone_since.get_or_insert(now);
        }
        if !task.is_forsaken(now) {
            return;
        }
        if !task.attempts.has_ended() {
            self.hang_up(id, why, out);
        }
        self.drop_task(id, Gone::Expired);
    }

    /// Drops the oldest answers that nobody reads, until those that are left have room.
    pub(super) fn bound_memory(&mut self, now: Instant, out: &mut Vec<Action>) {
        // What somebody reads is bounded by its own limit, and by that of connections.
        let kept = self.kept.tasks.iter().filter_map(|id| self.tasks.get(id).map(|task| (*id, task)));
        let unread = kept.filter(|(_, task)| !task.is_read(now));
        let mut unread: Vec<_> = unread.map(|(id, task)| (task.attempts.began(), id, task.bytes())).collect();
        let mut bytes: usize = unread.iter().map(|(_, _, bytes)| bytes).sum();
        if bytes <= self.kept.most {
            return;
        }
        unread.sort_unstable();
        for (_, id, of_this) in unread {
            if bytes <= self.kept.most {
                return;
            }
            bytes -= of_this;
            if self.tasks.get(&id).is_some_and(|task| !task.attempts.has_ended()) {
                self.hang_up(id, "the memory for kept answers is full", out);
            }
            self.drop_task(id, Gone::Evicted);
        }
    }

    fn drop_task(&mut self, id: TaskId, why: Gone) {
        let Some(task) = self.tasks.remove(&id) else { return };
        if self.kept.end(id) {
            let opens = (task.asked.map(|asked| asked.key), task.owner.name().cloned());
            self.kept.note(id, opens, why);
        }
        self.resequencer.end(id);
        self.holders.end(id);
    }
}

impl Task {
    /// What it takes in memory, about.
    fn bytes(&self) -> usize {
        let asked = self.asked.as_ref().map_or(0, |asked| asked.request.size() + asked.memo.size());
        self.attempts.answer.bytes() + self.request_bytes + asked
    }

    /// Whether somebody reads, here or by way of another edge.
    pub(super) fn is_read(&self, now: Instant) -> bool {
        let elsewhere = self.read_elsewhere.is_some_and(|until| now < until);
        !self.readers.is_empty() || !self.parked.is_empty() || elsewhere
    }

    /// Whether nobody has read for as long as the task goes on without a reader.
    pub(super) fn is_forsaken(&self, now: Instant) -> bool {
        let stays = self.keep.filter(|keep| keep.goes_on || self.attempts.has_ended());
        let time = stays.map(|keep| keep.time).unwrap_or_default();
        !self.is_read(now) && self.alone_since.is_none_or(|since| now >= since + time)
    }
}
