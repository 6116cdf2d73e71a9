//! All that an orchestrator knows, and what it does about each event. No I/O, no clock: the same events at the same times
//! make the same actions.

mod cancel;
mod hear;
mod outlook;
mod place;
mod plan;
mod submit;
#[cfg(test)]
mod tests;
mod tick;
#[cfg(test)]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use echo_bus::holding::{Fence, LocalHealth};
use echo_bus::id::{BootId, Inbox, NodeId, ProcessId, TaskId};
use echo_bus::message::{Cancel, Code, Event as News, Failure, Frame, Held, NodeStatus, Pong, What};
use echo_bus::model_name::ModelName;

use crate::config::Limits;
use crate::event::{Action, Event};
use crate::expected::Book;
use crate::holding::{Holding, Phase};
use crate::queue::{Full, Queue};
use crate::recent::Recent;
use crate::registry::Registry;
use crate::snapshot::Snapshot;
use echo_bus::clock::Now;

/// Two of a node's heartbeats, and a little: before that a started orchestrator does not know who is there.
const LEARNING: Duration = Duration::from_millis(2_500);
/// A cancel may come late, when a node has the attempt already.
const HANDED: Duration = Duration::from_secs(5);
/// Tasks that are remembered after they have left.
const REMEMBERED: usize = 100_000;

/// The state of an orchestrator.
#[derive(Debug)]
pub struct State {
    me: ProcessId,
    boot: BootId,
    limits: Limits,
    registry: Registry,
    queue: Queue,
    /// Of those in the queue, the ones that no plan is made for.
    unplanned: usize,
    book: Book,
    /// When it was last decided where those who wait go.
    planned: Instant,
    held: BTreeMap<TaskId, Box<Holding>>,
    /// What was cancelled: a cancel may overtake the task that it ends. The attempt's number is a fencing token, which bars
    /// all lower ones.
    fence: Fence,
    /// Who took an attempt a moment ago.
    handed: Recent<(u32, NodeId)>,
    edges: BTreeMap<ProcessId, Edge>,
    /// Models that are waited for while no node takes a task for them, and since when.
    outages: BTreeMap<ModelName, Instant>,
    started: Instant,
    /// Whether the silence of others says anything: not while we are away, or asleep.
    health: LocalHealth,
    next_pulse: Instant,
    draining: bool,
    /// Counts the placements.
    placed: u64,
    now: Now,
    out: Vec<Action>,
}

/// An edge of which attempts are held.
#[derive(Debug)]
struct Edge {
    held: BTreeSet<TaskId>,
    /// A pulse is on its way.
    asked: bool,
    /// When it answered last, or when we began to hold something of it.
    answered: Instant,
}

impl State {
    /// The state of an orchestrator that starts now, connected, and has heard of nobody.
    pub fn new(me: ProcessId, boot: BootId, limits: Limits, now: Now) -> Self {
        Self {
            me,
            boot,
            queue: Queue::new(limits.queue_limit),
            unplanned: 0,
            book: Book::new(limits.weights, limits.site_cost.as_secs_f64()),
            limits,
            registry: Registry::default(),
            planned: now.at,
            held: BTreeMap::new(),
            fence: Fence::default(),
            handed: Recent::new(HANDED, REMEMBERED),
            edges: BTreeMap::new(),
            outages: BTreeMap::new(),
            started: now.at,
            health: LocalHealth::new(now),
            next_pulse: now.at,
            draining: false,
            placed: 0,
            now,
            out: Vec::new(),
        }
    }

    /// Takes one event; what is to be done about it, in order.
    pub fn apply(&mut self, event: Event, now: Now) -> Vec<Action> {
        self.now = now;
        match event {
            Event::Beat(beat) => self.hear(*beat),
            Event::Caches(digest) => self.hear_caches(&digest),
            Event::Submitted { task, reply } => self.submit(task, reply),
            Event::Answered { asked, answer } => self.answered(&asked, answer),
            Event::Cancelled(Cancel(id)) => self.cancel(id),
            Event::Gone { peer, boot } => self.gone(&peer, &boot),
            Event::Ponged { node, boot } => self.ponged(&node, &boot),
            Event::Pulsed { edge, answer } => self.pulsed(&edge, answer),
            Event::Pinged { reply } => self.pong(reply),
            Event::StatusAsked { reply } => self.status(reply),
            Event::Link { up } => self.link(up),
            Event::Tick => self.tick(),
            Event::Drain => self.drain(),
        }
        std::mem::take(&mut self.out)
    }

    /// The attempts that are held: in the queue, or on their way to a node.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The attempts that wait in the queue.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// What each node says of itself.
    pub fn nodes(&self) -> impl Iterator<Item = NodeStatus> {
        self.registry.iter().map(|(_, node)| node.beat().status)
    }

    /// Since the start.
    fn seconds(&self) -> f64 {
        self.now.at.saturating_duration_since(self.started).as_secs_f64()
    }

    /// The model of tasks that name none.
    fn default_model(&self) -> Option<ModelName> {
        match &self.limits.default_model {
            Some(name) => Some(ModelName::of(name)),
            None => self.registry.most_common_model().cloned(),
        }
    }

    fn pong(&mut self, to: Inbox) {
        let uptime = self.now.at.saturating_duration_since(self.started);
        let held = self.held.values().map(|holding| held(holding)).collect();
        self.out.push(Action::Pong {
            to,
            pong: Pong { boot: self.boot.clone(), uptime_ms: millis(uptime), held },
        });
    }

    fn status(&mut self, to: Inbox) {
        let default_model = match (&self.limits.default_model, self.default_model()) {
            (Some(name), _) => Some(name.clone()),
            (None, found) => found.and_then(|name| self.registry.spelled(&name).map(str::to_owned)),
        };
        let snapshot = Snapshot {
            orchestrator: self.me.clone(),
            queued: self.queue.len(),
            default_model,
            server_time: self.now.unix_ms,
            nodes: self.registry.iter().map(|(_, node)| node.into()).collect(),
        };
        self.out.push(Action::Status { to, snapshot });
    }

    /// Whether it may wait. While nothing else does its size does not matter: the bus carries nothing that an empty queue
    /// has no room for.
    fn room_for(&self, holding: &Holding) -> Result<(), Full> {
        let bytes = if self.queue.is_empty() { 0 } else { holding.bytes() };
        self.queue.room_for(&holding.task.client, bytes)
    }

    /// Takes an attempt out of all that holds it.
    fn release(&mut self, task: TaskId) -> Option<Box<Holding>> {
        let holding = self.held.remove(&task)?;
        if let Phase::Waiting { place, .. } = &holding.phase {
            self.queue.leave(holding.entry(), *place);
            self.unplanned -= usize::from(!plan::is_planned(&holding.need));
        }
        if let Some(edge) = holding.task.edge.as_ref().and_then(|edge| self.edges.get_mut(edge)) {
            edge.held.remove(&task);
        }
        Some(holding)
    }

    /// Holds an attempt from now on.
    fn keep(&mut self, holding: Box<Holding>) {
        let task = holding.task.task;
        if let Some(edge) = &holding.task.edge {
            let new = || Edge { held: BTreeSet::new(), asked: false, answered: self.now.at };
            self.edges.entry(edge.clone()).or_insert_with(new).held.insert(task);
        }
        self.held.insert(task, holding);
    }

    /// Ends an attempt that is no longer held: its edge decides what comes next.
    fn fail(&mut self, mut holding: Box<Holding>, failure: Failure) {
        self.tell_taken(&mut holding, None);
        holding.trace.failed(failure.code);
        let detail = failure.message.clone();
        let frame = Frame::Failed { seq: None, failure: Box::new(failure) };
        self.out.push(Action::Frame { to: holding.inbox.clone(), frame });
        self.announce_task(What::Released, &holding, None, detail);
    }

    /// Nothing new from now on, and what waits goes back to its edge.
    fn drain(&mut self) {
        self.draining = true;
        let waiting: Vec<_> = self.queue.lines().flat_map(|(_, line)| line.values().copied()).collect();
        for task in waiting {
            if let Some(holding) = self.release(task) {
                self.fail(holding, draining());
            }
        }
    }

    fn announce_node(&mut self, what: What, node: &NodeId, detail: impl Into<String>) {
        let (node, detail) = (Some(node.clone()), detail.into());
        self.out.push(Action::Announce(News { node, detail, ..News::new(what, self.now.unix_ms) }));
    }

    fn announce_task(
        &mut self,
        what: What,
        holding: &Holding,
        node: Option<NodeId>,
        detail: impl Into<String>,
    ) {
        let news = self.news_of_task(what, holding, node, detail);
        self.out.push(Action::Announce(news));
    }

    fn news_of_task(
        &self,
        what: What,
        holding: &Holding,
        node: Option<NodeId>,
        detail: impl Into<String>,
    ) -> News {
        let (task, attempt) = (Some(holding.task.task), Some(holding.attempt()));
        let detail = detail.into();
        let model = holding.task.request.model().unwrap_or_default().to_owned();
        News { node, task, attempt, model, detail, ..News::new(what, self.now.unix_ms) }
    }
}

fn held(holding: &Holding) -> Held {
    Held { id: holding.task.id(), seq: None, ended: false }
}

fn draining() -> Failure {
    Failure::wait(Code::Draining, "this orchestrator is stopping; submit the task again")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
