//! Heartbeats: the state of the node as the mesh sees it.

use std::time::Instant;

use echo_bus::message::{Engine, Heartbeat, Model, NodeStatus};

use super::action::Action;
use super::{Node, millis};

/// What the last heartbeat said.
#[derive(Debug, Default)]
pub struct Told {
    /// When one had the models last.
    models: Option<Instant>,
    /// What was measured for the first time until then.
    firsts: u64,
    /// The models are others since.
    pub models_changed: bool,
    /// No slot was free.
    pub full: bool,
}

impl Node {
    pub(super) fn beat_if_due(&mut self, now: Instant) {
        // What is said while disconnected would arrive late and wrong.
        if !self.link.up || now < self.schedule.due() {
            return;
        }
        self.number += 1;
        let beat = self.beat(now);
        self.schedule.beaten(beat.active.len(), now);
        self.told.full = beat.status == NodeStatus::Busy;
        if beat.models.is_some() {
            (self.told.models, self.told.firsts) = (Some(now), self.facts.firsts());
        }
        self.told.models_changed = false;
        self.out.push(Action::Beat(Box::new(beat)));
    }

    fn beat(&self, now: Instant) -> Heartbeat {
        let (status, reason) = self.status();
        let paused = self.paused().map(|(word, _)| word);
        let models = self.tells_models(now).then(|| self.models(now));
        let active = self.slots.active();
        Heartbeat {
            node: self.identity.node.clone(),
            boot: self.identity.boot.clone(),
            number: self.number,
            status,
            reason,
            paused,
            limits: self.owner.rules.limits(self.engine_slots),
            progress: self.progress(&active),
            active: self.holdings.named(active),
            slots: self.slots.limit(),
            models,
            engine: Engine {
                kind: self.identity.kind.as_str().to_owned(),
                version: self.catalog.version.clone(),
            },
            memory: self.memory,
            model_memory: self.model_memory(),
            disk: self.disk,
            agent_host: self.identity.agent_host.clone(),
            agent_port: self.identity.agent_port,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: millis(now.duration_since(self.started)),
            model_management: self.identity.model_management,
            site: self.identity.site.clone(),
        }
    }

    /// All of them in each beat of a busy node would be megabytes a second: it beats at each end of a task.
    fn tells_models(&self, now: Instant) -> bool {
        let is_due = |last: Instant| now.saturating_duration_since(last) >= self.identity.heartbeat * 5 / 4;
        self.told.models_changed
            || self.told.models.is_none_or(is_due)
            || self.told.firsts != self.facts.firsts()
    }

    pub(super) fn models(&self, now: Instant) -> Vec<Model> {
        let mut models = self.catalog.models();
        for model in &mut models {
            self.facts.describe(model, now);
            model.unavailable = self.health.closed(&model.name).unwrap_or_default();
            model.tried = self.health.is_up() && self.health.is_tried(&model.name);
        }
        models
    }

    fn status(&self) -> (NodeStatus, String) {
        if let Some((_, reason)) = self.paused() {
            return (NodeStatus::Draining, reason);
        }
        match self.unavailable() {
            Some(reason) => (NodeStatus::Unavailable, reason),
            None if self.slots.full() => (NodeStatus::Busy, String::new()),
            None => (NodeStatus::Idle, String::new()),
        }
    }

    /// Why the node can take nothing: its engine is down, or takes none of its models.
    pub(super) fn unavailable(&self) -> Option<String> {
        if let Some(reason) = self.health.down() {
            return Some(reason.to_owned());
        }
        let mut reason = None;
        for model in self.catalog.names() {
            reason = Some(format!("{model} is {}", self.health.closed(&model)?));
        }
        reason
    }
}
