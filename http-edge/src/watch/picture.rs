//! All that is shown: nodes and tasks, as they were told, and what has changed since the viewers were told. No I/O and no
//! clock.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use echo_bus::clock::Now;
use echo_bus::id::{NodeId, TaskId};
use echo_bus::message::{Event, Heartbeat, MeshStatus};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::ears::Heard;
use super::node::Node;
use super::patch;
use super::task::{Made, Task};

/// More are not shown.
const NODES: usize = 4_096;
const TASKS: usize = 4_096;
/// Attempts of one node that are looked at: nobody runs more at once, and whoever lists a hundred thousand costs all viewers time.
const ACTIVE: usize = 256;
/// Ended tasks that are shown: the newest.
const ENDED: usize = 200;
/// After so many questions without an answer there is no orchestrator.
const UNANSWERED: u32 = 2;

/// The mesh as this edge sees it.
#[derive(Default)]
pub struct Picture {
    nodes: BTreeMap<NodeId, Node>,
    tasks: HashMap<TaskId, Task>,
    ended: VecDeque<TaskId>,
    /// Questions in a row that no orchestrator has answered.
    unanswered: u32,
    mesh: Mesh,
    /// Whom the viewers may know differently.
    changed_nodes: BTreeSet<NodeId>,
    changed_tasks: BTreeSet<TaskId>,
    /// What the viewers know.
    told: Told,
}

/// What is true of all of it.
#[derive(Debug, Clone, PartialEq, Default)]
struct Mesh {
    /// Not known before the first word of the link.
    connected: Option<bool>,
    orchestrator: Option<String>,
    default_model: Option<String>,
    asked: bool,
}

#[derive(Default)]
struct Told {
    nodes: Map<String, Value>,
    tasks: Map<String, Value>,
    mesh: Map<String, Value>,
}

/// The name under which a task is shown. An id is all that it takes to read an answer, so viewers do not get it; whoever
/// has one can work out its name.
pub fn shown(task: TaskId) -> String {
    let digest = Sha256::digest(task.to_string().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Picture {
    /// Takes what was heard.
    pub fn apply(&mut self, heard: Heard, now: Now) {
        match heard {
            Heard::Beat(beat) => self.beat(&beat, now),
            Heard::Event(event) => self.event(&event, now),
            Heard::Status(status) => self.status(status.as_deref(), now),
            Heard::Link(up) => self.link(up, now),
        }
    }

    fn beat(&mut self, beat: &Heartbeat, now: Now) {
        if let Some(node) = self.nodes.get_mut(&beat.node) {
            if !node.hear(beat, now) {
                return;
            }
        } else if self.nodes.len() < NODES {
            self.nodes.insert(beat.node.clone(), Node::new(beat, now));
        } else {
            return;
        }
        self.changed_nodes.insert(beat.node.clone());
        for (index, held) in beat.active.iter().take(ACTIVE).enumerate() {
            let Some(task) = self.task_mut(held.id.task, now) else { continue };
            let made = task.hear(&beat.node, held.id.attempt, beat.progress.get(index), now);
            self.note_made(made);
        }
    }

    fn event(&mut self, event: &Event, now: Now) {
        let Some(id) = event.task else {
            // Of a node, heartbeats tell more.
            return;
        };
        let Some(task) = self.task_mut(id, now) else { return };
        let was_over = task.state.is_end();
        let made = task.apply(event, now);
        if !was_over && task.state.is_end() {
            self.ended.push_back(id);
        }
        self.note_made(made);
        while self.ended.len() > ENDED {
            let oldest = self.ended.pop_front();
            oldest.into_iter().for_each(|oldest| self.forget(oldest));
        }
    }

    fn status(&mut self, status: Option<&MeshStatus>, now: Now) {
        let Some(status) = status else { return self.unanswered() };
        (self.mesh.asked, self.unanswered) = (true, 0);
        self.mesh.orchestrator = Some(status.orchestrator.as_str().to_owned());
        self.mesh.default_model.clone_from(&status.default_model);
        for state in &status.nodes {
            if !self.nodes.contains_key(&state.node_id) && self.nodes.len() < NODES {
                self.nodes.insert(state.node_id.clone(), Node::told(state, now));
                self.changed_nodes.insert(state.node_id.clone());
            }
        }
    }

    /// An orchestrator was asked in vain. One answer may be lost, and none can come while we are cut off.
    fn unanswered(&mut self) {
        if self.mesh.connected == Some(true) {
            self.unanswered += 1;
        }
        if self.unanswered >= UNANSWERED {
            (self.mesh.asked, self.mesh.orchestrator) = (true, None);
        }
    }

    fn link(&mut self, up: bool, now: Now) {
        self.mesh.connected = Some(up);
        // Nobody's silence counts in which we were cut off.
        self.nodes.values_mut().for_each(|node| node.excuse(now));
        self.tasks.values_mut().for_each(|task| task.excuse(now.at));
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        if self.mesh.connected != Some(true) {
            return;
        }
        self.nodes.retain(|id, node| {
            let forgotten = node.is_forgotten(now.at);
            if forgotten || node.falls_silent(now.at) {
                self.changed_nodes.insert(id.clone());
            }
            !forgotten
        });
        self.tasks.retain(|id, task| {
            let unseen = task.is_unseen(now.at);
            if unseen {
                self.changed_tasks.insert(*id);
            }
            !unseen
        });
    }

    /// A task that is shown from now on, if there is room: of those that no node has, the one that was not heard of for
    /// longest goes.
    fn task_mut(&mut self, id: TaskId, now: Now) -> Option<&mut Task> {
        if !self.tasks.contains_key(&id) && self.tasks.len() >= TASKS {
            let homeless = self.tasks.iter().filter(|(_, task)| task.waits());
            let oldest = homeless.min_by_key(|(_, task)| task.heard).map(|(id, _)| *id)?;
            self.forget(oldest);
        }
        self.changed_tasks.insert(id);
        Some(self.tasks.entry(id).or_insert_with(|| Task::new(now)))
    }

    fn forget(&mut self, task: TaskId) {
        self.tasks.remove(&task);
        self.changed_tasks.insert(task);
    }

    fn note_made(&mut self, made: Option<Made>) {
        let Some(Made(node, tokens)) = made else { return };
        if let Some(known) = self.nodes.get_mut(&node) {
            known.made = known.made.saturating_add(tokens);
            self.changed_nodes.insert(node);
        }
    }

    /// The task that is shown under this name, if it has not ended.
    pub fn task(&self, name: &str) -> Option<TaskId> {
        let mut going = self.tasks.iter().filter(|(_, task)| !task.state.is_end());
        going.find(|(id, _)| shown(**id) == name).map(|(id, _)| *id)
    }

    /// What the viewers know: for one who begins now.
    pub fn whole(&self) -> Value {
        let Told { nodes, tasks, mesh } = &self.told;
        json!({"mesh": mesh, "nodes": nodes, "tasks": tasks})
    }

    /// What they do not know yet, as a merge patch. From now on they do.
    pub fn changes(&mut self) -> Option<Value> {
        let mut patch = Map::new();
        let nodes = std::mem::take(&mut self.changed_nodes).into_iter().map(|id| {
            let now = self.nodes.get(&id).map(object);
            (id.as_str().to_owned(), now)
        });
        note(&mut self.told.nodes, nodes, "nodes", &mut patch);
        let tasks = std::mem::take(&mut self.changed_tasks)
            .into_iter()
            .map(|id| (shown(id), self.tasks.get(&id).map(object)));
        note(&mut self.told.tasks, tasks, "tasks", &mut patch);
        let mesh = self.mesh.shown();
        if let Some(change) = patch::between(&self.told.mesh, &mesh) {
            patch.insert("mesh".to_owned(), change.into());
            self.told.mesh = mesh;
        }
        (!patch.is_empty()).then_some(Value::Object(patch))
    }
}

impl Mesh {
    fn shown(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        shown.extend(self.connected.map(|connected| ("connected".to_owned(), connected.into())));
        if self.asked {
            shown.insert("orchestrator".to_owned(), self.orchestrator.clone().unwrap_or_default().into());
        }
        shown.extend(self.default_model.clone().map(|model| ("default_model".to_owned(), model.into())));
        shown
    }
}

fn object(shown: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(shown) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

/// Notes what is told of some entries now, and puts the difference into the patch.
fn note(
    told: &mut Map<String, Value>,
    entries: impl Iterator<Item = (String, Option<Map<String, Value>>)>,
    name: &str,
    patch: &mut Map<String, Value>,
) {
    let mut changes = Map::new();
    for (key, now) in entries {
        let before = told.get(&key).and_then(Value::as_object);
        let change = match (before, &now) {
            (None, None) => continue,
            (Some(_), None) => Value::Null,
            (None, Some(now)) => now.clone().into(),
            (Some(before), Some(now)) => match patch::between(before, now) {
                Some(change) => change.into(),
                None => continue,
            },
        };
        match now {
            Some(now) => drop(told.insert(key.clone(), now.into())),
            None => drop(told.remove(&key)),
        }
        changes.insert(key, change);
    }
    if !changes.is_empty() {
        patch.insert(name.to_owned(), changes.into());
    }
}

#[cfg(test)]
mod tests;
