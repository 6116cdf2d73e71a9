//! The books of the small world, kept apart from the orchestrator's own: what it holds, and what each node should count.

use std::collections::{BTreeMap, BTreeSet};

use echo_bus::id::{AttemptId, BootId, Inbox, NodeId, TaskId};
use echo_bus::message::{Code, Failure, Frame, Heartbeat, Submission};

use super::State;
use crate::event::{Answer, Asked};
use crate::holding::Phase;
use crate::testkit::inbox;

#[derive(Default)]
pub struct Ledger {
    attempts: BTreeMap<usize, u32>,
    /// Taken by the orchestrator, and not yet out of its hands.
    held: BTreeSet<AttemptId>,
    /// What was submitted last.
    submitted: Option<AttemptId>,
    submissions: u64,
    /// Submissions without an answer, by where that goes.
    owed: BTreeMap<String, AttemptId>,
    accepted: BTreeSet<(AttemptId, NodeId, BootId)>,
    cancelled: BTreeSet<AttemptId>,
    nodes: BTreeMap<NodeId, Counts>,
    /// Where a copy of an attempt may be: a second one must not be made.
    out: BTreeSet<AttemptId>,
    inboxes: BTreeMap<String, AttemptId>,
}

/// What the orchestrator should count for one start of a node, by the rule in its plainest form.
struct Counts {
    boot: BootId,
    number: u64,
    slots: usize,
    active: BTreeSet<AttemptId>,
    /// Placed, and counted until a heartbeat with a higher number than this; `None` while nobody knows which.
    placed: BTreeMap<AttemptId, Option<u64>>,
    unclear: BTreeSet<AttemptId>,
}

impl Counts {
    fn used(&self) -> usize {
        let placed = self.placed.iter().filter(|(_, after)| after.is_none_or(|after| self.number <= after));
        let mut used = self.active.clone();
        used.extend(placed.map(|(attempt, _)| attempt));
        used.extend(&self.unclear);
        used.len()
    }
}

impl Ledger {
    pub fn attempt(&self, task: usize) -> Option<u32> {
        self.attempts.get(&task).copied()
    }

    pub fn held_attempt(&self, task: usize) -> Option<u32> {
        let id = TaskId::from_u128(task as u128);
        self.held.iter().find(|held| held.task == id).map(|held| held.attempt)
    }

    /// Where the answer to this submission goes.
    pub fn submitted(&mut self, task: usize, attempt: u32) -> Inbox {
        self.attempts.insert(task, attempt);
        let id = AttemptId { task: TaskId::from_u128(task as u128), attempt };
        self.inboxes.insert(inbox(task as u128, attempt).as_str().to_owned(), id);
        self.submitted = Some(id);
        self.submissions += 1;
        let reply = format!("_INBOX.edge.e.reply.{}", self.submissions);
        self.owed.insert(reply.clone(), id);
        reply.try_into().expect("an inbox")
    }

    /// What was submitted last has been taken.
    pub fn taken(&mut self) {
        let attempt = self.submitted.take().expect("something was submitted");
        assert!(!self.cancelled.contains(&attempt), "a cancelled attempt was taken");
        if !self.held.contains(&attempt) {
            // A new attempt ends the old ones.
            self.end_up_to(attempt.task, attempt.attempt - 1);
            self.held.insert(attempt);
        }
    }

    pub fn answered(&mut self, to: &Inbox, answer: &Submission) {
        let attempt = self.owed.remove(to.as_str()).expect("one answer for one submission");
        if let Submission::Taken { by: Some(by), .. } = answer {
            let accepted = (attempt, by.node.clone(), by.boot.clone());
            assert!(self.accepted.contains(&accepted), "a node that has not accepted it was named");
        }
    }

    /// An answer that is not there yet waits for a node's.
    pub fn must_be_answered_unless_asked(&mut self, state: &State) {
        self.submitted = None;
        for attempt in self.owed.values() {
            let held = state.held.get(&attempt.task).filter(|held| held.attempt() == attempt.attempt);
            let asked = held.is_some_and(|held| matches!(held.phase, Phase::Asked(_)));
            assert!(asked, "a submission got no answer");
        }
    }

    pub fn owes_nothing(&self) {
        assert!(self.owed.is_empty(), "submissions without an answer: {:?}", self.owed);
    }

    pub fn cancelled(&mut self, task: usize, attempt: u32) {
        self.end_up_to(TaskId::from_u128(task as u128), attempt);
    }

    fn end_up_to(&mut self, task: TaskId, attempt: u32) {
        self.cancelled.extend((1..=attempt).map(|attempt| AttemptId { task, attempt }));
        self.held.retain(|held| held.task != task || held.attempt > attempt);
    }

    pub fn dropped(&mut self, task: TaskId) {
        self.held.retain(|held| held.task != task);
    }

    pub fn framed(&mut self, to: &Inbox, frame: &Frame) {
        let attempt = self.inboxes[to.as_str()];
        assert!(self.held.contains(&attempt), "a frame for an attempt that is not held: {frame:?}");
        if matches!(frame, Frame::Failed { .. }) {
            self.held.remove(&attempt);
        }
    }

    pub fn held_of_edge(&self, state: &State, task: usize) -> Option<u32> {
        let holding = state.held.get(&TaskId::from_u128(task as u128))?;
        holding.task.edge.is_some().then(|| holding.attempt())
    }

    pub fn heard(&mut self, beat: &Heartbeat) {
        let active = beat.active.iter().map(|held| held.id).collect();
        let counts = self.nodes.entry(beat.node.clone()).or_insert_with(|| Counts::of(beat));
        if counts.boot != beat.boot {
            *counts = Counts::of(beat);
        } else if beat.number > counts.number {
            (counts.number, counts.slots, counts.active) = (beat.number, beat.slots as usize, active);
            counts.unclear.clear();
        }
    }

    /// Evicted nodes come back as strangers.
    pub fn forget_evicted(&mut self, state: &State) {
        self.nodes.retain(|node, _| state.registry.iter().any(|(_, known)| known.id() == node));
    }

    pub fn dispatched(&mut self, asked: &Asked, aside: bool, state: &State) {
        let attempt = asked.id;
        assert!(!self.cancelled.contains(&attempt), "a cancelled attempt was placed");
        assert!(self.out.insert(attempt), "an attempt was placed twice");
        assert!(state.health.is_connected(), "placed while the broker is away");
        let counts = self.nodes.get_mut(&asked.node).expect("a node that was heard");
        assert_eq!(counts.boot, asked.boot);
        if aside {
            return;
        }
        assert!(counts.used() < counts.slots, "placed beyond the slots of {}", asked.node);
        counts.placed.insert(attempt, None);
    }

    pub fn settled(&mut self, asked: &Asked, answer: &Answer) {
        let holds_it = |failure: &Failure| failure.code == Code::Unclear;
        if matches!(answer, Answer::Accepted { .. }) || matches!(answer, Answer::Refused(it) if holds_it(it))
        {
            self.accepted.insert((asked.id, asked.node.clone(), asked.boot.clone()));
        }
        let attempt = asked.id;
        if !matches!(answer, Answer::Accepted { .. } | Answer::Unclear) {
            self.out.remove(&attempt);
        }
        if matches!(answer, Answer::Accepted { .. }) {
            self.held.remove(&attempt);
        }
        let counts = self.nodes.get_mut(&asked.node).filter(|counts| counts.boot == asked.boot);
        let Some(counts) = counts.filter(|counts| counts.placed.contains_key(&attempt)) else { return };
        match answer {
            Answer::Accepted { heartbeat } => {
                counts.placed.insert(attempt, Some(*heartbeat));
            }
            Answer::Unclear => {
                counts.placed.remove(&attempt);
                counts.unclear.insert(attempt);
            }
            _ => {
                counts.placed.remove(&attempt);
            }
        }
    }

    pub fn check_counts(&self, state: &State) {
        assert_eq!(self.nodes.len(), state.registry.iter().count());
        for (_, node) in state.registry.iter() {
            let counts = &self.nodes[node.id()];
            assert_eq!(node.used() as usize, counts.used(), "the count of {}", node.id());
        }
    }

    pub fn check_none_lost(&self, state: &State) {
        let held: BTreeSet<_> = state.held.values().map(|holding| holding.task.id()).collect();
        assert_eq!(held, self.held, "what is held, and what should be");
    }
}

impl Counts {
    fn of(beat: &Heartbeat) -> Self {
        Self {
            boot: beat.boot.clone(),
            number: beat.number,
            slots: beat.slots as usize,
            active: beat.active.iter().map(|held| held.id).collect(),
            placed: BTreeMap::new(),
            unclear: BTreeSet::new(),
        }
    }
}
