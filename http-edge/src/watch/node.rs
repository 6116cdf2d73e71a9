//! What is shown of one node: its newest heartbeat in few words.

use std::time::{Duration, Instant};

use echo_bus::clock::Now;
use echo_bus::id::BootId;
use echo_bus::message::{Capability, Engine, Heartbeat, Model, NodeState, NodeStatus, Paused, Space};
use serde::Serialize;

use super::text::{LONGEST, short};

/// Whoever says nothing for so long is shown as silent: three heartbeats.
pub const SILENT: Duration = Duration::from_secs(3);
/// A node that is not heard of for so long is not shown any more.
pub const FORGOTTEN: Duration = Duration::from_secs(600);
/// Free memory and disk are told in steps, since their last digits change all the time.
const STEP: u64 = 64 << 20;
/// Models of a node that are shown.
const MODELS: usize = 64;
/// What a model can that is shown: as many as there are words for it.
const CAPABILITIES: usize = 16;

/// One node.
#[derive(Debug, Serialize)]
pub struct Node {
    pub status: Status,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<Paused>,
    active: usize,
    slots: u32,
    /// Tokens that this edge has seen it make; how fast is what comes to it in a while.
    pub made: u64,
    models: Vec<Served>,
    engine: Engine,
    memory: Space,
    disk: Space,
    host: String,
    port: u16,
    version: String,
    /// When its agent began, in Unix milliseconds by this edge's clock.
    since: u64,
    /// When it was heard of last, the same way; only of one that is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    heard: Option<u64>,
    #[serde(skip)]
    boot: BootId,
    #[serde(skip)]
    number: u64,
    #[serde(skip)]
    last: Now,
}

/// A heartbeat's word, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Status {
    Said(NodeStatus),
    Silent(Silent),
}

/// The word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Silent {
    Silent,
}

#[derive(Debug, PartialEq, Serialize)]
struct Served {
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    loaded: bool,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    can: Vec<Capability>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_second: Option<f64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    unavailable: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Node {
    /// A node that was heard of for the first time.
    pub fn new(beat: &Heartbeat, now: Now) -> Self {
        let mut node = Self {
            status: Status::Said(beat.status),
            reason: String::new(),
            paused: None,
            active: 0,
            slots: 0,
            made: 0,
            models: Vec::new(),
            engine: Engine::default(),
            memory: Space::default(),
            disk: Space::default(),
            host: String::new(),
            port: 0,
            version: String::new(),
            since: now.unix_ms.saturating_sub(beat.uptime_ms),
            heard: None,
            boot: beat.boot.clone(),
            number: 0,
            last: now,
        };
        node.hear(beat, now);
        node
    }

    /// A node that an orchestrator knows, until it is heard itself.
    pub fn told(state: &NodeState, now: Now) -> Self {
        let beat = Heartbeat {
            node: state.node_id.clone(),
            boot: state.boot.clone(),
            number: 0,
            status: state.status,
            reason: state.reason.clone(),
            paused: state.paused,
            limits: state.limits.clone(),
            active: Vec::new(),
            progress: Vec::new(),
            slots: state.slots,
            models: Some(state.model_details.clone()),
            engine: state.engine.clone(),
            memory: state.memory,
            model_memory: 0,
            disk: state.disk,
            agent_host: state.agent_host.clone(),
            agent_port: state.agent_port,
            version: state.version.clone(),
            uptime_ms: state.uptime_ms,
            model_management: state.model_management,
            site: state.site.clone(),
        };
        Self { active: state.active_tasks as usize, ..Self::new(&beat, now) }
    }

    /// Takes a heartbeat; `false` if a newer one of the same start came before.
    pub fn hear(&mut self, beat: &Heartbeat, now: Now) -> bool {
        let is_new = self.boot != beat.boot;
        if !is_new && beat.number < self.number {
            return false;
        }
        if is_new {
            self.boot = beat.boot.clone();
            self.since = now.unix_ms.saturating_sub(beat.uptime_ms);
        }
        (self.number, self.last, self.heard) = (beat.number, now, None);
        self.status = Status::Said(beat.status);
        (self.reason, self.paused) = (short(&beat.reason), beat.paused);
        (self.active, self.slots) = (beat.active.len(), beat.slots);
        if let Some(models) = &beat.models {
            self.models = models.iter().take(MODELS).map(Served::of).collect();
        }
        self.engine = Engine { kind: short(&beat.engine.kind), version: short(&beat.engine.version) };
        self.memory = in_steps(beat.memory);
        self.disk = in_steps(beat.disk);
        self.host = short(&beat.agent_host);
        self.port = beat.agent_port;
        self.version = short(&beat.version);
        true
    }

    /// Whether the node has become silent by now.
    pub fn falls_silent(&mut self, now: Instant) -> bool {
        let is_silent = now.saturating_duration_since(self.last.at) >= SILENT;
        if !is_silent || self.heard.is_some() {
            return false;
        }
        self.heard = Some(self.last.unix_ms);
        self.active = 0;
        self.status = Status::Silent(Silent::Silent);
        true
    }

    pub fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last.at) >= FORGOTTEN
    }

    /// We could not have heard it: its silence begins now.
    pub fn excuse(&mut self, now: Now) {
        if self.heard.is_none() {
            self.last = now;
        }
    }
}

impl Served {
    fn of(model: &Model) -> Self {
        Self {
            name: short(&model.name),
            loaded: model.loaded,
            size: model.size,
            can: model
                .capabilities
                .iter()
                .filter(|can| can.as_str().len() <= LONGEST)
                .take(CAPABILITIES)
                .cloned()
                .collect(),
            // A digit more would change with every measurement.
            tokens_per_second: model.tokens_per_second.filter(|it| it.is_finite()).map(f64::round),
            unavailable: short(&model.unavailable),
        }
    }
}

fn in_steps(space: Space) -> Space {
    Space { total: space.total, free: space.free / STEP * STEP }
}
