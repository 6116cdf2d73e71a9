//! Builders for tests: a clock that is moved by hand, heartbeats, models and tasks.

use std::time::{Duration, Instant};

use echo_bus::id::{AttemptId, Inbox, TaskId};
use echo_bus::message::{Capability, Engine, Heartbeat, Held, Model, NodeStatus, Space, Task};
use serde_json::{Value, json};

use echo_bus::clock::Now;

/// Time that passes only when it is told to.
pub struct Clock(Now);

impl Clock {
    pub fn new() -> Self {
        Self(Now { at: Instant::now(), unix_ms: 1_700_000_000_000 })
    }

    pub fn at(now: Now) -> Self {
        Self(now)
    }

    pub fn now(&self) -> Now {
        self.0
    }

    pub fn pass(&mut self, ms: u64) {
        self.0.at += Duration::from_millis(ms);
        self.0.unix_ms += ms;
    }
}

pub struct Beat(Heartbeat);

/// A heartbeat of an idle node with one slot.
pub fn beat(node: &str, number: u64) -> Beat {
    Beat(Heartbeat {
        node: node.parse().unwrap(),
        boot: format!("{node}-1").parse().unwrap(),
        number,
        status: NodeStatus::Idle,
        reason: String::new(),
        paused: None,
        limits: Vec::new(),
        active: Vec::new(),
        progress: Vec::new(),
        slots: 1,
        models: None,
        engine: Engine { kind: "ollama".to_owned(), version: String::new() },
        memory: Space { total: 16 << 30, free: 8 << 30 },
        model_memory: 0,
        disk: Space { total: 100 << 30, free: 50 << 30 },
        agent_host: "127.0.0.1".to_owned(),
        agent_port: 9001,
        version: "0.1.0".to_owned(),
        uptime_ms: number * 1_000,
        model_management: false,
        site: None,
    })
}

impl Beat {
    pub fn boot(mut self, boot: &str) -> Self {
        self.0.boot = boot.parse().unwrap();
        self
    }

    pub fn status(mut self, status: NodeStatus) -> Self {
        self.0.status = status;
        self
    }

    pub fn reason(mut self, reason: &str) -> Self {
        reason.clone_into(&mut self.0.reason);
        self
    }

    pub fn slots(mut self, slots: u32) -> Self {
        self.0.slots = slots;
        self
    }

    pub fn active(mut self, active: impl IntoIterator<Item = Held>) -> Self {
        self.0.active = active.into_iter().collect();
        self
    }

    pub fn models(mut self, models: impl IntoIterator<Item = Model>) -> Self {
        self.0.models = Some(models.into_iter().collect());
        self
    }

    pub fn free(mut self, memory: u64, disk: u64) -> Self {
        (self.0.memory.free, self.0.disk.free) = (memory, disk);
        self
    }

    pub fn managed(mut self) -> Self {
        self.0.model_management = true;
        self
    }

    pub fn site(mut self, name: &str) -> Self {
        self.0.site = Some(name.parse().unwrap());
        self
    }

    pub fn build(self) -> Heartbeat {
        self.0
    }
}

pub fn held(task: u128, attempt: u32) -> Held {
    Held { id: AttemptId { task: TaskId::from_u128(task), attempt }, seq: None, ended: false }
}

/// A model that generates.
pub fn model(name: &str) -> Model {
    Model { name: name.to_owned(), capabilities: vec![Capability::Completion], ..Model::default() }
}

/// More words about a model.
pub trait Words {
    fn can(self, capabilities: &[&str]) -> Self;
    fn loaded(self) -> Self;
    fn speed(self, tokens_per_second: f64) -> Self;
    /// In memory, with these load-time options.
    fn loaded_with(self, options: Value) -> Self;
    fn load_ms(self, ms: u64) -> Self;
}

impl Words for Model {
    fn can(mut self, capabilities: &[&str]) -> Self {
        self.capabilities = capabilities.iter().map(|&it| it.into()).collect();
        self
    }

    fn loaded(mut self) -> Self {
        self.loaded = true;
        self
    }

    fn speed(mut self, tokens_per_second: f64) -> Self {
        self.tokens_per_second = Some(tokens_per_second);
        self
    }

    fn loaded_with(mut self, options: Value) -> Self {
        (self.loaded, self.loaded_with) = (true, Some(serde_json::from_value(options).unwrap()));
        self
    }

    fn load_ms(mut self, ms: u64) -> Self {
        self.load_ms = Some(ms);
        self
    }
}

/// A task that generates with model `m`; `more` is added to it.
pub fn task(id: u128, more: Value) -> Task {
    let mut task = json!({
        "task": TaskId::from_u128(id),
        "inbox": inbox(id, 1),
        "request": {"kind": "generate", "prompt": "hi", "model": "m"},
    });
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(task).unwrap()
}

pub fn inbox(task: u128, attempt: u32) -> Inbox {
    Inbox::try_from(format!("_INBOX.edge.e.{task}-{attempt}")).unwrap()
}

pub fn reply() -> Inbox {
    Inbox::try_from("_INBOX.edge.e.reply.1".to_owned()).unwrap()
}
