//! All that `top` knows: the mesh as the edge has told it. Plain data; no terminal and no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use echo_bus::id::NodeId;
use serde_json::Value;

use super::event::Event;
use super::pace::Pace;
use super::task::Task;
use crate::clean::Clean;
use crate::node::Node;
use crate::patch::{self, Patch};

/// More are not kept: an edge shows no more.
const NODES: usize = 4_096;
const TASKS: usize = 4_400;
/// The longest name of a task that is kept; the edge makes them of sixteen letters.
const NAME: usize = 64;
/// A break that is shorter than this is nobody's concern.
const BRIEF: Duration = Duration::from_millis(1_500);
/// The edge gives a sign of life every ten seconds.
const LATE: Duration = Duration::from_secs(12);

/// The mesh, and how old that is.
#[derive(Debug, Default)]
pub struct State {
    pub nodes: BTreeMap<NodeId, Seen>,
    pub tasks: BTreeMap<String, Task>,
    about: About,
    /// When something was heard last.
    heard: Option<Instant>,
    /// Since when there is no stream, and why.
    broken: Option<(Instant, Clean)>,
    /// The edge's time, and when it was that.
    clock: Option<(u64, Instant)>,
}

/// A node, and how fast it is.
#[derive(Debug, Default)]
pub struct Seen {
    pub node: Node,
    pub pace: Pace,
}

#[derive(Debug, Default)]
struct About {
    connected: Option<bool>,
    orchestrator: Option<Clean>,
}

impl State {
    /// Takes an event.
    pub fn apply(&mut self, event: Event, now: Instant) {
        match event {
            Event::Broken(why) => {
                let since = self.broken.take().map_or(now, |(since, _)| since);
                self.broken = Some((since, why));
                return;
            }
            Event::Alive => {}
            Event::Snapshot(whole) => self.begin_anew(&whole, now),
            Event::Change(patch) => self.merge(&patch, now),
        }
        (self.heard, self.broken) = (Some(now), None);
    }

    /// A second has passed.
    pub fn tick(&mut self, now: Instant) {
        // Nothing is known of a time in which nothing was heard.
        if self.trouble(now).is_some() {
            self.nodes.values_mut().for_each(|seen| seen.pace.pause());
            self.tasks.values_mut().for_each(|task| task.pace.pause());
            return;
        }
        self.nodes.values_mut().for_each(|seen| seen.pace.note(seen.node.made, now));
        self.tasks.values_mut().filter(|task| task.is_running()).for_each(|task| {
            task.pace.note(task.tokens, now);
        });
    }

    /// The edge's time, in Unix milliseconds.
    pub fn edge_time(&self, now: Instant) -> u64 {
        let (at, then) = self.clock.unwrap_or((0, now));
        let passed = u64::try_from(now.saturating_duration_since(then).as_millis()).unwrap_or_default();
        at.saturating_add(passed)
    }

    /// Whether anything was ever heard.
    pub fn has_begun(&self) -> bool {
        self.heard.is_some()
    }

    /// Why what is shown is not what is: a sentence; `None` while all is well.
    pub fn trouble(&self, now: Instant) -> Option<String> {
        let ago = self.heard.map(|heard| now.saturating_duration_since(heard));
        let age = |ago: Duration| format!("OLD: this is from {} s ago", ago.as_secs());
        match (&self.broken, ago) {
            (Some((_, why)), None) => return Some(format!("{why}; trying again")),
            (Some((since, why)), Some(ago)) if now.saturating_duration_since(*since) >= BRIEF => {
                return Some(format!("{}; trying again: {why}", age(ago)));
            }
            (_, Some(ago)) if ago >= LATE => return Some(format!("{}; the edge is silent", age(ago))),
            _ => {}
        }
        if self.about.connected == Some(false) {
            return Some("OLD: the edge has lost the broker, and tries to reach it again".to_owned());
        }
        let is_silent = self.about.orchestrator.as_ref().is_some_and(Clean::is_empty);
        is_silent.then(|| "no orchestrator answers: new tasks wait until one does".to_owned())
    }

    fn begin_anew(&mut self, whole: &Value, now: Instant) {
        let at = whole["at"].as_u64().unwrap_or_default();
        self.clock = Some((at, now));
        self.about = About::default();
        self.tasks.clear();
        let mut before = std::mem::take(&mut self.nodes);
        self.merge(whole, now);
        // What nodes have made while nobody listened was not made in one second.
        for (id, seen) in &mut self.nodes {
            seen.pace = before.remove(id).map(|before| before.pace).unwrap_or_default();
            seen.pace.pause();
        }
        self.tasks.values_mut().for_each(Task::forget_wait);
    }

    fn merge(&mut self, patch: &Value, now: Instant) {
        let at = self.edge_time(now);
        merge_each(&mut self.nodes, patch.get("nodes"), NODES, node_id, |seen, told| seen.node.merge(told));
        merge_each(&mut self.tasks, patch.get("tasks"), TASKS, task_name, |task, told| task.merge(told, at));
        if let Some(told) = patch.get("mesh").and_then(Value::as_object) {
            self.about.merge(told);
        }
    }
}

impl About {
    fn merge(&mut self, told: &Patch) {
        if let Some(connected) = told.get("connected") {
            self.connected = connected.as_bool();
        }
        if let Some(orchestrator) = told.get("orchestrator") {
            self.orchestrator = orchestrator.as_str().map(Clean::of);
        }
    }
}

/// Takes changes of some entries: a null takes one away.
fn merge_each<K: Ord, T: Default>(
    entries: &mut BTreeMap<K, T>,
    told: Option<&Value>,
    most: usize,
    key: impl Fn(&str) -> Option<K>,
    merge: impl Fn(&mut T, &patch::Patch),
) {
    for (name, told) in told.and_then(Value::as_object).into_iter().flatten() {
        let Some(key) = key(name) else { continue };
        let Some(told) = told.as_object() else {
            entries.remove(&key);
            continue;
        };
        if entries.len() < most || entries.contains_key(&key) {
            merge(entries.entry(key).or_default(), told);
        }
    }
}

/// Whoever is no node is not shown.
fn node_id(name: &str) -> Option<NodeId> {
    name.parse().ok()
}

/// Names become part of an address.
fn task_name(name: &str) -> Option<String> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_plain && !name.is_empty() && name.len() <= NAME).then(|| name.to_owned())
}
