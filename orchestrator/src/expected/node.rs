//! One node: what it has, what runs there, and how long that takes.

use std::sync::Arc;

use echo_bus::id::AttemptId;

use super::cache::{Mirror, Prompt};
use super::facts::{Facts, OVERHEAD, UNKNOWN_SPEED, shared};
use super::models::{Id, Models};
use super::within;
use crate::facts::AtBest;

/// A node.
#[derive(Debug, Default)]
pub struct Site {
    pub slots: usize,
    /// Bytes for models; infinite when the node does not say.
    pub memory: f64,
    models: Vec<Facts>,
    /// Their numbers side by side, in which one is found in no time.
    ids: Vec<Id>,
    loaded: Vec<Id>,
    /// What the first model that was measured says of the others.
    guide: Guide,
    pub running: Vec<Running>,
    pub caches: Vec<(Id, Mirror)>,
    /// Grows with each placement of the mesh.
    pub last_used: u64,
}

/// An attempt that has a slot there.
#[derive(Debug, Clone)]
pub struct Running {
    pub attempt: AttemptId,
    pub model: Option<Id>,
    /// Tokens made when that was told; nothing while `prompt`.
    pub made: f64,
    pub prompt: bool,
    pub told: f64,
    /// It is there by our hand.
    pub own: Option<Own>,
}

/// What we expected when we placed it.
#[derive(Debug, Clone)]
pub struct Own {
    pub placed: f64,
    /// When its model is there, and when its answer begins.
    pub ready: f64,
    pub first: f64,
    pub prompt: Arc<Prompt>,
    pub answers: bool,
}

impl Own {
    /// Seconds until its answer begins. What takes more than twice as long as expected takes half as long again: nobody
    /// is waited for without end.
    fn until_first(&self, now: f64) -> f64 {
        let beyond = (now - self.first) - (self.first - self.placed);
        (self.first - now).max(beyond * 0.5).max(0.1)
    }
}

/// What a node is doing, as far as a newcomer is concerned. Seconds from now.
#[derive(Debug, Clone, Default)]
pub struct Doing {
    pub rest: Vec<Rest>,
    /// Until all prompts before a newcomer's are worked off.
    pub prompts: f64,
    /// In memory, or on its way there.
    pub there: Vec<Id>,
    pub coming: Vec<(Id, Option<f64>)>,
    /// Models that are to be loaded anew, as soon as those who use them have ended.
    pub reloads: Vec<Id>,
    /// Slots of a model that were given away in this round.
    pub taken: Vec<(Id, usize)>,
}

/// What is left of a task.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    pub left: f64,
    pub model: Option<Id>,
    /// Of that its answer alone.
    pub answer: f64,
}

/// What was measured of some model of a node, from which the others follow by their sizes.
#[derive(Debug, Clone, Copy, Default)]
struct Guide {
    /// Speeds times size.
    alone: Option<f64>,
    prompt: Option<f64>,
    /// Seconds, and the size.
    load: Option<(f64, f64)>,
}

impl Site {
    pub fn models(&self) -> &[Facts] {
        &self.models
    }

    pub fn take_models(&mut self) -> Vec<Facts> {
        self.ids.clear();
        self.loaded.clear();
        std::mem::take(&mut self.models)
    }

    pub fn set_models(&mut self, models: Vec<Facts>) {
        self.ids.clear();
        self.ids.extend(models.iter().map(|facts| facts.id));
        self.loaded.clear();
        self.loaded.extend(models.iter().filter(|it| it.loaded).map(|it| it.id));
        self.guide = Guide {
            alone: models.iter().find_map(|it| it.alone.map(|alone| alone * it.size)),
            prompt: models.iter().find_map(|it| it.prompt.map(|speed| speed * it.size)),
            load: models.iter().find_map(|it| it.load.map(|load| (load, it.size))),
        };
        self.models = models;
    }

    pub fn facts(&self, id: Id) -> Option<&Facts> {
        self.ids.iter().position(|it| *it == id).map(|at| &self.models[at])
    }

    pub fn mirror(&self, id: Id) -> Option<&Mirror> {
        self.caches.iter().find(|(of, _)| *of == id).map(|(_, mirror)| mirror)
    }

    /// Those of models that are there no more.
    pub fn forget_mirrors(&mut self) {
        let Self { caches, loaded, running, .. } = self;
        caches.retain(|(id, _)| loaded.contains(id) || running.iter().any(|it| it.model == Some(*id)));
    }

    /// The mirror of a model's slots; empty ones if there is none yet.
    pub fn mirror_mut(&mut self, id: Id) -> &mut Mirror {
        let index = self.caches.iter().position(|(of, _)| *of == id).unwrap_or_else(|| {
            self.caches.push((id, Mirror::with(self.slots)));
            self.caches.len() - 1
        });
        &mut self.caches[index].1
    }

    /// Tokens a second of one answer of the model while so many are given at once.
    pub fn speed(&self, models: &Models, id: Option<Id>, at_once: usize, now: f64) -> f64 {
        let Some(id) = id else { return shared(UNKNOWN_SPEED, at_once) };
        match self.facts(id) {
            Some(facts) => self.speed_of(models, facts, at_once, now),
            None => within(shared(self.prior(models, id, 1.0), at_once), 0.01, 1e5),
        }
    }

    /// The same of a model that it has.
    pub fn speed_of(&self, models: &Models, facts: &Facts, at_once: usize, now: f64) -> f64 {
        let known = facts.speed(at_once, now);
        within(known.unwrap_or_else(|| shared(self.prior(models, facts.id, facts.size), at_once)), 0.01, 1e5)
    }

    /// What a model does here that was never measured here: as another one does in proportion to their sizes, else as
    /// on the fastest node. Optimism is how a new node is tried.
    fn prior(&self, models: &Models, id: Id, size: f64) -> f64 {
        let other = self.guide.alone.map(|of| of / size);
        within(other.or(models.get(id).fastest).unwrap_or(UNKNOWN_SPEED), 0.01, 1e5)
    }

    /// Prompt tokens a second.
    pub fn prompt_speed(&self, models: &Models, facts: &Facts) -> f64 {
        let other = || self.guide.prompt.map(|of| of / facts.size);
        // As on the node that is fastest at it, so that one that was never measured is tried.
        let best = || models.get(facts.id).prompt;
        let prior = || self.prior(models, facts.id, facts.size);
        let guess = || (10.0 * facts.alone.unwrap_or_else(prior)).max(20.0);
        within(facts.prompt.or_else(other).or_else(best).unwrap_or_else(guess), 0.1, 1e6)
    }

    /// Seconds to load a model.
    pub fn load(&self, facts: &Facts, per_byte: f64) -> f64 {
        let other = || self.guide.load.map(|(load, size)| load * facts.size / size);
        within(facts.load.or_else(other).unwrap_or(facts.size * per_byte), 0.0, 600.0)
    }

    /// What a task of the model takes here at best.
    pub fn at_best(&self, models: &Models, facts: &Facts, per_byte: f64) -> AtBest {
        let fastest = facts.fastest().unwrap_or_else(|| self.prior(models, facts.id, facts.size));
        AtBest {
            per_token: 1.0 / within(fastest, 0.01, 1e5) as f32,
            per_prompt_token: 1.0 / self.prompt_speed(models, facts) as f32,
            load: self.load(facts, per_byte) as f32,
            kept: self.mirror(facts.id).map_or(0.0, Mirror::most) as f32,
        }
    }

    /// What it is doing now.
    pub fn doing(&self, models: &Models, per_byte: f64, now: f64) -> Doing {
        let answering = self.running.iter().filter(|it| !it.prompt).count().max(1);
        let rest = Vec::with_capacity(self.running.len() + ROOM);
        let mut doing = Doing { rest, ..Doing::default() };
        doing.there.extend(&self.loaded);
        for it in &self.running {
            let rest = self.rest(it, answering, models, now);
            if it.prompt {
                doing.prompts = doing.prompts.max(rest.left - rest.answer);
            } else if let Some(id) = it.model.filter(|id| !doing.there.contains(id)) {
                // It answers, so it is there, whatever the last look at the engine said.
                doing.there.push(id);
            }
            doing.rest.push(rest);
        }
        self.note_coming(&mut doing, per_byte, now);
        doing
    }

    /// Of each model on its way, when it is there. Some engines list a model that they have begun to load.
    fn note_coming(&self, doing: &mut Doing, per_byte: f64, now: f64) {
        for it in &self.running {
            let Some(id) = it.model.filter(|_| it.prompt) else { continue };
            let others_answer = self.running.iter().any(|other| other.model == Some(id) && !other.prompt);
            let ready = it.own.as_ref().map(|own| own.ready);
            let listed = doing.there.contains(&id);
            if others_answer || (listed && ready.is_none_or(|at| at <= now)) {
                continue;
            }
            doing.there.retain(|other| *other != id);
            let ready = ready.map(|at| (at - now).max(0.0));
            match doing.coming.iter_mut().find(|(other, _)| *other == id) {
                Some((_, known)) => *known = known.zip(ready).map(|(a, b)| a.min(b)).or(*known).or(ready),
                None => doing.coming.push((id, ready)),
            }
        }
        for (id, ready) in &mut doing.coming {
            ready.get_or_insert_with(|| self.facts(*id).map_or(0.0, |facts| self.load(facts, per_byte)));
        }
    }

    fn rest(&self, it: &Running, answering: usize, models: &Models, now: f64) -> Rest {
        let speed = self.speed(models, it.model, answering, now);
        let lengths = it.model.map_or(&models.any, |id| models.lengths(id));
        if !it.prompt {
            let made = it.made + speed * within(now - it.told, 0.0, 10.0);
            let answer = lengths.left(made) / speed;
            return Rest { left: answer, model: it.model, answer };
        }
        let waits = match &it.own {
            Some(own) => own.until_first(now),
            None => {
                let speed = |id| {
                    self.facts(id).map_or(10.0 * UNKNOWN_SPEED, |facts| self.prompt_speed(models, facts))
                };
                OVERHEAD + it.model.map_or(1.0, |id| UNTOLD_PROMPT / speed(id))
            }
        };
        let answers = it.own.as_ref().is_none_or(|own| own.answers);
        let answer = if answers { lengths.left(0.0) / speed } else { 0.0 };
        Rest { left: waits + answer, model: it.model, answer }
    }
}

/// So many newcomers find room without another allocation.
const ROOM: usize = 4;
/// Tokens of a prompt that another orchestrator has placed: nobody tells.
const UNTOLD_PROMPT: f64 = 500.0;
