//! What the node does about its engine's health: it tells the mesh which models take no task, and tries them.

use std::time::Instant;

use echo_bus::message::{Code, Failure};
use tracing::{info, warn};

use super::Node;
use super::action::Action;
use crate::health::Health;
use crate::trial::Trial;

impl Node {
    /// Lets the engine's health learn something, and tells the mesh what follows from it.
    pub(super) fn judge_health(&mut self, now: Instant, learn: impl FnOnce(&mut Health)) {
        let (node, models) = (self.unavailable(), self.closed_models());
        learn(&mut self.health);
        let (node_now, models_now) = (self.unavailable(), self.closed_models());
        if node == node_now && models == models_now {
            return;
        }
        match (&node_now, models_now.first()) {
            (Some(reason), _) if node != node_now => warn!(reason, "this node is unavailable"),
            (None, None) => info!("the engine can be used"),
            (None, Some(reason)) => warn!(reason, "a model is unavailable on this node"),
            _ => {}
        }
        self.told.models_changed |= models != models_now;
        self.schedule.changed(models_now.len() < models.len() || node_now.is_none(), now);
    }

    fn closed_models(&self) -> Vec<String> {
        let closed = |model: String| self.health.closed(&model).map(|why| format!("{model} is {why}"));
        self.catalog.names().into_iter().filter_map(closed).collect()
    }

    /// Asks the engine itself where only its own answer can tell.
    pub(super) fn try_if_due(&mut self, now: Instant) {
        if self.is_draining() {
            return;
        }
        let Some(model) = self.health.trial_due(now) else { return };
        match self.catalog.find(&model) {
            Some(found) => {
                let with = self.catalog.loaded_with(&model);
                let trial = Trial::of(found, with, self.identity.load_timeout);
                self.out.push(Action::Try(Box::new(trial)));
            }
            None => self.health.tried(&model, Ok(()), now),
        }
    }

    pub(super) fn tried(&mut self, model: &str, result: Result<(), Failure>, now: Instant) {
        let open = self.health.closed(model).is_none();
        let result = match result {
            // A busy engine says nothing of an open model.
            Err(failure) if open && matches!(failure.code, Code::EngineBusy | Code::EngineStalled) => Ok(()),
            // The trial is ours: its words quote nobody.
            other => other.map_err(|failure| failure.message),
        };
        self.judge_health(now, |health| health.tried(model, result, now));
    }
}
