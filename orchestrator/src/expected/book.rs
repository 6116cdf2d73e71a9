//! What is known of all nodes: from their heartbeats and cache digests, and of our own placements since.

use echo_bus::id::AttemptId;
use echo_bus::message::{CacheDigest, Model, Prefix, Progress, Request};
use echo_bus::model_name::ModelName;

use super::bounds::within;
use super::cache::Prompt;
use super::facts::{Facts, UNKNOWN_LOAD};
use super::free_slot::until_a_slot;
use super::models::{Id, Models};
use super::node::{Own, Running, Site};
use super::weights::Weights;
use crate::distance::Distance;
use crate::facts::AtBest;
use crate::node::Node;

/// All that is known.
#[derive(Debug, Default)]
pub struct Book {
    pub weights: Weights,
    /// What a node of another site costs more, in seconds.
    pub site_cost: f64,
    sites: Vec<Option<Site>>,
    pub models: Models,
    /// Seconds to load a byte, as the median of the nodes has it.
    pub per_byte: f64,
    /// A speed or a load has been told since priors were found last.
    stale: bool,
}

impl Book {
    pub fn new(weights: Weights, site_cost: f64) -> Self {
        Self { weights, site_cost, per_byte: UNKNOWN_LOAD, ..Self::default() }
    }

    /// What a task costs more at a node that is so far from its edge.
    pub fn away(&self, distance: Distance) -> f64 {
        if distance == Distance::Far { self.site_cost } else { 0.0 }
    }

    pub fn site(&self, index: usize) -> Option<&Site> {
        self.sites.get(index).and_then(Option::as_ref)
    }

    /// What a task of a model takes on a node at best.
    pub fn at_best(&self, index: usize, model: Id) -> AtBest {
        let known = self.site(index).and_then(|site| Some((site, site.facts(model)?)));
        known.map(|(site, facts)| site.at_best(&self.models, facts, self.per_byte)).unwrap_or_default()
    }

    /// When a slot of a node is expected to become free; 0 if one is.
    pub fn free_at(&self, index: usize, now: f64) -> f64 {
        let full = self.site(index).filter(|site| site.running.len() >= site.slots);
        full.map_or(0.0, |site| {
            let doing = site.doing(&self.models, self.per_byte, now);
            now + until_a_slot(&doing.rest, site.slots, self.models.any.spread())
        })
    }

    fn site_mut(&mut self, index: usize) -> &mut Site {
        if self.sites.len() <= index {
            self.sites.resize_with(index + 1, || None);
        }
        self.sites[index].get_or_insert_with(Site::default)
    }

    /// What a task asks of engines' caches and prompts.
    pub fn prompt(&self, model: Option<Id>, request: &Request) -> Prompt {
        let prefix = Prefix::of(request);
        let tokens =
            model.map_or(prefix.bytes as f64 / 4.0, |id| self.models.get(id).tokens(prefix.bytes as f64));
        Prompt::new(prefix, tokens.max(1.0))
    }

    /// A task has come.
    pub fn arrived(&mut self, model: Id, now: f64) {
        self.models.get_mut(model).arrived(now);
    }

    /// A node has left, or begins anew.
    pub fn forget(&mut self, index: usize) {
        let Some(site) = self.sites.get_mut(index).and_then(Option::take) else { return };
        site.models().iter().for_each(|facts| self.leave(facts));
    }

    fn leave(&mut self, facts: &Facts) {
        self.stale = true;
        self.models.replace_lengths(facts.id, &facts.lengths, &[]);
        let mesh = self.models.get_mut(facts.id);
        mesh.replace_per_kb(facts.per_kb, None);
        self.models.leave(facts.id);
    }

    /// A heartbeat has come; `models` if it told of them.
    pub fn hear(&mut self, index: usize, node: &Node, models: Option<&[Model]>, now: f64) {
        let site = self.site_mut(index);
        let memory = node.beat().model_memory;
        site.memory = if memory == 0 { f64::INFINITY } else { memory as f64 };
        if let Some(models) = models {
            self.hear_models(index, models, now);
        }
        self.sync(index, node, now);
        if node.beat().progress.is_empty() {
            self.presume_progress(index, now);
        }
        let progress = node.beat().active.iter().zip(&node.beat().progress);
        for (held, progress) in progress {
            let model = self.models.id(&ModelName::of(&progress.model));
            self.hear_progress(index, held.id, model, progress, now);
        }
    }

    /// An agent that is too old to tell how far its attempts are: what should answer by now is taken to.
    fn presume_progress(&mut self, index: usize, now: f64) {
        for it in &mut self.site_mut(index).running {
            if let Some(first) =
                it.own.as_ref().map(|own| own.first).filter(|first| it.prompt && now > *first)
            {
                (it.prompt, it.made, it.told) = (false, 0.0, first);
            }
        }
    }

    fn hear_progress(
        &mut self,
        index: usize,
        attempt: AttemptId,
        model: Option<Id>,
        told: &Progress,
        now: f64,
    ) {
        let site = self.site_mut(index);
        if let Some(it) = site.running.iter_mut().find(|it| it.attempt == attempt) {
            (it.model, it.prompt, it.told) = (it.model.or(model), told.prompt, now);
            it.made = within(told.tokens as f64, 0.0, 1e9);
        }
    }

    fn hear_models(&mut self, index: usize, told: &[Model], now: f64) {
        let mut gone = self.site_mut(index).take_models();
        let mut models: Vec<Facts> = Vec::with_capacity(told.len());
        for told in told {
            let name = ModelName::of(&told.name);
            let known = self.models.id(&name);
            // Of a model that a node names twice, the first word counts.
            if known.is_some_and(|id| models.iter().any(|facts| facts.id == id)) {
                continue;
            }
            let place = gone.iter().position(|facts| Some(facts.id) == known);
            let facts = place.map(|place| gone.swap_remove(place));
            let mut facts = facts.unwrap_or_else(|| Facts::new(self.models.join(name)));
            let lengths = std::mem::take(&mut facts.lengths);
            let (per_kb, before) = (facts.per_kb, (facts.alone, facts.prompt, facts.load));
            facts.hear(told, now);
            self.models.replace_lengths(facts.id, &lengths, &facts.lengths);
            let mesh = self.models.get_mut(facts.id);
            mesh.replace_per_kb(per_kb, facts.per_kb);
            self.stale |= before != (facts.alone, facts.prompt, facts.load);
            models.push(facts);
        }
        gone.iter().for_each(|facts| self.leave(facts));
        let site = self.site_mut(index);
        site.caches.retain(|(id, _)| models.iter().any(|facts| facts.id == *id));
        site.set_models(models);
    }

    /// What has a slot there is what the registry counts.
    pub fn sync(&mut self, index: usize, node: &Node, now: f64) {
        let site = self.site_mut(index);
        (site.slots, site.last_used) = (node.slots() as usize, node.last_used());
        if site.synced.replace(node.changes()) == Some(node.changes()) {
            return;
        }
        // Mostly nobody has left, and one has come: all others stay where they are.
        let pairs = site.running.iter().zip(node.occupants());
        let same = pairs.take_while(|(it, (attempt, _))| it.attempt == *attempt).count();
        let mut before: Vec<_> = site.running.drain(same..).map(Some).collect();
        // Those that stay keep their order, so that the next one is seldom far behind the last one.
        let mut next = 0;
        for (attempt, _) in node.occupants().skip(same) {
            let is_it = |it: &Option<Running>| it.as_ref().is_some_and(|it| it.attempt == attempt);
            let place = before[next..].iter().position(is_it).map(|at| next + at);
            let place = place.or_else(|| before[..next].iter().position(is_it));
            next = place.map_or(next, |at| at + 1);
            site.running.push(place.and_then(|at| before[at].take()).unwrap_or(Running {
                attempt,
                model: None,
                made: 0.0,
                prompt: true,
                told: now,
                own: None,
            }));
        }
        for ended in before.into_iter().flatten() {
            if let Some(id) = ended.model {
                site.mirror_mut(id).end(ended.attempt, now);
            }
        }
        site.forget_mirrors();
    }

    /// We have placed an attempt there.
    pub fn placed(&mut self, index: usize, attempt: AttemptId, id: Id, own: Own) {
        let site = self.site_mut(index);
        if site.facts(id).is_some_and(|facts| facts.loaded) {
            site.mirror_mut(id).take(attempt, &own.prompt);
        }
        if let Some(it) = site.running.iter_mut().find(|it| it.attempt == attempt) {
            (it.model, it.own) = (Some(id), Some(own));
        }
    }

    /// What a node's engine has in its caches.
    pub fn hear_caches(&mut self, index: usize, digest: &CacheDigest, now: f64) {
        let named =
            |id: Id| digest.models.iter().any(|told| self.models.id(&ModelName::of(&told.model)) == Some(id));
        if let Some(Some(site)) = self.sites.get_mut(index) {
            let ours = |id: Id| site.running.iter().any(|it| it.model == Some(id) && it.own.is_some());
            site.caches.retain(|(id, _)| named(*id) || ours(*id));
        }
        for told in &digest.models {
            let Some(id) = self.models.id(&ModelName::of(&told.model)) else { continue };
            let site = self.site_mut(index);
            if site.facts(id).is_none() {
                continue;
            }
            let ours = site.running.iter().filter(|it| it.model == Some(id));
            let ours: Vec<_> = ours
                .filter_map(|it| it.own.as_ref().map(|own| (it.attempt, own.placed, own.prompt.clone())))
                .collect();
            let slots = site.slots;
            site.mirror_mut(id).hear(told, slots, &ours, now);
        }
    }

    /// What is taken for granted of what nobody has measured, found again when something was measured.
    pub fn refresh(&mut self) {
        if !std::mem::take(&mut self.stale) && self.per_byte > 0.0 {
            return;
        }
        self.models.iter_mut().for_each(|mesh| (mesh.fastest, mesh.prompt) = (None, None));
        let mut loads = Vec::new();
        for facts in self.sites.iter().flatten().flat_map(Site::models) {
            if let Some(alone) = facts.alone {
                self.models.note_fastest(facts.id, alone);
            }
            if let Some(prompt) = facts.prompt {
                self.models.note_prompt(facts.id, prompt);
            }
            loads.extend(facts.load.map(|load| load / facts.size));
        }
        loads.sort_by(f64::total_cmp);
        self.per_byte = if loads.len() >= 3 { loads[loads.len() / 2] } else { UNKNOWN_LOAD };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use echo_bus::id::TaskId;
    use proptest::prelude::*;

    use super::*;
    use crate::need::Need;
    use crate::queue::AtWork;
    use crate::testkit::{Clock, beat, held};

    proptest! {
        #[test]
        fn what_is_known_of_an_attempt_stays_with_it_in_whatever_order_it_is_told(
            steps in prop::collection::vec((prop::collection::vec(0..8_u128, 0..8), prop::option::of(0..8_u128)), 1..12),
        ) {
            let (clock, mut book) = (Clock::new(), Book::default());
            let need = serde_json::json!({"kind": "generate", "model": "m"});
            let need = Need::of(&serde_json::from_value(need).unwrap()).unwrap();
            let mut node = Node::new(beat("a", 1).build(), clock.now());
            let mut since = BTreeMap::new();
            for (step, (active, placed)) in steps.into_iter().enumerate() {
                let (number, now) = (step as u64 + 2, step as f64);
                match placed {
                    Some(task) if !since.contains_key(&AttemptId { task: TaskId::from_u128(task), attempt: 1 }) => {
                        node.place(AttemptId { task: TaskId::from_u128(task), attempt: 1 }, &need, AtWork::default());
                    }
                    Some(task) => node.refused(AttemptId { task: TaskId::from_u128(task), attempt: 1 }),
                    None => {
                        // In any order, but each of them once.
                        let mut seen = std::collections::BTreeSet::new();
                        let active = active.into_iter().filter(|task| seen.insert(*task)).map(|task| held(task, 1));
                        node.hear(beat("a", number).active(active).build(), clock.now());
                    }
                }
                book.sync(0, &node, now);
                let there: Vec<_> = node.occupants().map(|(attempt, _)| attempt).collect();
                since.retain(|attempt, _| there.contains(attempt));
                there.iter().for_each(|attempt| _ = since.entry(*attempt).or_insert(now));
                let running = &book.site(0).unwrap().running;
                let known: Vec<_> = running.iter().map(|it| (it.attempt, it.told)).collect();
                let expected: Vec<_> = there.iter().map(|attempt| (*attempt, since[attempt])).collect();
                prop_assert_eq!(known, expected);
            }
        }
    }
}
