//! One node: what it has, what runs there, and how long that takes.

use std::sync::Arc;

use echo_bus::id::AttemptId;

use super::bounds::within;
use super::cache::{Mirror, Prompt};
use super::facts::{Facts, OVERHEAD, UNKNOWN_SPEED, shared};
use super::lengths::Lengths;
use super::models::{Id, Models};
use crate::facts::AtBest;

/// A node.
#[derive(Debug, Default)]
pub struct Site {
    pub slots: usize,
    /// The [`Node::changes`](crate::node::Node::changes) that `running` is from.
    pub synced: Option<u64>,
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

    /// What it is doing now. Asked for at each placement, and a busy node has hundreds of tasks: one look at each.
    pub fn doing(&self, models: &Models, per_byte: f64, now: f64) -> Doing {
        let answering = self.running.iter().filter(|it| !it.prompt).count().max(1);
        let rest = Vec::with_capacity(self.running.len() + ROOM);
        let mut doing = Doing { rest, ..Doing::default() };
        doing.there.extend(&self.loaded);
        let (mut paces, mut answered, mut comes) = (Vec::new(), Vec::new(), false);
        for it in &self.running {
            let known = paces.iter().find(|pace: &&Pace| pace.of == it.model).copied();
            let pace = known.unwrap_or_else(|| {
                paces.push(self.pace(it.model, answering, models, now));
                paces[paces.len() - 1]
            });
            let rest = self.rest(it, pace, models, now);
            if it.prompt {
                doing.prompts = doing.prompts.max(rest.left - rest.answer);
                let is_there = |id: &Id| doing.there.contains(id);
                let waits = it.own.as_ref().is_some_and(|own| own.ready > now);
                comes |= waits || !it.model.as_ref().is_none_or(is_there);
            } else if let Some(id) = it.model.filter(|id| !answered.contains(id)) {
                answered.push(id);
                // It answers, so it is there, whatever the last look at the engine said.
                if !doing.there.contains(&id) {
                    doing.there.push(id);
                }
            }
            doing.rest.push(rest);
        }
        if comes {
            self.note_coming(&mut doing, &answered, per_byte, now);
        }
        doing
    }

    /// Of each model on its way, when it is there. Some engines list a model that they have begun to load. Those that
    /// have `answered` are there.
    fn note_coming(&self, doing: &mut Doing, answered: &[Id], per_byte: f64, now: f64) {
        for it in &self.running {
            let Some(id) = it.model.filter(|id| it.prompt && !answered.contains(id)) else { continue };
            let ready = it.own.as_ref().map(|own| own.ready);
            let listed = doing.there.contains(&id);
            if listed && ready.is_none_or(|at| at <= now) {
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

    fn pace(&self, of: Option<Id>, answering: usize, models: &Models, now: f64) -> Pace {
        let speed = self.speed(models, of, answering, now);
        Pace { of, speed, answer: lengths(models, of).left(0.0) / speed }
    }

    fn rest(&self, it: &Running, pace: Pace, models: &Models, now: f64) -> Rest {
        if !it.prompt {
            let made = it.made + pace.speed * within(now - it.told, 0.0, 10.0);
            let answer = lengths(models, it.model).left(made) / pace.speed;
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
        let answer = if answers { pace.answer } else { 0.0 };
        Rest { left: waits + answer, model: it.model, answer }
    }
}

/// So many newcomers find room without another allocation.
const ROOM: usize = 4;

/// What is alike for all who run on one model.
#[derive(Debug, Clone, Copy)]
struct Pace {
    of: Option<Id>,
    /// Tokens a second of one answer.
    speed: f64,
    /// Seconds that a whole answer takes.
    answer: f64,
}

fn lengths(models: &Models, of: Option<Id>) -> &Lengths {
    of.map_or(&models.any, |id| models.lengths(id))
}

/// Tokens of a prompt that another orchestrator has placed: nobody tells.
const UNTOLD_PROMPT: f64 = 500.0;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use echo_bus::id::{AttemptId, TaskId};
    use echo_bus::model_name::ModelName;

    fn busy(tasks: u32) -> (Site, Models) {
        let mut models = Models::default();
        let id = models.join(ModelName::of("m"));
        let running = (0..tasks).map(|task| Running {
            attempt: AttemptId { task: TaskId::from_u128(task.into()), attempt: 1 },
            model: Some(id),
            made: 0.0,
            prompt: true,
            told: 0.0,
            own: None,
        });
        let mut facts = Facts::new(id);
        facts.loaded = true;
        let site = Site { slots: 8_192, models: vec![facts], running: running.collect(), ..Site::default() };
        (site, models)
    }

    /// The least of many looks: what else the machine does passes.
    fn look(tasks: u32) -> Duration {
        let (site, models) = busy(tasks);
        let one = |_| {
            let begun = Instant::now();
            assert_eq!(site.doing(&models, 0.0, 1.0).rest.len(), tasks as usize);
            begun.elapsed()
        };
        (0..100).map(one).min().unwrap()
    }

    #[test]
    fn a_look_at_a_node_takes_time_in_proportion_to_its_tasks() {
        let (few, many) = (look(256), look(2_048));
        assert!(many < few * 24, "{few:?} for 256 tasks, {many:?} for 2,048");
    }
}
