//! What this orchestrator did before it knew what to expect: each task goes at once to the best free node by counts and
//! criteria, and who finds none waits in line for the first free slot.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use echo_bus::message::Heartbeat;

use super::ids::held;
use super::text::{self, Texts};
use super::world::{Mesh, Policy};
use crate::fit::Fit;
use crate::need::Need;
use crate::queue::AtWork;
use crate::registry::{Key, News, Registry};
use crate::scheduler::{self, Bars};
use echo_bus::clock::Now;

/// An orchestrator that counts.
#[derive(Debug)]
pub struct Counts {
    registry: Registry,
    start: Instant,
    /// Who waits: tasks are numbered in the order in which they came.
    queue: BTreeMap<usize, Need>,
    placed: u64,
}

impl Default for Counts {
    fn default() -> Self {
        let (registry, queue) = (Registry::default(), BTreeMap::new());
        Self { registry, start: Instant::now(), queue, placed: 0 }
    }
}

impl Policy for Counts {
    fn listens(&self) -> bool {
        true
    }

    fn submit(&mut self, task: usize, mesh: &mut Mesh) {
        let model = &mesh.trace().models[mesh.ticket(task).ask.model];
        match Need::of(&text::request(Texts::Short, model, mesh.turns(task))) {
            Ok(need) => self.place_or_wait(task, need, mesh),
            Err(_) => mesh.fail(task),
        }
    }

    fn heard(&mut self, beat: &Heartbeat, mesh: &mut Mesh) {
        let heard = self.registry.hear(beat.clone(), self.now(mesh));
        if heard.news != News::Old {
            self.fill(heard.key, mesh);
        }
    }
}

impl Counts {
    fn now(&self, mesh: &Mesh) -> Now {
        Now { at: self.start + Duration::from_secs_f64(mesh.now), unix_ms: (mesh.now * 1e3) as u64 }
    }

    fn place_or_wait(&mut self, task: usize, need: Need, mesh: &mut Mesh) {
        while let Some(choice) = scheduler::choose(&self.registry, &need, &Bars::default()) {
            if self.ask(task, &need, choice.key, mesh) {
                return;
            }
        }
        self.queue.insert(task, need);
    }

    /// Who waited longest of those whom this node can take gets its slot, over all models.
    fn fill(&mut self, key: Key, mesh: &mut Mesh) {
        while self.registry.node(key).is_free() {
            let takes = |need: &Need| scheduler::can_take(&self.registry, need, &Bars::default(), key);
            let Some(task) = self.queue.iter().find(|(_, need)| takes(need)).map(|(task, _)| *task) else {
                return;
            };
            let Some(need) = self.queue.remove(&task) else { return };
            if !self.ask(task, &need, key, mesh) {
                self.place_or_wait(task, need, mesh);
            }
        }
    }

    /// Whether the agent takes it. A node that refuses gets nothing more before its next heartbeat.
    fn ask(&mut self, task: usize, need: &Need, key: Key, mesh: &mut Mesh) -> bool {
        let id = held(task).id;
        self.placed += 1;
        if let Some((name, load)) = need.model().zip(need.load) {
            let facts = self.registry.model_at(key, name).map(|seen| seen.facts);
            if Fit::of(facts, need) != Fit::AsNeeded {
                self.registry.presume(key, name, load);
            }
        }
        let node = self.registry.node_mut(key);
        node.note_use(self.placed);
        node.place(id, need, AtWork::default());
        let there = mesh.find(node.id());
        let accepted = there.filter(|&there| mesh.offer(task, there));
        match accepted {
            Some(there) => {
                node.accepted(id, mesh.agent(there).number);
            }
            None => {
                node.refused(id);
                node.hold_back(crate::node::Hold::Refused);
            }
        }
        accepted.is_some()
    }
}
