//! Heartbeats: the state of the node as the mesh sees it.

use std::time::Instant;

use echo_broker::message::{Engine, Heartbeat, NodeStatus};

use super::{Action, Node, millis};
use crate::health::Admission;

/// What the last heartbeat said.
#[derive(Debug, Default)]
pub struct Told {
    /// It had the models.
    models: bool,
    /// The models are others since.
    pub models_changed: bool,
    /// No slot was free.
    pub full: bool,
}

impl Node {
    pub(super) fn beat_if_due(&mut self, now: Instant) {
        // What is said while disconnected would arrive late and wrong.
        if !self.link.up || now < self.pacer.due() {
            return;
        }
        self.pacer.beaten(now);
        self.number += 1;
        let beat = self.beat(now);
        self.told.full = beat.status == NodeStatus::Busy;
        self.told.models = beat.models.is_some();
        self.told.models_changed = false;
        self.out.push(Action::Beat(Box::new(beat)));
    }

    fn beat(&self, now: Instant) -> Heartbeat {
        let (status, reason) = self.status();
        let models = (self.told.models_changed || !self.told.models).then(|| self.catalog.models());
        Heartbeat {
            node: self.traits.node.clone(),
            boot: self.traits.boot.clone(),
            number: self.number,
            status,
            reason,
            active: self.holdings.named(self.slots.active()),
            slots: self.slots.limit(),
            models,
            engine: Engine {
                kind: self.traits.kind.as_str().to_owned(),
                version: self.catalog.version.clone(),
            },
            memory: self.memory,
            disk: self.disk,
            agent_host: self.traits.agent_host.clone(),
            agent_port: self.traits.agent_port,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: millis(now.duration_since(self.started)),
            model_management: self.traits.model_management,
        }
    }

    fn status(&self) -> (NodeStatus, String) {
        if self.draining {
            return (NodeStatus::Draining, String::new());
        }
        match self.health.admission() {
            Admission::Closed(reason) => (NodeStatus::Unavailable, reason),
            // One task tries whether the engine works again; nothing else fits in meanwhile.
            Admission::Wait => (NodeStatus::Busy, String::new()),
            _ if self.slots.full() => (NodeStatus::Busy, String::new()),
            _ => (NodeStatus::Idle, String::new()),
        }
    }
}
