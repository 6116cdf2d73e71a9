//! One node as people are shown it: read from the words of `GET /status` and of `GET /mesh/watch`.

use serde_json::Value;

use crate::clean::Clean;
use crate::figure;
use crate::patch::{self, Patch};

/// Models of a node that are kept.
const MODELS: usize = 64;
/// Sentences about its limits that are kept.
const LIMITS: usize = 8;

/// One node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    pub status: Clean,
    reason: Clean,
    /// What its owner has set, a sentence each.
    limits: Vec<Clean>,
    pub active: u64,
    pub slots: u64,
    /// Tokens that the edge has seen it make.
    pub made: u64,
    pub models: Vec<Model>,
    engine: Engine,
    pub memory: Space,
    pub version: Clean,
    /// Where it stands, if its owner has said.
    pub site: Clean,
    /// When a silent one was heard last, in Unix milliseconds.
    pub heard: Option<u64>,
}

/// One of its models.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub name: Clean,
    /// In memory.
    pub loaded: bool,
    tokens_per_second: Option<f64>,
    /// Why the node takes nothing for it; empty otherwise.
    unavailable: Clean,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Engine {
    kind: Clean,
    version: Clean,
}

/// Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Space {
    total: u64,
    free: u64,
}

impl Node {
    /// Takes what has changed, in the words of the watch.
    pub fn merge(&mut self, told: &Patch) {
        patch::text(&mut self.status, told, "status");
        patch::text(&mut self.reason, told, "reason");
        patch::number(&mut self.active, told, "active");
        patch::number(&mut self.slots, told, "slots");
        patch::number(&mut self.made, told, "made");
        patch::list(&mut self.models, told, "models", MODELS, Model::read);
        self.merge_rest(told);
    }

    /// One out of the registry, which has other words for two things.
    pub fn of_registry(told: &Patch) -> Self {
        let mut node = Self::default();
        patch::text(&mut node.status, told, "status");
        patch::text(&mut node.reason, told, "reason");
        patch::number(&mut node.active, told, "active_tasks");
        patch::number(&mut node.slots, told, "slots");
        patch::list(&mut node.models, told, "model_details", MODELS, Model::read);
        node.merge_rest(told);
        node
    }

    fn merge_rest(&mut self, told: &Patch) {
        patch::object(&mut self.engine, told, "engine", |engine, told| {
            patch::text(&mut engine.kind, told, "kind");
            patch::text(&mut engine.version, told, "version");
        });
        patch::object(&mut self.memory, told, "memory", |memory, told| {
            patch::number(&mut memory.total, told, "total");
            patch::number(&mut memory.free, told, "free");
        });
        patch::list(&mut self.limits, told, "limits", LIMITS, Clean::read);
        patch::text(&mut self.version, told, "version");
        patch::text(&mut self.site, told, "site");
        patch::perhaps(&mut self.heard, told, "heard");
    }

    /// Its state in a word.
    pub fn word(&self) -> &str {
        match self.status.as_str() {
            "idle" if self.active > 0 => "answering",
            "idle" => "ready",
            "draining" if self.active == 0 => "drained",
            other => other,
        }
    }

    /// Whether it takes work now, or will when a slot is free.
    pub fn can_work(&self) -> bool {
        matches!(self.status.as_str(), "idle" | "busy")
            && self.models.iter().any(|model| model.unavailable.is_empty())
    }

    /// Why it is as it is, a sentence each; nothing where the word says all.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        match (self.status.as_str(), self.reason.as_str()) {
            ("draining", reason) if self.active > 0 && !reason.is_empty() => {
                reasons.push(format!("finishes what it has: {reason}"));
            }
            (_, reason) if !reason.is_empty() => reasons.push(reason.to_owned()),
            ("draining", _) if self.active > 0 => {
                reasons.push("finishes what it has, takes nothing new".into())
            }
            ("draining", _) => reasons.push("takes nothing new until it is resumed".into()),
            ("idle" | "busy", _) if self.models.is_empty() => reasons.push("its engine has no model".into()),
            _ => {}
        }
        if matches!(self.status.as_str(), "idle" | "busy") {
            let closed = self.models.iter().filter(|model| !model.unavailable.is_empty());
            reasons.extend(closed.map(|it| {
                format!("takes nothing for {}: {}", figure::model(it.name.as_str()), it.unavailable)
            }));
        }
        reasons.extend(self.limits.iter().map(Clean::to_string));
        reasons
    }

    /// Its models, those in memory first and marked.
    pub fn models(&self) -> String {
        let names = |loaded: bool| self.models.iter().filter(move |model| model.loaded == loaded);
        let marked = names(true).map(|model| format!("{}*", figure::model(model.name.as_str())));
        let others = names(false).map(|model| figure::model(model.name.as_str()).to_owned());
        or_none(&marked.chain(others).collect::<Vec<_>>().join(", "))
    }

    /// Its models in memory.
    pub fn loaded(&self) -> String {
        let loaded = self.models.iter().filter(|model| model.loaded);
        or_none(&loaded.map(|model| figure::model(model.name.as_str())).collect::<Vec<_>>().join(", "))
    }

    /// Tokens a second, as it was measured: of its fastest model in memory; if there is none, of its fastest.
    pub fn measured(&self) -> Option<f64> {
        let best = |loaded: bool| {
            let models = self.models.iter().filter(move |model| model.loaded || !loaded);
            models.filter_map(|model| model.tokens_per_second).max_by(f64::total_cmp)
        };
        best(true).or_else(|| best(false))
    }

    /// The engine and its version.
    pub fn engine(&self) -> String {
        or_none(format!("{} {}", self.engine.kind, self.engine.version).trim())
    }
}

impl Model {
    fn read(told: &Value) -> Self {
        Self {
            name: Clean::read(&told["name"]),
            loaded: told["loaded"] == true,
            tokens_per_second: told["tokens_per_second"].as_f64(),
            unavailable: Clean::read(&told["unavailable"]),
        }
    }
}

impl Space {
    /// 12 of 31 GB.
    pub fn used(&self) -> String {
        if self.total == 0 {
            return "-".to_owned();
        }
        format!("{} of {}", figure::size(self.total.saturating_sub(self.free)), figure::size(self.total))
    }

    /// Which part of it is used, from 0 to 1; absent where it is not known.
    pub fn part(&self) -> Option<f64> {
        (self.total > 0).then(|| self.total.saturating_sub(self.free) as f64 / self.total as f64)
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patch(value: Value) -> Patch {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_patch_changes_what_it_names_and_a_null_takes_away() {
        let mut node = Node::default();
        node.merge(&patch(json!({
            "status": "idle", "active": 1, "slots": 4, "reason": "x",
            "models": [{"name": "m:latest", "loaded": true, "tokens_per_second": 31.0}],
            "memory": {"total": 32_000_000_000_u64, "free": 12_000_000_000_u64},
        })));
        node.merge(&patch(json!({"reason": null, "memory": {"free": 2_000_000_000_u64}, "slots": "?"})));
        assert_eq!((node.word(), node.slots, node.reasons().len()), ("answering", 0, 0));
        assert_eq!(node.memory.used(), "30 GB of 32 GB");
        assert_eq!((node.models(), node.measured()), ("m*".to_owned(), Some(31.0)));
    }

    #[test]
    fn a_node_without_a_model_that_is_open_cannot_work() {
        let node = |status: &str, models: Value| {
            Node::of_registry(&patch(json!({"status": status, "model_details": models})))
        };
        assert!(node("busy", json!([{"name": "a"}])).can_work());
        assert!(!node("idle", json!([])).can_work());
        assert!(!node("draining", json!([{"name": "a"}])).can_work());
        let closed = node("idle", json!([{"name": "a:latest", "unavailable": "its engine died"}]));
        assert!(!closed.can_work());
        assert_eq!(closed.reasons(), ["takes nothing for a: its engine died"]);
    }
}
