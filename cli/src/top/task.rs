//! One task as it is shown: where it is, and why there.

use serde_json::Value;

use super::pace::Pace;
use crate::clean::Clean;
use crate::figure::span;
use crate::patch::{self, Patch};

/// Nodes that had it, and nodes that are named beside the one that has it.
const NODES: usize = 8;

/// One task.
#[derive(Debug, Clone, Default)]
pub struct Task {
    pub state: Clean,
    /// The name of the API key that it came with.
    pub client: Clean,
    pub model: Clean,
    pub node: Clean,
    pub nodes: Vec<Clean>,
    pub attempt: u64,
    /// Unix milliseconds by the edge's clock, as all times of it.
    pub began: u64,
    queued: Option<u64>,
    position: Option<u64>,
    expected_wait: Option<u64>,
    pub tokens: u64,
    prompt: bool,
    detail: Clean,
    why: Why,
    /// How long it has waited for its node, where that was seen.
    waited: Option<u64>,
    pub pace: Pace,
}

#[derive(Debug, Clone, Default)]
struct Why {
    expected: Times,
    instead_of: Vec<Other>,
}

/// Milliseconds.
#[derive(Debug, Clone, Default)]
struct Times {
    wait: Option<u64>,
    load: Option<u64>,
    prompt: Option<u64>,
    answer: Option<u64>,
    whole: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Other {
    node: Clean,
    expected: Option<u64>,
    because: Clean,
}

impl Task {
    /// Takes what has changed; `now` is the edge's time.
    pub fn merge(&mut self, told: &Patch, now: u64) {
        let was_running = self.is_running();
        patch::text(&mut self.state, told, "state");
        patch::text(&mut self.client, told, "client");
        patch::text(&mut self.model, told, "model");
        patch::text(&mut self.node, told, "node");
        patch::list(&mut self.nodes, told, "nodes", NODES, Clean::read);
        patch::number(&mut self.attempt, told, "attempt");
        patch::number(&mut self.began, told, "began");
        patch::perhaps(&mut self.queued, told, "queued");
        patch::perhaps(&mut self.position, told, "position");
        patch::perhaps(&mut self.expected_wait, told, "expected_wait_ms");
        patch::number(&mut self.tokens, told, "tokens");
        patch::flag(&mut self.prompt, told, "prompt");
        patch::text(&mut self.detail, told, "detail");
        patch::object(&mut self.why, told, "why", Why::merge);
        if self.is_running() && !was_running {
            self.waited = self.queued.map_or(Some(0), |queued| Some(now.saturating_sub(queued)));
        }
    }

    /// A snapshot does not tell when a task that runs already has left the line.
    pub fn forget_wait(&mut self) {
        if self.queued.is_some() {
            self.waited = None;
        }
    }

    pub fn is_running(&self) -> bool {
        self.state.as_str() == "running"
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "done" | "failed" | "cancelled")
    }

    /// Its state in a word.
    pub fn word(&self) -> &str {
        match self.state.as_str() {
            "running" if self.prompt && self.tokens == 0 => "prompt",
            other => other,
        }
    }

    /// How long it waits already, or had to.
    pub fn wait(&self, now: u64) -> String {
        match (self.is_running(), self.waited, self.queued) {
            (true, Some(waited), _) => span(waited),
            (true, None, _) => "-".to_owned(),
            (false, _, since) => span(now.saturating_sub(since.unwrap_or(self.began))),
        }
    }

    /// Why it is where it is, in one line: what counts most first.
    pub fn why(&self, now: u64) -> String {
        if !self.is_running() {
            return self.why_it_waits(now);
        }
        let others = self.why.instead_of.iter().map(Other::say);
        let mut parts: Vec<String> = Vec::new();
        if self.nodes.len() > 1 {
            let before: Vec<&str> = self.nodes[..self.nodes.len() - 1].iter().map(Clean::as_str).collect();
            parts.push(format!("was on {}", before.join(", ")));
        }
        parts.extend(self.why.expected.say());
        parts.extend(others);
        if parts.is_empty() {
            return "no other node was in question, and nothing is measured here yet".to_owned();
        }
        parts.join("; ")
    }

    fn why_it_waits(&self, now: u64) -> String {
        if self.state.as_str() == "moving" {
            let detail = if self.detail.is_empty() { "looks for a node" } else { self.detail.as_str() };
            return format!("between two attempts: {detail}");
        }
        let waits = now.saturating_sub(self.queued.unwrap_or(self.began));
        let left = self.expected_wait.and_then(|expected| expected.checked_sub(waits));
        let why = match self.position {
            _ if !self.detail.is_empty() => self.detail.to_string(),
            Some(place) => format!("came as number {place} in its line"),
            None => "waits for a slot".to_owned(),
        };
        left.map_or_else(|| why.clone(), |left| format!("about {} to go; {why}", span(left)))
    }
}

impl Why {
    fn merge(&mut self, told: &Patch) {
        patch::object(&mut self.expected, told, "expected_ms", Times::merge);
        patch::list(&mut self.instead_of, told, "instead_of", NODES, Other::read);
    }
}

impl Times {
    fn merge(&mut self, told: &Patch) {
        patch::perhaps(&mut self.wait, told, "wait");
        patch::perhaps(&mut self.load, told, "load");
        patch::perhaps(&mut self.prompt, told, "prompt");
        patch::perhaps(&mut self.answer, told, "answer");
        patch::perhaps(&mut self.whole, told, "whole");
    }

    /// What was expected here; `None` where nothing was measured.
    fn say(&self) -> Option<String> {
        let parts =
            [("wait", self.wait), ("load", self.load), ("prompt", self.prompt), ("answer", self.answer)];
        let known = parts
            .iter()
            .filter_map(|(name, ms)| ms.filter(|ms| *ms > 0).map(|ms| format!("{name} {}", span(ms))));
        let known: Vec<String> = known.collect();
        match (self.whole, known.is_empty()) {
            (None, true) => None,
            (Some(whole), true) => Some(format!("expected {} here", span(whole))),
            (None, false) => Some(format!("expected here: {}", known.join(", "))),
            (Some(whole), false) => Some(format!("expected {} here ({})", span(whole), known.join(", "))),
        }
    }
}

impl Other {
    fn read(told: &Value) -> Self {
        Self {
            node: Clean::read(&told["node"]),
            expected: told["expected_ms"].as_u64(),
            because: Clean::read(&told["because"]),
        }
    }

    fn say(&self) -> String {
        let mut text = format!("not {}", self.node);
        if let Some(expected) = self.expected {
            text.push_str(&format!(" ({})", span(expected)));
        }
        if !self.because.is_empty() {
            text.push_str(&format!(": {}", self.because));
        }
        text
    }
}
