//! The state of a node and what follows from each event. No I/O and no clock: `apply` takes both from outside.

mod action;
mod admit;
mod beat;
mod breaker;
mod drain;
mod edges;
mod event;
mod holding;
mod identity;
mod measure;
mod registry;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_bus::client::Link;
use echo_bus::clock::Now;
use echo_bus::holding::Fence;
use echo_bus::id::{AttemptId, Inbox};
use echo_bus::message::{Cancel, Code, Failure, Namesake, Paused, Pong, Space};
use tracing::{debug, info, warn};

use crate::attempt::{End, Report};
use crate::calibrate::Calibration;
use crate::catalog::Catalog;
use crate::duplicate_node::DuplicateNode;
use crate::engine::{Down, Probe};
use crate::facts::Facts;
use crate::gap::Gap;
use crate::health::{Health, Sign};
use crate::heartbeat_schedule::HeartbeatSchedule;
use crate::owner::Owner;
use crate::slots::Slots;
pub use action::{Action, Leave};
use edges::Edges;
pub use event::Event;
use holding::Holdings;
pub use identity::Identity;

/// How often an engine is asked that answers, and one that does not.
const PROBE_UP: Duration = Duration::from_secs(5);
const PROBE_DOWN: Duration = Duration::from_millis(900);

/// The soonest question after a task: what is loaded may have changed.
const PROBE_SOON: Duration = Duration::from_secs(1);

/// How long a leaving agent waits for the edges to have received the ends of their attempts.
const FAREWELL: Duration = Duration::from_secs(1);

/// One node.
pub struct Node {
    identity: Identity,
    started: Instant,
    slots: Slots,
    /// What the engine has, be it more than is offered.
    engine_slots: u32,
    holdings: Holdings,
    edges: Edges,
    fence: Fence,
    gap: Gap,
    health: Health,
    facts: Arc<Facts>,
    calibration: Calibration,
    digests: measure::Digests,
    catalog: Catalog,
    schedule: HeartbeatSchedule,
    duplicate: DuplicateNode,
    link: Link,
    memory: Space,
    disk: Space,
    /// Of the last heartbeat.
    number: u64,
    told: beat::Told,
    owner: Owner,
    /// Why the node takes nothing new, as the mesh was told.
    told_pause: Option<Paused>,
    stop: Option<Stop>,
    probing: bool,
    /// When the engine was asked last.
    probe_asked: Instant,
    probe_due: Instant,
    /// What is asked before then may be answered too early.
    probe_again: Option<Instant>,
    /// When the engine last gave something.
    active: Option<Instant>,
    out: Vec<Action>,
}

/// A stop under way.
#[derive(Debug, Clone, Copy)]
struct Stop {
    deadline: Instant,
    /// When the last attempt had ended.
    idle: Option<Instant>,
}

impl Node {
    /// A node that has just begun to listen.
    pub fn new(
        identity: Identity,
        owner: Owner,
        slots: Slots,
        facts: Arc<Facts>,
        link: Link,
        now: Now,
    ) -> Self {
        Self {
            engine_slots: identity.slots.unwrap_or(1),
            schedule: HeartbeatSchedule::new(identity.heartbeat, now.at),
            started: now.at,
            slots,
            holdings: Holdings::default(),
            edges: Edges::default(),
            fence: Fence::default(),
            gap: Gap::new(now),
            health: Health::default(),
            facts,
            calibration: Calibration::new(identity.calibrate, now.at),
            digests: measure::Digests::default(),
            catalog: Catalog::new(owner.rules.offer.clone()),
            duplicate: DuplicateNode::default(),
            link,
            memory: Space::default(),
            disk: Space::default(),
            number: 0,
            told: beat::Told::default(),
            told_pause: None,
            owner,
            stop: None,
            probing: false,
            probe_asked: now.at,
            probe_due: now.at,
            probe_again: None,
            active: None,
            out: Vec::new(),
            identity,
        }
    }

    /// Takes an event; returns what is to be done, in this order.
    pub fn apply(&mut self, event: Event, now: Now) -> Vec<Action> {
        if self.gap.observe(now) {
            warn!("this process was not running for a while; what waited is confirmed before it is run");
            self.edges.begin_anew(now.at);
            self.facts.skip(now.at);
        }
        self.look_at_the_clock(now);
        match event {
            Event::Cancel(cancel) => self.cancel(cancel, now.at),
            Event::Ping(to) => self.ping(to, now.at),
            Event::Beat(beat) => self.heard_beat(&beat, now.at),
            Event::Task { message, reply } => self.task(message, reply, now.at),
            Event::Freed => self.freed(now.at),
            Event::Ended(report) => self.ended(*report, now.at),
            Event::Pulsed { edge, asked, answer } => self.pulsed(&edge, &asked, answer, now.at),
            Event::Probed(result) => self.probed(result, now.at),
            Event::Tried(model, result) => self.tried(&model, result, now.at),
            Event::Calibrated { failed } => self.calibrated(failed, now.at),
            Event::CameBack(gap, whole) => self.gap.came_back(gap, whole),
            Event::Link(link) => self.linked(link, now.at),
            Event::Space { memory, disk } => (self.memory, self.disk) = (memory, disk),
            Event::Usage { usage, zone } => self.measured(usage, zone, now.at),
            Event::Drain => self.set_draining(true, now.at),
            Event::Resume => self.set_draining(false, now.at),
            Event::Ordered { wish, reply } => self.ordered(wish, reply, now.at),
            Event::Stop => self.begin_to_stop(now.at),
            Event::Tick => self.tick(now.at),
        }
        self.settle(now.at);
        std::mem::take(&mut self.out)
    }

    /// When the next heartbeat is due: a tick is wanted then. None is due while nobody can hear it.
    pub fn due(&self) -> Option<Instant> {
        self.link.up.then(|| self.schedule.due())
    }

    fn cancel(&mut self, Cancel(id): Cancel, now: Instant) {
        self.fence.raise(id, now);
        self.holdings.drop_up_to(id);
    }

    fn ping(&mut self, to: Option<Inbox>, now: Instant) {
        let pong = Pong {
            boot: self.identity.boot.clone(),
            uptime_ms: millis(now.duration_since(self.started)),
            held: self.holdings.all(),
        };
        self.out.push(Action::Pong { to, pong });
    }

    fn freed(&mut self, now: Instant) {
        // The heartbeat that frees a slot says as well what has come into memory.
        for model in self.facts.take_answered() {
            let others = self.slots.active().iter().any(|key| self.holdings.model_of(*key) == Some(&model));
            self.told.models_changed |= self.catalog.ended(&model, true, others, now);
        }
        let was_full = self.told.full || self.slots.taken() + 1 >= self.slots.limit() as usize;
        self.schedule.changed(was_full, now);
    }

    fn heard_beat(&mut self, beat: &Namesake, now: Instant) {
        let uptime = now.duration_since(self.started);
        if self.duplicate.hear(beat, &self.identity.boot, uptime, now) {
            let node = &self.identity.node;
            let place = format!("{}:{}", beat.agent_host, beat.agent_port);
            let message = format!(
                "another agent at {place} runs under the node id {node} and has run for longer; give one of them \
                 another id with --node"
            );
            let why = "the agent leaves, since another one has the same node id";
            self.holdings.stop_all(&Failure::elsewhere(Code::Draining, why));
            self.out.push(Action::Leave(Leave::DuplicateNode(message)));
        }
    }

    fn ended(&mut self, report: Report, now: Instant) {
        let AttemptId { task, attempt } = report.key;
        self.fence.raise(report.key, now);
        let broken = Failure::elsewhere(Code::EngineError, "the agent failed while it ran the task");
        if let Some((to, end)) = self.holdings.ended(report.key, &broken, now) {
            self.out.push(Action::Resend { to, frames: vec![end] });
        }
        self.edges.hurry(self.holdings.edge_of(report.key), now);
        let sign = match (&report.end, report.generates) {
            (End::Done, true) => Sign::Good,
            (End::Failed(failure), true) => Sign::of(failure, report.request),
            _ => Sign::None,
        };
        let why = match &report.end {
            End::Failed(failure) => failure.for_log(),
            _ => String::new(),
        };
        match sign {
            Sign::Broken | Sign::CannotLoad => {
                info!(%task, attempt, model = report.model, why, "the engine failed a task");
            }
            _ => debug!(%task, attempt, end = report.end.word(), why, "an attempt has ended"),
        }
        if self.health.learns(&report.model, sign) {
            self.judge_health(now, |health| health.ended(&report.model, sign, &why, now));
        }
        self.told.models_changed |=
            self.catalog.measure(&report.model, report.tokens_per_second, report.load);
        let others = self.holdings.use_model(&report.model);
        let well = matches!(report.end, End::Done);
        let arrived = report.generates && self.catalog.ended(&report.model, well, others, now);
        if arrived {
            self.told.models_changed = true;
            self.schedule.changed(false, now);
        }
        match sign {
            Sign::Broken => self.active = None,
            _ if report.tokens > 0 => self.active = Some(now),
            _ => {}
        }
        let missing = matches!(&report.end, End::Failed(failure) if failure.code == Code::ModelMissing);
        let failed = matches!(&report.end, End::Failed(failure) if failure.code == Code::EngineUnreachable);
        // Of a model that has just been loaded the engine has more to say.
        let at_once = sign == Sign::Broken || failed || missing || arrived || report.moves;
        // An engine that says it will unload a model takes its time.
        self.probe_again = report.moves.then_some(now + PROBE_SOON).or(self.probe_again);
        let soon = if at_once { now } else { now + PROBE_SOON };
        self.probe_due = self.probe_due.min(soon);
    }

    fn probed(&mut self, result: Result<Probe, Down>, now: Instant) {
        self.probing = false;
        match result {
            Ok(probe) => {
                if let (None, Some(slots)) = (self.identity.slots, probe.slots) {
                    self.engine_slots = slots;
                    self.slots.set_limit(self.owner.rules.offered_slots(slots));
                }
                let in_use = |model: &str| self.holdings.use_model(model);
                if self.catalog.update(probe, self.probe_asked, in_use) {
                    self.told.models_changed = true;
                    self.schedule.changed(false, now);
                }
                self.measure_engine();
                let catalog = &self.catalog;
                self.health.retain(|model| catalog.find(model).is_some());
                self.judge_health(now, |health| health.probed(Ok(()), now));
            }
            // An engine that is busy with our tasks may be slow to answer, and is not down for that.
            Err(down) if down.slow && self.active.is_some_and(|at| now.duration_since(at) < PROBE_UP) => {}
            Err(down) => self.judge_health(now, |health| health.probed(Err(down.reason), now)),
        }
        if !self.health.is_up() {
            self.engine_is_down(now);
        }
        self.probe_due = now + if self.health.is_up() { PROBE_UP } else { PROBE_DOWN };
        self.probe_again = self.probe_again.filter(|again| *again > self.probe_asked);
        self.probe_due = self.probe_again.map_or(self.probe_due, |again| again.min(self.probe_due));
    }

    fn linked(&mut self, link: Link, now: Instant) {
        let new = link.up && link.epoch != self.link.epoch;
        self.link = link;
        if new {
            self.gap.reconnected();
            self.edges.begin_anew(now);
            self.digests = measure::Digests::default();
            self.told.models_changed = true;
            self.schedule.changed(true, now);
        }
    }

    fn tick(&mut self, now: Instant) {
        if !self.probing && now >= self.probe_due {
            (self.probing, self.probe_asked) = (true, now);
            self.out.push(Action::Probe);
        }
        self.try_if_due(now);
        self.fence.expire(now);
        self.facts.tick(now);
        self.calibrate_if_due(now);
        self.holdings.forget_old(now);
        if self.link.up {
            self.drop_dead_edges(now);
        }
        self.go_on_stopping(now);
    }

    fn go_on_stopping(&mut self, now: Instant) {
        let Some(stop) = &mut self.stop else { return };
        if now >= stop.deadline {
            let why =
                Failure::elsewhere(Code::Draining, "the agent is stopping and could not wait for the end");
            self.holdings.stop_all(&why);
        }
        if self.slots.taken() > 0 || self.holdings.any_running() {
            stop.idle = None;
            // An attempt that does not even react to being stopped must not keep the process alive.
            if now < stop.deadline + FAREWELL * 2 {
                return;
            }
        }
        let idle = *stop.idle.get_or_insert(now);
        let heard = self.holdings.is_empty() || !self.link.up || now >= idle + FAREWELL;
        if heard {
            self.out.push(Action::Leave(Leave::Drained));
        }
    }

    /// What may follow from any event.
    fn settle(&mut self, now: Instant) {
        if self.link.up
            && let Some(gap) = self.gap.wants_round_trip()
        {
            self.out.push(Action::RoundTrip(gap));
        }
        self.pulse_if_due(now);
        // In this order: whoever hears that a slot is free knows what its cache holds.
        self.tell_caches_if_due(now);
        self.beat_if_due(now);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
