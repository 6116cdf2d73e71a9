//! What one engine does with what it is given, as llama.cpp's server and Ollama do it:
//!
//! - A prompt is worked off before its answer, and prompts take turns, first come first served.
//! - While a prompt is worked off, running answers get one token for each batch of it: they all but stand still.
//! - `k` answers at once have `k^alpha` times the throughput of one.
//! - Each loaded model has slots that keep their last prompt; what is common with a new one is not worked off again.
//! - A model that is not there is loaded first. If it does not fit, idle models go, least recently used first; if all are
//!   busy it waits, and requests for the loaded ones overtake it.
//!
//! Plain data: time is passed in, and a clone can be run to its end as a what-if.

mod load;
mod slot;
#[cfg(test)]
mod tests;
mod what_if;

use std::collections::VecDeque;
use std::sync::Arc;

pub use slot::{Kept, Slot};

/// What counts as the same moment, in seconds.
pub const EPS: f64 = 1e-9;
/// What is left of a prompt or an answer when it counts as done, in tokens.
const DONE: f64 = 1e-6;
/// Seconds for each request: connection, template, first token.
pub const OVERHEAD: f64 = 0.05;
/// Prompt tokens in one step of the engine.
const BATCH: f64 = 512.0;

/// What a machine has of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Tokens per second of an answer that runs alone.
    pub decode: f64,
    /// Prompt tokens per second.
    pub prompt: f64,
    /// Seconds to load it.
    pub load: f64,
    /// GiB in memory.
    pub size: f64,
}

/// A machine, which does not change.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    pub name: String,
    pub slots: usize,
    pub alpha: f64,
    /// GiB for models.
    pub memory: f64,
    /// By number of the model; `None` is not there.
    pub models: Vec<Option<Pace>>,
}

impl Machine {
    /// A model that this machine is known to have.
    pub fn pace(&self, model: usize) -> Pace {
        self.models[model].expect("a request goes to nodes that have its model")
    }

    pub fn has(&self, model: usize) -> bool {
        self.models.get(model).is_some_and(Option::is_some)
    }
}

/// What is asked of an engine. Tokens are whole numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    pub id: usize,
    pub model: usize,
    pub prompt: f64,
    pub answer: f64,
    /// Prompts of one session extend each other.
    pub session: u64,
    /// Prompts with the same system text begin with the same tokens, this many.
    pub system: u64,
    pub system_tokens: f64,
    /// It ends with a tool call: its client comes back by itself.
    pub calls_tool: bool,
}

/// A request in an engine, and what became of it. Times are those of the simulation, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    pub ask: Ask,
    pub entered: f64,
    /// When its model was there.
    pub loaded: f64,
    /// A load began with it: what it waited is the load, or more.
    pub began_load: bool,
    /// Prompt tokens that were in its slot already.
    pub cached: f64,
    /// Seconds in which its prompt was worked off.
    pub prompt_seconds: f64,
    /// When it got its slot.
    pub slotted: f64,
    /// When its answer began.
    pub first: f64,
    pub ended: f64,
    /// What was seen of its answer while no prompt was worked off beside it.
    pub clear: Clear,
    /// Tokens that are left of what it does now, and how fast they go.
    left: f64,
    rate: f64,
    slot: usize,
}

/// Seconds of an answer, its tokens in them, and the sum of how many answers ran.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Clear {
    pub seconds: f64,
    pub tokens: f64,
    pub answers: f64,
}

impl Job {
    fn new(ask: Ask, now: f64) -> Self {
        Self {
            ask,
            entered: now,
            loaded: now,
            began_load: false,
            cached: 0.0,
            prompt_seconds: 0.0,
            slotted: now,
            first: now,
            ended: now,
            clear: Clear::default(),
            left: 0.0,
            rate: 0.0,
            slot: 0,
        }
    }
}

/// A model in an engine.
#[derive(Debug, Clone, Default)]
struct Place {
    /// When it was last used; `None` is not loaded.
    loaded: Option<f64>,
    slots: Vec<Slot>,
    /// Requests that wait for a slot.
    waiting: VecDeque<Job>,
    /// Requests for it that are in the engine.
    wanted: usize,
}

/// The state of an engine.
#[derive(Debug, Clone)]
pub struct Engine {
    machine: Arc<Machine>,
    /// All speeds times this: below one while its owner uses the machine.
    factor: f64,
    now: f64,
    /// GiB.
    free: f64,
    places: Vec<Place>,
    loading: Option<(usize, f64)>,
    /// Requests whose model is not loaded.
    unloaded: VecDeque<Job>,
    prompts: VecDeque<Job>,
    answers: Vec<Job>,
    active: usize,
    /// The agent's own queue, in a what-if only.
    backlog: VecDeque<Ask>,
    ended: Vec<Job>,
    loads: usize,
    busy_seconds: f64,
}

impl Engine {
    /// An idle engine with these models loaded.
    pub fn new(machine: Arc<Machine>, loaded: &[usize]) -> Self {
        let mut engine = Self {
            factor: 1.0,
            now: 0.0,
            free: machine.memory,
            places: vec![Place::default(); machine.models.len()],
            machine,
            loading: None,
            unloaded: VecDeque::new(),
            prompts: VecDeque::new(),
            answers: Vec::new(),
            active: 0,
            backlog: VecDeque::new(),
            ended: Vec::new(),
            loads: 0,
            busy_seconds: 0.0,
        };
        for &model in loaded {
            engine.free -= engine.machine.pace(model).size;
            engine.put(model, 0.0);
        }
        engine
    }

    /// The moment up to which it has worked.
    pub fn now(&self) -> f64 {
        self.now
    }

    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// Requests in it.
    pub fn active(&self) -> usize {
        self.active
    }

    pub fn is_full(&self) -> bool {
        self.active >= self.machine.slots
    }

    pub fn loads(&self) -> usize {
        self.loads
    }

    /// Seconds in which it had something to do.
    pub fn busy_seconds(&self) -> f64 {
        self.busy_seconds
    }

    /// GiB for models that are free.
    pub fn free(&self) -> f64 {
        self.free
    }

    /// When a loaded model was last used.
    pub fn last_used(&self, model: usize) -> Option<f64> {
        self.places[model].loaded
    }

    /// The model on its way into memory, and when it is there.
    pub fn loading(&self) -> Option<(usize, f64)> {
        self.loading
    }

    /// The slots of a loaded model.
    pub fn slots(&self, model: usize) -> &[Slot] {
        &self.places[model].slots
    }

    /// Everything that is in it, in no particular order.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        let waiting = self.places.iter().flat_map(|place| &place.waiting);
        self.prompts.iter().chain(&self.answers).chain(&self.unloaded).chain(waiting)
    }

    /// The answers that run, with their speed now and the tokens made so far; no speed while a prompt is worked off.
    pub fn answers(&self) -> impl Iterator<Item = (&Job, Option<f64>, f64)> {
        let clear = self.prompts.is_empty();
        self.answers.iter().map(move |job| (job, clear.then_some(job.rate), job.ask.answer - job.left))
    }

    /// Its speeds are this much of what they were at first.
    pub fn set_factor(&mut self, factor: f64, now: f64) {
        self.advance(now);
        self.factor = factor;
    }

    /// Lets time pass without anything happening.
    pub fn advance(&mut self, now: f64) {
        let passed = now - self.now;
        if passed <= 0.0 {
            return;
        }
        if let Some(first) = self.prompts.front_mut() {
            first.left -= first.rate * passed;
            first.prompt_seconds += passed;
        }
        let (clear, answers) = (self.prompts.is_empty(), self.answers.len() as f64);
        for job in &mut self.answers {
            job.left -= job.rate * passed;
            if clear {
                job.clear.seconds += passed;
                job.clear.tokens += job.rate * passed;
                job.clear.answers += answers * passed;
            }
        }
        if self.active > 0 {
            self.busy_seconds += passed;
        }
        self.now = now;
    }

    /// Sets the speeds anew, which must be done after each change; when the next thing happens here.
    pub fn next_event(&mut self) -> Option<f64> {
        let mut next = self.loading.map_or(f64::INFINITY, |(_, end)| end);
        let mut most = f64::INFINITY;
        if let Some(first) = self.prompts.front_mut() {
            first.rate = self.machine.pace(first.ask.model).prompt * self.factor;
            most = first.rate / BATCH;
            next = next.min(self.now + first.left.max(0.0) / first.rate);
        }
        let share = (self.answers.len() as f64).powf(self.machine.alpha - 1.0) * self.factor;
        for job in &mut self.answers {
            job.rate = (self.machine.pace(job.ask.model).decode * share).min(most);
            next = next.min(self.now + job.left.max(0.0) / job.rate);
        }
        next.is_finite().then_some(next)
    }

    /// Does everything that is due at this moment; what has ended is in [`Engine::take_ended`].
    pub fn step(&mut self, now: f64) {
        self.advance(now);
        if let Some((model, _)) = self.loading.filter(|(_, end)| *end <= now + EPS) {
            self.loaded(model, now);
        }
        while self.prompts.front().is_some_and(|job| job.left <= DONE)
            && let Some(mut job) = self.prompts.pop_front()
        {
            (job.first, job.left) = (now, job.ask.answer);
            self.answers.push(job);
        }
        let mut index = 0;
        while index < self.answers.len() {
            if self.answers[index].left <= DONE {
                let job = self.answers.remove(index);
                self.finish(job, now);
            } else {
                index += 1;
            }
        }
    }

    pub fn take_ended(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.ended)
    }

    /// Takes a request in, whether or not a slot is free.
    pub fn enter(&mut self, ask: Ask, now: f64) {
        self.advance(now);
        self.active += 1;
        self.places[ask.model].wanted += 1;
        let mut job = Job::new(ask, now);
        if self.places[ask.model].loaded.is_some() {
            self.seat(job, now);
        } else {
            let on_its_way = self.loading.is_some_and(|(model, _)| model == ask.model);
            job.began_load = !on_its_way && !self.unloaded.iter().any(|other| other.ask.model == ask.model);
            self.unloaded.push_back(job);
            self.try_load(now);
        }
    }

    fn finish(&mut self, mut job: Job, now: f64) {
        job.ended = now;
        self.active -= 1;
        let place = &mut self.places[job.ask.model];
        place.slots[job.slot] = Slot::after(&job, now);
        place.wanted -= 1;
        place.loaded = Some(now);
        let idle = place.wanted == 0;
        self.ended.push(job);
        if self.active < self.machine.slots
            && let Some(ask) = self.backlog.pop_front()
        {
            self.enter(ask, now);
        }
        if let Some(waited) = self.places[job.ask.model].waiting.pop_front() {
            self.seat(waited, now);
        }
        if idle {
            self.try_load(now);
        }
    }
}
