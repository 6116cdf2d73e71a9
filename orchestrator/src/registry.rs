//! The nodes of the mesh, learned from heartbeats and from nothing else.

mod key;
mod serving;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

use echo_bus::id::{BootId, NodeId};
use echo_bus::message::{Capability, Heartbeat, LoadKey, Model, NodeStatus};
use echo_bus::model_name::ModelName;

use crate::facts::{Abilities, AtBest, Facts};
use crate::node::{Hold, Node};
use echo_bus::clock::Now;
pub use key::Key;
use serving::Nodes;
pub use serving::{Seen, Serving};

/// Names of models that a refusal lists at most.
const NAMED_MODELS: usize = 100;
/// Models of one node that tasks may go to, in its own order, and attempts of its that are looked at. One machine's heartbeat may
/// cost the others no more.
const MODELS: usize = 1_024;
const ACTIVE: usize = 4_096;

/// All nodes that are alive.
#[derive(Debug, Default)]
pub struct Registry {
    nodes: Vec<Option<Node>>,
    vacant: Vec<usize>,
    by_id: BTreeMap<NodeId, Key>,
    /// Who serves a model.
    served: BTreeMap<ModelName, Nodes>,
    /// The generating model that most nodes have; found again when models change.
    most_common: OnceLock<Option<ModelName>>,
}

/// What a heartbeat told.
#[derive(Debug)]
pub struct Heard {
    pub key: Key,
    pub news: News,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A node that was not there.
    Joined,
    /// The same node after a restart of its agent.
    Restarted,
    /// Other models, another status, or trusted again.
    Changed,
    /// Nothing that anybody would want to hear of.
    Same,
    /// A heartbeat that was overtaken.
    Old,
}

impl Registry {
    /// Takes a heartbeat.
    pub fn hear(&mut self, mut beat: Heartbeat, now: Now) -> Heard {
        beat.models.iter_mut().for_each(|models| models.truncate(MODELS));
        beat.active.truncate(ACTIVE);
        let Some(&key) = self.by_id.get(&beat.node) else {
            return Heard { key: self.join(beat, now), news: News::Joined };
        };
        let node = self.nodes[key.0].as_mut().expect("a known id has a node");
        if *node.boot() != beat.boot {
            self.forget_models(key);
            self.nodes[key.0] = Some(Node::new(beat, now));
            self.index_models(key);
            return Heard { key, news: News::Restarted };
        }
        let (was, was_suspect) = (standing(node), node.is_suspect());
        let models = beat.models.take();
        if !node.hear(beat, now) {
            return Heard { key, news: News::Old };
        }
        let mut news = if was_suspect || standing(node) != was { News::Changed } else { News::Same };
        if let Some(models) = models {
            if self.update_models(key, models) {
                news = News::Changed;
            }
            self.presume_again(key);
        }
        Heard { key, news }
    }

    fn join(&mut self, beat: Heartbeat, now: Now) -> Key {
        let id = beat.node.clone();
        let node = Some(Node::new(beat, now));
        let key = match self.vacant.pop() {
            Some(index) => {
                self.nodes[index] = node;
                Key(index)
            }
            None => {
                self.nodes.push(node);
                Key(self.nodes.len() - 1)
            }
        };
        self.by_id.insert(id, key);
        self.index_models(key);
        key
    }

    /// Takes a node's models; whether they are others than before, loading aside.
    fn update_models(&mut self, key: Key, models: Vec<Model>) -> bool {
        let node = self.nodes[key.0].as_mut().expect("a key in use");
        let known = node.models();
        let same = node.knows_models()
            && known.len() == models.len()
            && known.iter().zip(&models).all(|(a, b)| a.name == b.name && a.capabilities == b.capabilities);
        if same {
            self.update_facts(key, &models);
            self.node_mut(key).set_models(models);
        } else {
            self.forget_models(key);
            self.nodes[key.0].as_mut().expect("a key in use").set_models(models);
            self.index_models(key);
        }
        !same
    }

    /// The same models, of which some are loaded or measured now and were not before.
    fn update_facts(&mut self, key: Key, models: &[Model]) {
        let Some(known) = self.node(key).shared_models() else { return };
        let presumed = std::mem::take(&mut self.node_mut(key).presumed);
        for (index, (was, is)) in (0_u32..).zip(known.iter().zip(models)) {
            let loading = |model: &Model| (model.loaded, model.context_length);
            if loading(was) == loading(is)
                && was.loaded_with == is.loaded_with
                && was.unavailable.is_empty() == is.unavailable.is_empty()
                && was.tokens_per_second == is.tokens_per_second
                && !presumed
            {
                continue;
            }
            let seen = self.served.get_mut(&ModelName::of(&is.name)).and_then(|nodes| nodes.get_mut(key));
            // Of a model that a node names twice, the first word counts.
            if let Some((_, facts)) = seen.filter(|(at, _)| *at == index) {
                *facts = Facts { at_best: facts.at_best, ..Facts::from(is) };
            }
        }
    }

    /// A task goes there: the engine will have the model as the task needs it, whatever it has now.
    pub fn presume(&mut self, key: Key, name: &ModelName, load: LoadKey) {
        if let Some((_, facts)) = self.served.get_mut(name).and_then(|nodes| nodes.get_mut(key)) {
            facts.loading = facts.loading.after(load);
            self.node_mut(key).presumed = true;
        }
    }

    /// What a task takes there at best.
    pub fn note_at_best(&mut self, key: Key, name: &ModelName, at_best: AtBest) {
        if let Some((_, facts)) = self.served.get_mut(name).and_then(|nodes| nodes.get_mut(key)) {
            facts.at_best = at_best;
        }
    }

    /// Presumes again what a heartbeat from before the placement does not know.
    fn presume_again(&mut self, key: Key) {
        let unheard: Vec<_> = self.node(key).unheard().map(|(name, load)| (name.clone(), load)).collect();
        for (name, load) in unheard {
            self.presume(key, &name, load);
        }
    }

    fn index_models(&mut self, key: Key) {
        let Some(models) = self.node(key).shared_models() else { return };
        for (index, model) in (0_u32..).zip(models.iter()) {
            let nodes = self.served.entry(ModelName::of(&model.name)).or_default();
            nodes.insert(key, index, Facts::from(model));
        }
        self.most_common = OnceLock::new();
    }

    fn forget_models(&mut self, key: Key) {
        let Some(models) = self.node(key).shared_models() else { return };
        for model in models.iter() {
            let name = ModelName::of(&model.name);
            if let Some(nodes) = self.served.get_mut(&name) {
                nodes.remove(key);
                if nodes.is_empty() {
                    self.served.remove(&name);
                }
            }
        }
        self.most_common = OnceLock::new();
    }

    /// Forgets the nodes that were heard last when it is too long ago.
    pub fn evict(&mut self, is_over: impl Fn(Instant) -> bool) -> Vec<(Key, NodeId)> {
        let left = self.iter().filter(|(_, node)| is_over(node.heard));
        let left: Vec<_> = left.map(|(key, _)| key).collect();
        left.into_iter().map(|key| (key, self.remove(key))).collect()
    }

    fn remove(&mut self, key: Key) -> NodeId {
        self.forget_models(key);
        let node = self.nodes[key.0].take().expect("a key in use");
        self.by_id.remove(node.id());
        self.vacant.push(key.0);
        node.id().clone()
    }

    pub fn node(&self, key: Key) -> &Node {
        self.nodes[key.0].as_ref().expect("a key in use")
    }

    pub fn node_mut(&mut self, key: Key) -> &mut Node {
        self.nodes[key.0].as_mut().expect("a key in use")
    }

    /// The node, if it is still in this start.
    pub fn find(&self, id: &NodeId, boot: &BootId) -> Option<Key> {
        self.by_id.get(id).copied().filter(|&key| self.node(key).boot() == boot)
    }

    /// All nodes, by name.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Node)> {
        self.by_id.values().map(|&key| (key, self.node(key)))
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// A node that came after `since` has not said yet what it serves.
    pub fn is_learning(&self, since: Instant) -> bool {
        self.nodes.iter().flatten().any(|node| !node.knows_models() && node.joined >= since)
    }

    /// Trusts no node before its next heartbeat: we were away.
    pub fn unheard(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            if !node.is_suspect() {
                node.hold_back(Hold::Unheard);
            }
        }
    }

    /// The nodes that have a model: found once for all that is asked of them.
    pub fn having(&self, name: &ModelName) -> Serving<'_> {
        Serving::new(&self.nodes, self.served.get(name))
    }

    /// The nodes that have a model, and what they say of it.
    pub fn serving(&self, name: &ModelName) -> impl Iterator<Item = (Key, &Node, Seen<'_>)> {
        self.having(name).iter()
    }

    /// How many nodes have a model.
    pub fn count_serving(&self, name: &ModelName) -> usize {
        self.having(name).len()
    }

    /// What one node says of a model.
    pub fn model_at(&self, key: Key, name: &ModelName) -> Option<Seen<'_>> {
        self.having(name).at(key).map(|(_, seen)| seen)
    }

    /// The generating model that most nodes have, ties by name.
    pub fn most_common_model(&self) -> Option<&ModelName> {
        let completion = Abilities::of(&[Capability::Completion]);
        let found = || {
            let generating = |name: &ModelName| {
                self.serving(name).filter(|(_, _, seen)| seen.facts.says.include(completion)).count()
            };
            let counted = self.served.keys().map(|name| (generating(name), name)).filter(|(n, _)| *n > 0);
            counted.max_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(a.1))).map(|(_, name)| name.clone())
        };
        self.most_common.get_or_init(found).as_ref()
    }

    /// A model's name as a node spells it.
    pub fn spelled(&self, name: &ModelName) -> Option<&str> {
        self.serving(name).next().map(|(_, _, seen)| seen.model().name.as_str())
    }

    /// The models that are served, by name, as their nodes spell them; a long list is cut.
    pub fn served(&self) -> Vec<String> {
        self.served
            .keys()
            .filter_map(|name| self.spelled(name))
            .take(NAMED_MODELS)
            .map(str::to_owned)
            .collect()
    }
}

/// What of a node's status is news: slots fill and empty all the time.
fn standing(node: &Node) -> NodeStatus {
    match node.beat().status {
        NodeStatus::Busy => NodeStatus::Idle,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Clock, Words as _, beat, model};

    fn common(registry: &Registry) -> Option<String> {
        registry.most_common_model().map(ToString::to_string)
    }

    #[test]
    fn no_embedding_model_by_default() {
        let clock = Clock::new();
        let mut registry = Registry::default();
        let embedding = model("a-embed").can(&["embedding"]);
        registry.hear(beat("a", 1).models([embedding.clone()]).build(), clock.now());
        assert_eq!(common(&registry), None);
        registry.hear(beat("b", 1).models([embedding, model("z")]).build(), clock.now());
        assert_eq!(common(&registry).as_deref(), Some("z:latest"));
    }

    #[test]
    fn the_default_is_what_most_nodes_have_and_ties_go_by_name() {
        let clock = Clock::new();
        let mut registry = Registry::default();
        registry.hear(beat("a", 1).models([model("x"), model("y")]).build(), clock.now());
        assert_eq!(common(&registry).as_deref(), Some("x:latest"));
        registry.hear(beat("b", 1).models([model("y:latest")]).build(), clock.now());
        assert_eq!(common(&registry).as_deref(), Some("y:latest"));
    }

    #[test]
    fn a_node_that_names_models_without_end_serves_the_first_of_them() {
        let clock = Clock::new();
        let mut registry = Registry::default();
        for round in 1..4_u32 {
            let many = (0..100_000).map(|number| model(&format!("m{round}-{number}")));
            registry.hear(beat("a", round.into()).models(many).build(), clock.now());
            assert_eq!(registry.served.len(), MODELS);
        }
    }

    #[test]
    fn a_heartbeat_without_models_leaves_them_and_one_with_none_clears_them() {
        let clock = Clock::new();
        let mut registry = Registry::default();
        registry.hear(beat("a", 1).models([model("x")]).build(), clock.now());
        registry.hear(beat("a", 2).build(), clock.now());
        assert_eq!(registry.served(), ["x"]);
        registry.hear(beat("a", 3).models([]).build(), clock.now());
        assert!(registry.served().is_empty());
    }

    #[test]
    fn a_new_boot_serves_nothing_until_its_models_come() {
        let clock = Clock::new();
        let mut registry = Registry::default();
        registry.hear(beat("a", 1).models([model("x")]).build(), clock.now());
        let heard = registry.hear(beat("a", 1).boot("b2").build(), clock.now());
        assert_eq!(heard.news, News::Restarted);
        assert!(registry.served().is_empty());
        registry.hear(beat("a", 2).boot("b2").models([model("x")]).build(), clock.now());
        assert_eq!(registry.served(), ["x"]);
    }

    #[test]
    fn only_what_matters_to_a_watcher_is_news() {
        let clock = Clock::new();
        let mut registry = Registry::default();
        let mut news = |beat: crate::testkit::Beat| registry.hear(beat.build(), clock.now()).news;
        assert_eq!(news(beat("a", 1)), News::Joined);
        assert_eq!(news(beat("a", 2).status(NodeStatus::Busy)), News::Same);
        assert_eq!(news(beat("a", 2)), News::Old);
        assert_eq!(news(beat("a", 3).status(NodeStatus::Draining)), News::Changed);
        assert_eq!(news(beat("a", 4).models([model("x")]).status(NodeStatus::Draining)), News::Changed);
        assert_eq!(news(beat("a", 5).models([model("x").loaded()]).status(NodeStatus::Draining)), News::Same);
    }

    #[test]
    fn what_is_known_of_a_model_is_what_the_last_heartbeat_says() {
        let clock = Clock::new();
        let mut registry = Registry::default();
        let name = ModelName::of("x");
        let mut facts = |beat: crate::testkit::Beat| {
            let key = registry.hear(beat.build(), clock.now()).key;
            registry.model_at(key, &name).unwrap().facts
        };
        assert!(!facts(beat("a", 1).models([model("x")])).loaded);
        assert!(facts(beat("a", 2).models([model("x").loaded()])).loaded);
        assert!(facts(beat("a", 3)).loaded, "a heartbeat without models leaves it");
        let fast = facts(beat("a", 4).models([model("x").speed(50.0)]));
        assert_eq!(fast, Facts::from(&model("x").speed(50.0)));
        let twice = facts(beat("a", 5).models([model("x"), model("x:latest").loaded()]));
        assert!(!twice.loaded, "the first word counts");
        assert!(!facts(beat("a", 6).models([model("x"), model("x:latest").speed(50.0)])).loaded);
    }

    #[test]
    fn an_evicted_node_leaves_nothing_behind() {
        let mut clock = Clock::new();
        let mut registry = Registry::default();
        registry.hear(beat("a", 1).models([model("x")]).build(), clock.now());
        clock.pass(2_000);
        registry.hear(beat("b", 1).models([model("y")]).build(), clock.now());
        clock.pass(1_001);
        let left = registry.evict(|heard| clock.now().at - heard > std::time::Duration::from_secs(3));
        assert_eq!(left.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!((registry.served(), registry.iter().count()), (vec!["y".to_owned()], 1));
    }
}
