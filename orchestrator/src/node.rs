//! One node as its heartbeats describe it, and the tasks this orchestrator has given to it since.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use echo_bus::id::{AttemptId, BootId, NodeId};
use echo_bus::message::{Heartbeat, Held, LoadKey, Model, NodeStatus};
use echo_bus::model_name::ModelName;

use crate::distance::Site;
use crate::facts::step;
use crate::need::Need;
use crate::queue::AtWork;
use echo_bus::clock::Now;

/// A node of the mesh.
#[derive(Debug)]
pub struct Node {
    /// The last heartbeat, without its models.
    beat: Arc<Heartbeat>,
    /// Absent until the node has said.
    models: Option<Arc<Vec<Model>>>,
    load: Load,
    pub joined: Instant,
    /// When it was last heard of, by our clock.
    pub heard: Instant,
    pub last_heartbeat: u64,
    pub registered_at: u64,
    placements: Vec<Placement>,
    /// Counts the changes of the occupants.
    changes: u64,
    /// How it has some model loaded is concluded from a placement, and not its own word.
    pub presumed: bool,
}

/// What a choice among nodes looks at: together in one line of the processor's cache.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Load {
    /// It takes tasks, by its own word.
    willing: bool,
    /// Why nothing is placed here before the next heartbeat.
    hold: Option<Hold>,
    slots: u32,
    /// Slots in use: those of the heartbeat, and placements that it does not list yet.
    used: u32,
    /// The same in millionths of its slots.
    busy: u32,
    /// Free memory, in steps of about a tenth.
    memory: i32,
    /// Grows with each placement of the mesh; the lowest was used least recently.
    last_used: u64,
    /// When a slot is expected to become free, in seconds of the orchestrator's clock; 0 if one is.
    free_at: f64,
    site: Site,
}

/// Why nothing is placed on a node before its next heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It did not answer.
    Suspect,
    /// The server says that its connection ended. Whoever connects under its name can make the server say so, therefore it is
    /// asked, and an answer ends this; but not what it `refused` before.
    Gone { refused: bool },
    /// It refused a task, so that what we know of it is old.
    Refused,
    /// We lost the broker and have not heard of it since.
    Unheard,
}

/// A task that this orchestrator gave to this start of the node.
#[derive(Debug)]
struct Placement {
    id: AttemptId,
    model: Option<ModelName>,
    load: Option<LoadKey>,
    stage: Stage,
    /// The last heartbeat lists it, so it is counted there.
    listed: bool,
    /// It counts for its client as long as it is here.
    _at_work: AtWork,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Asked,
    /// Counts until a heartbeat with a higher number.
    Accepted(u64),
    /// The heartbeats' list is the truth.
    Known,
    /// No answer came: counts until the next heartbeat.
    Unclear,
}

impl Node {
    /// A node that is heard for the first time under this boot. Without models it serves nothing yet.
    pub fn new(mut beat: Heartbeat, now: Now) -> Self {
        let models = beat.models.take();
        let mut node = Self {
            beat: Arc::new(beat),
            models: None,
            load: Load::default(),
            joined: now.at,
            heard: now.at,
            last_heartbeat: now.unix_ms,
            registered_at: now.unix_ms,
            placements: Vec::new(),
            changes: 0,
            presumed: false,
        };
        node.note();
        models.into_iter().for_each(|models| node.set_models(models));
        node
    }

    /// What the last heartbeat means.
    fn note(&mut self) {
        let beat = &self.beat;
        self.load.memory = step(beat.memory.free as f64);
        self.load.willing = matches!(beat.status, NodeStatus::Idle | NodeStatus::Busy);
        self.load.slots = beat.slots;
        self.load.site = Site::of(beat.site.as_ref());
        self.recount();
    }

    /// Takes a heartbeat of the same boot, except for its models; false if it is older than what is known.
    pub fn hear(&mut self, mut beat: Heartbeat, now: Now) -> bool {
        debug_assert_eq!(self.beat.boot, beat.boot);
        if beat.number <= self.beat.number {
            return false;
        }
        (self.heard, self.last_heartbeat, self.load.hold) = (now.at, now.unix_ms, None);
        beat.models = None;
        self.beat = Arc::new(beat);
        let number = self.beat.number;
        let active: HashSet<_> = self.beat.active.iter().map(|held| held.id).collect();
        self.placements.retain_mut(|placed| {
            placed.listed = active.contains(&placed.id);
            placed.settle(number);
            placed.listed || !matches!(placed.stage, Stage::Known | Stage::Unclear)
        });
        self.changes += 1;
        self.note();
        true
    }

    pub fn set_models(&mut self, models: Vec<Model>) {
        self.models = Some(Arc::new(models));
    }

    pub fn id(&self) -> &NodeId {
        &self.beat.node
    }

    pub fn boot(&self) -> &BootId {
        &self.beat.boot
    }

    pub fn beat(&self) -> &Arc<Heartbeat> {
        &self.beat
    }

    pub fn models(&self) -> &[Model] {
        self.models.as_deref().map_or(&[], Vec::as_slice)
    }

    pub fn shared_models(&self) -> Option<Arc<Vec<Model>>> {
        self.models.clone()
    }

    /// It has said what it serves, be it nothing.
    pub fn knows_models(&self) -> bool {
        self.models.is_some()
    }

    pub fn hold(&self) -> Option<Hold> {
        self.load.hold
    }

    /// Nothing is placed here before the next heartbeat.
    pub fn hold_back(&mut self, why: Hold) {
        self.load.hold = Some(why);
    }

    /// The server says that its connection ended; false if that is news of no use.
    pub fn hold_as_gone(&mut self) -> bool {
        let is_news = !self.is_suspect();
        if is_news {
            self.load.hold = Some(Hold::Gone { refused: self.load.hold == Some(Hold::Refused) });
        }
        is_news
    }

    /// It has answered: its connection has not ended. True if that ends a doubt.
    pub fn answered_ping(&mut self) -> bool {
        let Some(Hold::Gone { refused }) = self.load.hold else { return false };
        self.load.hold = refused.then_some(Hold::Refused);
        true
    }

    /// Something speaks for its death.
    pub fn is_suspect(&self) -> bool {
        matches!(self.load.hold, Some(Hold::Suspect | Hold::Gone { .. }))
    }

    /// Slots in use, as far as is known here.
    pub fn used(&self) -> u32 {
        self.load.used
    }

    /// Slots in use, in millionths of all.
    pub fn busy(&self) -> u32 {
        self.load.busy
    }

    /// Free memory, in steps of about a tenth.
    pub fn memory(&self) -> i32 {
        self.load.memory
    }

    /// Grows with each placement of the mesh; the lowest was used least recently.
    pub fn last_used(&self) -> u64 {
        self.load.last_used
    }

    /// A placement of the mesh went here.
    pub fn note_use(&mut self, count: u64) {
        self.load.last_used = count;
    }

    /// When a slot is expected to become free, in seconds of the orchestrator's clock; 0 if one is.
    pub fn free_at(&self) -> f64 {
        self.load.free_at
    }

    pub fn note_free_at(&mut self, at: f64) {
        self.load.free_at = at;
    }

    /// Where it stands.
    pub fn site(&self) -> Site {
        self.load.site
    }

    pub fn slots(&self) -> u32 {
        self.load.slots
    }

    /// Counts the changes of the [`occupants`](Self::occupants).
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The attempts that are counted as using a slot, and whether the last heartbeat lists them.
    pub fn occupants(&self) -> impl Iterator<Item = (AttemptId, bool)> {
        let listed = self.beat.active.iter().map(|held| (held.id, true));
        let unlisted = self.placements.iter().filter(|it| !it.listed);
        listed.chain(unlisted.map(|it| (it.id, false)))
    }

    /// What was placed here and is not yet in the heartbeats, and how its model is to be loaded.
    pub fn unheard(&self) -> impl Iterator<Item = (&ModelName, LoadKey)> {
        let unheard = |placed: &&Placement| matches!(placed.stage, Stage::Asked | Stage::Accepted(_));
        self.placements.iter().filter(unheard).filter_map(|placed| placed.model.as_ref().zip(placed.load))
    }

    /// Works, or will before long: not draining, not broken, not silent.
    pub fn is_fit(&self) -> bool {
        self.load.willing && self.load.hold.is_none()
    }

    /// Takes tasks by its own last word, and nothing speaks for its death.
    pub fn is_willing(&self) -> bool {
        self.load.willing && !self.is_suspect()
    }

    /// A task may be placed here now.
    pub fn is_free(&self) -> bool {
        self.load.used < self.load.slots && self.is_fit()
    }

    /// Counts a task that is about to be given to this node.
    pub fn place(&mut self, id: AttemptId, need: &Need, at_work: AtWork) {
        let listed = self.beat.active.iter().any(|held| held.id == id);
        let (model, load) = (need.model().cloned(), need.load);
        let placed = Placement { id, model, load, stage: Stage::Asked, listed, _at_work: at_work };
        self.placements.push(placed);
        self.changes += 1;
        self.recount();
    }

    /// The agent holds it, and heartbeats after `heartbeat` say so. One that came already may say that it has ended.
    pub fn accepted(&mut self, id: AttemptId, heartbeat: u64) {
        let (number, before) = (self.beat.number, self.placements.len());
        self.placements.retain_mut(|placed| {
            if placed.id != id {
                return true;
            }
            placed.stage = Stage::Accepted(heartbeat);
            placed.settle(number);
            placed.stage != Stage::Known || placed.listed
        });
        if self.placements.len() != before {
            self.changes += 1;
            self.recount();
        }
    }

    /// The agent does not hold it.
    pub fn refused(&mut self, id: AttemptId) {
        self.placements.retain(|it| it.id != id);
        self.changes += 1;
        self.recount();
    }

    /// Nobody knows; the next heartbeat tells.
    pub fn unclear(&mut self, id: AttemptId) {
        if let Some(placed) = self.placements.iter_mut().find(|it| it.id == id) {
            placed.stage = Stage::Unclear;
        }
    }

    fn recount(&mut self) {
        let unlisted = self.placements.iter().filter(|it| !it.listed).count();
        self.load.used = count(&self.beat.active).saturating_add(u32::try_from(unlisted).unwrap_or(u32::MAX));
        let busy = u64::from(self.load.used) * 1_000_000 / u64::from(self.load.slots.max(1));
        self.load.busy = u32::try_from(busy).unwrap_or(u32::MAX);
    }
}

impl Placement {
    /// From a heartbeat after the acceptance on, the heartbeat's list is the truth.
    fn settle(&mut self, number: u64) {
        if matches!(self.stage, Stage::Accepted(heartbeat) if number > heartbeat) {
            self.stage = Stage::Known;
        }
    }
}

fn count(active: &[Held]) -> u32 {
    u32::try_from(active.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Clock, beat, held};

    fn id() -> AttemptId {
        held(1, 1).id
    }

    fn need() -> Need {
        Need::of(&serde_json::from_value(serde_json::json!({"kind": "generate", "model": "m"})).unwrap())
            .unwrap()
    }

    #[test]
    fn a_placement_counts_until_a_heartbeat_after_its_acceptance() {
        let clock = Clock::new();
        let mut node = Node::new(beat("a", 1).slots(2).build(), clock.now());
        node.place(id(), &need(), AtWork::default());
        assert_eq!(node.used(), 1);
        node.accepted(id(), 2);
        node.hear(beat("a", 2).slots(2).build(), clock.now());
        assert_eq!(node.used(), 1, "heartbeat 2 was made before the acceptance");
        node.hear(beat("a", 3).slots(2).build(), clock.now());
        assert_eq!(node.used(), 0);
    }

    #[test]
    fn a_listed_placement_counts_once() {
        let clock = Clock::new();
        let mut node = Node::new(beat("a", 1).build(), clock.now());
        node.place(id(), &need(), AtWork::default());
        node.hear(beat("a", 2).active([held(1, 1)]).build(), clock.now());
        assert_eq!(node.used(), 1);
        node.accepted(id(), 1);
        assert_eq!(node.used(), 1);
    }

    #[test]
    fn a_heartbeat_that_overtook_the_acceptance_may_say_that_it_has_ended() {
        let clock = Clock::new();
        let mut node = Node::new(beat("a", 1).build(), clock.now());
        node.place(id(), &need(), AtWork::default());
        node.hear(beat("a", 5).build(), clock.now());
        assert_eq!(node.used(), 1);
        node.accepted(id(), 3);
        assert_eq!(node.used(), 0);
        assert_eq!(node.used(), 0);
    }

    #[test]
    fn an_old_heartbeat_changes_nothing() {
        let clock = Clock::new();
        let mut node = Node::new(beat("a", 5).build(), clock.now());
        node.hold_back(Hold::Suspect);
        assert!(!node.hear(beat("a", 5).build(), clock.now()));
        assert!(!node.is_free());
        assert!(node.hear(beat("a", 6).build(), clock.now()));
        assert!(node.is_free());
    }
}
