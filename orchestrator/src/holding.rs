//! One attempt that this orchestrator holds: it waits, or a node has been asked to take it.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_bus::id::{Inbox, NodeId};
use echo_bus::message::{self, Excluded, Failure, Task};

use crate::expected::{KEPT, Prompt, Stand, Step};
use crate::need::Need;
use crate::queue::{Entry, Place};
use crate::reason::Reason;
use crate::registry::Key;
use crate::scheduler::Bars;
use crate::trace::Placement;

/// How long a task keeps away from the nodes that lost it, if nobody else is left.
const RELIEF: Duration = Duration::from_secs(2);
/// However long a task has waited before, it may wait this long again when it comes again.
const SECOND_WAIT: Duration = Duration::from_secs(10);

/// An attempt that is held.
#[derive(Debug)]
pub struct Holding {
    pub task: Arc<Task>,
    pub need: Need,
    pub inbox: Inbox,
    /// Where the answer to the submission goes, while there is none.
    pub reply: Option<Inbox>,
    pub arrived: Instant,
    waited_before: Duration,
    /// The end of the task's own time.
    pub ends: Instant,
    /// The end of its time in the queue.
    pub gives_up: Instant,
    /// Nodes that refused this attempt for good.
    pub skipped: Vec<Excluded>,
    /// What the last of them said.
    pub refusal: Option<Failure>,
    /// When the nodes that lost it are allowed again; `None` once they are.
    pub relief: Option<Instant>,
    /// When to refuse it, if nobody has turned up by then who serves its model.
    pub judged_at: Option<Instant>,
    /// The size of the task as JSON, once somebody has asked for it.
    bytes: OnceCell<usize>,
    /// As far as engines' caches are concerned, once it was looked at.
    pub prompt: Option<Arc<Prompt>>,
    /// What was decided about it last.
    pub plan: Option<Plan>,
    /// For how many seconds it is held, by the newest plan that has held it; absent where nothing was measured.
    pub outlook: Option<f64>,
    /// What was expected of its wait when it came into the queue, in milliseconds: 0 until it does.
    pub first_wait: Option<u64>,
    /// Why the node was asked that was asked last.
    pub reason: Option<Arc<Reason>>,
    pub phase: Phase,
    pub trace: Placement,
}

/// The node that it is held for, and the next best ones.
#[derive(Debug)]
pub struct Plan {
    pub stand: Stand,
    /// What it costs on others, with the time of the plan on top, so that it compares with later ones.
    others: [Option<(Key, f64)>; KEPT],
    /// Others that are worse.
    pub more: usize,
}

impl Plan {
    pub fn of(step: &Step, now: f64) -> Self {
        let mut beside = step.instead_of.iter().map(|(key, verdict)| (*key, verdict.cost + now));
        let others = std::array::from_fn(|_| beside.next());
        let stand = Stand { key: step.key, fit: step.fit, verdict: step.verdict, at: now };
        Self { stand, others, more: step.more }
    }

    /// How many nodes were looked at.
    pub fn looked_at(&self) -> usize {
        self.costs().count()
    }

    /// Each node that was looked at, and what it costs there with the time of the plan on top.
    pub fn costs(&self) -> impl Iterator<Item = (Key, f64)> {
        std::iter::once((self.stand.key, self.stand.verdict.cost + self.stand.at))
            .chain(self.others.iter().flatten().copied())
    }
}

/// Where an attempt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Nowhere, for the length of one event.
    Adrift,
    Waiting {
        place: Place,
        /// What the edge was told last, and when.
        told: (u32, Instant),
    },
    /// This node has been asked, and has not answered.
    Asked(NodeId),
}

impl Holding {
    pub fn new(mut task: Box<Task>, need: Need, inbox: Inbox, now: Instant, queue_wait: Duration) -> Self {
        let trace = Placement::begin(&mut task);
        let waited_before = Duration::from_millis(task.waited_ms);
        let wait = queue_wait.saturating_sub(waited_before).max(queue_wait.min(SECOND_WAIT));
        Self {
            need,
            inbox,
            reply: None,
            arrived: now,
            waited_before,
            ends: now + Duration::from_millis(task.remaining_ms),
            gives_up: now + wait,
            skipped: Vec::new(),
            refusal: None,
            relief: (!task.excluded.is_empty() && !task.second_opinion).then(|| now + RELIEF),
            judged_at: None,
            bytes: OnceCell::new(),
            task: Arc::from(task),
            prompt: None,
            plan: None,
            outlook: None,
            first_wait: Some(0),
            reason: None,
            phase: Phase::Adrift,
            trace,
        }
    }

    /// As the queue sees it.
    pub fn entry(&self) -> Entry<'_> {
        Entry { line: &self.need.line, client: &self.task.client, bytes: self.bytes() }
    }

    /// The size of the task as JSON. To find it the whole request is read, so that is left to those who wait.
    pub fn bytes(&self) -> usize {
        *self.bytes.get_or_init(|| bytes(&self.task))
    }

    pub fn attempt(&self) -> u32 {
        self.task.attempt
    }

    /// The nodes that it does not go to.
    pub fn bars(&self) -> Bars<'_> {
        let relieved = self.relief.is_none() && !self.task.second_opinion;
        Bars { excluded: &self.task.excluded, skipped: &self.skipped, relieved }
    }

    /// An earlier attempt was lost with its node, so somebody did serve the model a moment ago.
    pub fn has_history(&self) -> bool {
        !self.task.excluded.is_empty() || self.task.so_far.is_some()
    }

    /// The time waited, here and before.
    pub fn waited(&self, now: Instant) -> Duration {
        self.waited_before + now.saturating_duration_since(self.arrived)
    }

    /// Where it belongs in the queue, in microseconds after `start`: where its whole wait would have begun.
    pub fn since(&self, start: Instant) -> i64 {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        micros(self.arrived.saturating_duration_since(start)).saturating_sub(micros(self.waited_before))
    }

    /// When it is given up.
    pub fn deadline(&self) -> Instant {
        self.ends.min(self.gives_up)
    }
}

/// The size of a task as JSON.
fn bytes(task: &Task) -> usize {
    let so_far = task.so_far.as_ref().map_or(0, |so_far| so_far.content.len() + so_far.thinking.len());
    message::size(&task.request) + so_far
}
