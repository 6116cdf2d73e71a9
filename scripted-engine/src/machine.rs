//! What an engine does with its machine, as llama.cpp's server and Ollama do it:
//!
//! - Prompts take turns. While one is worked off, running answers get one token for each batch of it: they all but stand
//!   still.
//! - `k` answers at once share a little more than the speed of one.
//! - Each model in memory has slots that keep their last prompt and its answer; what a new prompt begins with in common
//!   is not worked off again.
//! - A model that is not there is loaded first. If it does not fit, idle models go, the least recently used first. If all
//!   are busy it waits for them, and requests for those overtake it.
//!
//! Plain data: time is passed in. Everything happens at its own moment, however late somebody looks.

mod memory;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::{
    hardware::{Hardware, Pace},
    script::{Model, tagged},
};
use slot::Slot;

/// Prompt tokens in one step of the engine.
const BATCH: f64 = 512.0;
/// What is left of a prompt or an answer when it counts as done, in tokens.
const DONE: f64 = 1e-6;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its model is not there.
    Load,
    /// Its model has no free slot.
    Slot,
    Prompt,
    Answer,
    Over,
}

/// A request, and what became of it so far. Times are seconds since the engine's start.
#[derive(Clone, Debug)]
pub struct Job {
    pub phase: Phase,
    model: String,
    prompt: Vec<u64>,
    /// The words of its answer to come.
    answer: Vec<u64>,
    entered: f64,
    /// When its model was there, and when its answer began and ended.
    loaded: f64,
    first: f64,
    ended: f64,
    /// Prompt tokens that were in its slot already.
    pub cached: usize,
    /// Seconds in which its prompt was worked off.
    prompt_seconds: f64,
    /// Tokens that are left of what it does now, and how fast they go.
    left: f64,
    rate: f64,
    slot: usize,
}

impl Job {
    /// Tokens of the answer that are there: the first as soon as the prompt is worked off.
    pub fn made(&self) -> u64 {
        let all = self.answer.len() as u64;
        match self.phase {
            Phase::Answer => ((all as f64 - self.left + DONE) as u64 + 1).min(all),
            Phase::Over => all,
            _ => 0,
        }
    }

    /// Seconds until so many tokens are there, as things stand.
    fn until(&self, tokens: u64) -> f64 {
        let made = self.answer.len() as f64 - self.left;
        ((tokens as f64 - 1.0 - made) / self.rate).max(0.0)
    }

    pub fn load_seconds(&self) -> f64 {
        self.loaded - self.entered
    }

    pub fn answer_seconds(&self) -> f64 {
        self.ended - self.first
    }
}

/// A model of the engine.
#[derive(Debug)]
struct Place {
    pace: Pace,
    /// Bytes in memory.
    size: u64,
    /// When it was last used; `None` is not in memory.
    used: Option<f64>,
    slots: Vec<Slot>,
    /// Requests for it that are in the engine.
    wanted: usize,
    /// It is to go when nobody uses it.
    leaves: bool,
}

/// The state of an engine.
#[derive(Debug)]
pub struct Machine {
    hardware: Hardware,
    slots: usize,
    now: f64,
    free: u64,
    places: BTreeMap<String, Place>,
    jobs: BTreeMap<u64, Job>,
    serial: u64,
    loading: Option<(String, f64)>,
    /// In the order in which they came.
    unloaded: VecDeque<u64>,
    waiting: VecDeque<u64>,
    prompts: VecDeque<u64>,
    answers: Vec<u64>,
    /// Counts what happens: whoever waits for a moment has to ask anew.
    pub changes: u64,
    pub loads: u64,
}

impl Machine {
    pub fn new(hardware: &Hardware, slots: usize, models: &[Model]) -> Self {
        let mut machine = Self {
            slots: slots.max(1),
            now: 0.0,
            free: hardware.memory,
            places: models.iter().map(|model| (tagged(&model.name), place(hardware, model))).collect(),
            jobs: BTreeMap::new(),
            serial: 0,
            loading: None,
            unloaded: VecDeque::new(),
            waiting: VecDeque::new(),
            prompts: VecDeque::new(),
            answers: Vec::new(),
            changes: 0,
            loads: 0,
            hardware: hardware.clone(),
        };
        for model in &hardware.loaded {
            machine.put(&tagged(model));
        }
        machine
    }

    pub fn job(&self, id: u64) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Seconds that a request's prompt took, without what any request costs.
    pub fn prompt_seconds(&self, job: &Job) -> f64 {
        (job.prompt_seconds - self.hardware.overhead.as_secs_f64()).max(1e-6)
    }

    /// Takes a request in; `None` if there is no such model.
    pub fn enter(&mut self, model: &str, prompt: Vec<u64>, answer: Vec<u64>) -> Option<u64> {
        let model = tagged(model);
        let place = self.places.get_mut(&model)?;
        place.wanted += 1;
        let is_there = place.used.is_some();
        self.serial += 1;
        self.changes += 1;
        let (id, now) = (self.serial, self.now);
        let (phase, cached, slot) = (Phase::Load, 0, 0);
        let (entered, loaded, first, ended) = (now, now, now, now);
        let (prompt_seconds, left, rate) = (0.0, 0.0, 1.0);
        let job = Job {
            phase,
            model,
            prompt,
            answer,
            entered,
            loaded,
            first,
            ended,
            cached,
            prompt_seconds,
            left,
            rate,
            slot,
        };
        self.jobs.insert(id, job);
        if is_there {
            self.seat(id);
        } else {
            self.unloaded.push_back(id);
            self.try_load();
        }
        Some(id)
    }

    /// A request leaves: its answer was fetched, or nobody waits for it any more.
    pub fn leave(&mut self, id: u64) {
        let Some(job) = self.jobs.get(&id) else { return };
        self.changes += 1;
        match job.phase {
            Phase::Over => {}
            Phase::Load | Phase::Slot => self.forget(id),
            Phase::Prompt | Phase::Answer => self.finish(id),
        }
        self.jobs.remove(&id);
    }

    /// Lets everything happen that is due up to this moment.
    pub fn run_to(&mut self, now: f64) {
        while let Some(next) = self.next_event().filter(|next| *next <= now) {
            self.advance(next);
            self.step();
        }
        self.advance(now);
    }

    /// When the next thing happens, as things stand. Sets the speeds anew.
    pub fn next_event(&mut self) -> Option<f64> {
        let mut next = self.loading.as_ref().map_or(f64::INFINITY, |(_, end)| *end);
        let mut most = f64::INFINITY;
        if let Some(job) = self.prompts.front().and_then(|id| self.jobs.get_mut(id)) {
            job.rate = self.places[&job.model].pace.prompt;
            most = job.rate / BATCH;
            next = next.min(self.now + job.left.max(0.0) / job.rate);
        }
        let share = (self.answers.len() as f64).powf(self.hardware.sharing - 1.0);
        for id in &self.answers {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            job.rate = (self.places[&job.model].pace.decode * share).min(most);
            next = next.min(self.now + job.left.max(0.0) / job.rate);
        }
        next.is_finite().then_some(next)
    }

    /// When a request has so many tokens of its answer, or is over, as things stand.
    pub fn due(&mut self, id: u64, tokens: u64) -> Option<f64> {
        let next = self.next_event();
        let job = self.jobs.get(&id)?;
        match job.phase {
            Phase::Answer => {
                let end = self.now + job.left.max(0.0) / job.rate;
                Some(end.min(self.now + job.until(tokens)))
            }
            _ => next,
        }
    }

    fn advance(&mut self, now: f64) {
        let passed = now - self.now;
        if passed <= 0.0 {
            return;
        }
        if let Some(job) = self.prompts.front().and_then(|id| self.jobs.get_mut(id)) {
            job.left -= job.rate * passed;
            job.prompt_seconds += passed;
        }
        for id in &self.answers {
            if let Some(job) = self.jobs.get_mut(id) {
                job.left -= job.rate * passed;
            }
        }
        self.now = now;
    }

    /// Does what is due at this moment.
    fn step(&mut self) {
        self.changes += 1;
        if let Some((model, end)) = self.loading.take() {
            if end <= self.now { self.arrive(&model) } else { self.loading = Some((model, end)) }
        }
        while let Some(job) = self.prompts.front().and_then(|id| self.jobs.get_mut(id))
            && job.left <= DONE
        {
            (job.phase, job.first, job.left) = (Phase::Answer, self.now, job.answer.len() as f64);
            self.answers.extend(self.prompts.pop_front());
        }
        let is_over = |id: &&u64| self.jobs.get(id).is_none_or(|job| job.left <= DONE);
        let over: Vec<_> = self.answers.iter().filter(is_over).copied().collect();
        over.into_iter().for_each(|id| self.finish(id));
    }

    /// A request gives its slot to who waits for it, and leaves there what it has worked off.
    fn finish(&mut self, id: u64) {
        self.prompts.retain(|other| *other != id);
        self.answers.retain(|other| *other != id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let kept = job.kept();
        (job.phase, job.ended, job.left) = (Phase::Over, self.now, 0.0);
        let (model, slot) = (job.model.clone(), job.slot);
        if let Some(slot) = self.places.get_mut(&model).and_then(|place| place.slots.get_mut(slot)) {
            *slot = Slot { busy: false, kept, used: self.now };
        }
        let is_next = |id: &&u64| self.jobs.get(id).is_some_and(|job| job.model == model);
        if let Some(next) = self.waiting.iter().find(is_next).copied() {
            self.waiting.retain(|other| *other != next);
            self.seat(next);
        }
        self.released(&model);
    }

    /// A request that has no slot yet is given up.
    fn forget(&mut self, id: u64) {
        self.unloaded.retain(|other| *other != id);
        self.waiting.retain(|other| *other != id);
        if let Some(model) = self.jobs.get(&id).map(|job| job.model.clone()) {
            self.released(&model);
        }
    }
}

fn place(hardware: &Hardware, model: &Model) -> Place {
    let pace = hardware.models.iter().find(|(name, _)| tagged(name) == tagged(&model.name));
    let pace = pace.map(|(_, pace)| *pace).unwrap_or_default().checked();
    Place { pace, size: model.in_memory(), used: None, slots: Vec::new(), wanted: 0, leaves: false }
}
