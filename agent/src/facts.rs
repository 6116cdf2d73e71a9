//! What this node measures of its engine and its models for the scheduler: speeds, lengths, and a mirror of the caches.
//!
//! Each attempt reports what it sees by its [`Run`]; heartbeats and cache digests are filled from here. Plain data: the
//! time comes from outside, and no text is kept.

mod lengths;
mod mirror;
mod prompts;
mod rounded;
mod run;
mod speeds;
mod text;
mod timeline;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use echo_bus::id::{AttemptId, BootId, NodeId};
use echo_bus::message::{CacheDigest, Model, Progress, Request};

use lengths::Lengths;
use mirror::Mirror;
use prompts::Prompts;
pub use run::{About, Run};
use speeds::Speeds;
use text::Text;
use timeline::{Sample, Timeline};

/// How often answers that run are measured.
const LIVE: Duration = Duration::from_secs(2);

/// Of a model that is not in memory and was not used for so long little is told.
const QUIET: Duration = Duration::from_secs(600);

/// Before anything was measured: four bytes to a token.
const USUAL_TOKENS_PER_KB: f64 = 250.0;

/// All of it; shared by the attempts and the node.
#[derive(Debug)]
pub struct Facts(Mutex<State>);

#[derive(Debug)]
struct State {
    models: HashMap<String, Measured>,
    timeline: Timeline,
    mirror: Mirror,
    /// The attempts at the engine that the mesh knows of.
    attempts: BTreeMap<AttemptId, Attempt>,
    runs: u64,
    /// The models that have answered since the node last asked.
    answered: BTreeSet<String>,
    /// Counts what was measured of a model for the first time.
    firsts: u64,
    /// Of each model in memory.
    slots: u32,
    measured: Instant,
}

/// What is measured of one model.
#[derive(Debug, Default)]
struct Measured {
    speeds: Speeds,
    prompts: Prompts,
    lengths: Lengths,
    /// When an answer was measured last.
    used: Option<Instant>,
}

#[derive(Debug)]
struct Attempt {
    run: u64,
    model: String,
    /// Tokens that other nodes have made of the answer.
    so_far: u64,
}

impl Facts {
    /// Nothing is known yet.
    pub fn new(slots: u32, now: Instant) -> Self {
        Self(Mutex::new(State {
            models: HashMap::new(),
            timeline: Timeline::new(now),
            mirror: Mirror::default(),
            attempts: BTreeMap::new(),
            runs: 0,
            answered: BTreeSet::new(),
            firsts: 0,
            slots,
            measured: now,
        }))
    }

    /// The engine has so many slots for each model.
    pub fn set_slots(&self, slots: u32) {
        self.state().slots = slots;
    }

    /// Time passes.
    pub fn tick(&self, now: Instant) {
        let state = &mut *self.state();
        if now.saturating_duration_since(state.measured) >= LIVE {
            state.measured = now;
            let samples = state.timeline.live(now);
            state.add(samples, now);
        }
    }

    /// Time has passed in which this process did not run.
    pub fn skip(&self, now: Instant) {
        self.state().timeline.skip(now);
    }

    /// The engine has these models, and those for which `loaded` holds are in memory.
    pub fn told(&self, has: impl Fn(&str) -> bool, loaded: impl Fn(&str) -> bool) {
        let state = &mut *self.state();
        state.models.retain(|model, _| has(model));
        state.timeline.retain(&has);
        state.mirror.retain(loaded);
    }

    /// The engine has died: nothing is cached.
    pub fn forget_cache(&self, model: &str) {
        self.state().mirror.forget(model);
    }

    /// Adds what is measured to a model's description.
    pub fn describe(&self, model: &mut Model, now: Instant) {
        let state = self.state();
        let Some(measured) = state.models.get(&model.name) else { return };
        model.speeds = measured.speeds.told(now);
        let is_recent = |at: Instant| now.saturating_duration_since(at) < QUIET;
        if !model.loaded && !measured.used.is_some_and(is_recent) {
            model.speeds.truncate(1);
        }
        model.long_run = measured.speeds.long_run();
        model.prompt_tokens_per_second = measured.prompts.speed();
        model.tokens_per_kb = measured.prompts.tokens_per_kb();
        model.lengths = measured.lengths.told();
    }

    /// About how many tokens the prompt of a conversation has: what the engine has counted of the same beginning, and
    /// the rest at the rate of the prompts before.
    pub fn estimate(&self, model: &str, request: &Request) -> u64 {
        let text = Text::of(request, None);
        let state = self.state();
        let measured = state.models.get(model).and_then(|measured| measured.prompts.tokens_per_kb());
        let per_kb = measured.unwrap_or(USUAL_TOKENS_PER_KB);
        let (tokens, bytes) = state.mirror.counted(model, &text).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no prompt is that long")]
        let rest = (text.bytes().saturating_sub(bytes) as f64 * per_kb / 1_000.0).ceil() as u64;
        (tokens + rest).max(1)
    }

    /// How far an attempt is; `None` before it is at the engine.
    pub fn progress(&self, key: AttemptId) -> Option<Progress> {
        let state = self.state();
        let attempt = state.attempts.get(&key)?;
        let (tokens, prompt) = state.timeline.progress(attempt.run)?;
        Some(Progress { model: attempt.model.clone(), tokens: attempt.so_far + tokens, prompt })
    }

    /// The models that have answered since this was asked last: they are in memory.
    pub fn take_answered(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.state().answered)
    }

    /// Counts what was measured of a model for the first time: news that are not to wait.
    pub fn firsts(&self) -> u64 {
        self.state().firsts
    }

    /// Counts the changes of what the caches hold, and of these the ends of attempts.
    pub fn cache_changes(&self) -> (u64, u64) {
        let state = self.state();
        (state.mirror.changes, state.mirror.ends)
    }

    /// What the caches hold.
    pub fn caches(&self, node: &NodeId, boot: &BootId, now: Instant) -> CacheDigest {
        self.state().mirror.told(node, boot, now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, samples: Vec<Sample>, now: Instant) {
        for Sample { model, at_once, tokens, seconds } in samples {
            let measured = self.of(&model);
            measured.used = Some(now);
            let is_first = measured.speeds.add(at_once, tokens, seconds, now);
            self.firsts += u64::from(is_first);
        }
    }

    fn of(&mut self, model: &str) -> &mut Measured {
        if !self.models.contains_key(model) {
            self.models.insert(model.to_owned(), Measured::default());
        }
        self.models.get_mut(model).expect("just inserted")
    }
}

#[cfg(test)]
mod tests;
