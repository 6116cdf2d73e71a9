//! What the node measures for the scheduler, and when it is told.

use std::time::{Duration, Instant};

use echo_bus::id::AttemptId;
use echo_bus::message::{CacheDigest, Capability, Model, Progress};

use super::Node;
use super::action::Action;
use crate::calibrate::Calibrate;
use crate::engine::Kind;

/// How often the caches are told at most, and at least.
const SOONEST: Duration = Duration::from_millis(250);
const LATEST: Duration = Duration::from_secs(5);

/// The same when attempts have ended: who places the next one has to know which slots are worth to be kept.
const ENDED: Duration = Duration::from_millis(20);

/// A long digest is told less often, so that ends in a row make 250 kB a second at most: its hashes, and as many as the
/// rest of a slot is long.
const HASH: Duration = Duration::from_micros(80);
const SLOT: usize = 9;

/// What the mesh was told of the caches.
#[derive(Debug, Default)]
pub struct Digests {
    changes: u64,
    ends: u64,
    last: Option<Instant>,
    /// How long the next ones have to wait for the size of the last.
    pause: Duration,
}

impl Digests {
    fn is_due(&self, (changes, ends): (u64, u64), now: Instant) -> bool {
        let pause = match () {
            () if ends != self.ends => self.pause,
            () if changes != self.changes => SOONEST,
            () => LATEST,
        };
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= pause)
    }

    fn told(&mut self, digest: &CacheDigest, (changes, ends): (u64, u64), now: Instant) {
        let slots = digest.models.iter().flat_map(|model| model.slots.iter().chain(&model.aside));
        let hashes: usize = slots.map(|slot| SLOT + slot.blocks.len()).sum();
        let pause = HASH.saturating_mul(u32::try_from(hashes).unwrap_or(u32::MAX)).clamp(ENDED, SOONEST);
        *self = Self { changes, ends, last: Some(now), pause };
    }
}

impl Node {
    /// How far these attempts are. One that has not begun has made nothing.
    pub(super) fn progress(&self, keys: &[AttemptId]) -> Vec<Progress> {
        let waits = |key: AttemptId| {
            let model = self.holdings.model_of(key).unwrap_or_default().to_owned();
            Progress { model, tokens: 0, prompt: true }
        };
        keys.iter().map(|key| self.facts.progress(*key).unwrap_or_else(|| waits(*key))).collect()
    }

    /// Only Ollama loads and unloads models by itself.
    pub(super) fn model_memory(&self) -> u64 {
        if self.identity.kind == Kind::Ollama { self.catalog.room(self.memory.total) } else { 0 }
    }

    /// The engine was asked for its models.
    pub(super) fn measure_engine(&self) {
        self.facts.set_slots(self.engine_slots);
        let has = |model: &str| self.catalog.find(model).is_some();
        let in_memory = |model: &str| self.holdings.use_model(model) || self.catalog.stays(model);
        self.facts.told(has, in_memory);
    }

    /// Whatever its caches held is gone, and when it comes back it may be faster or slower.
    pub(super) fn engine_is_down(&mut self, now: Instant) {
        self.facts.told(|_| true, |_| false);
        self.calibration.again(now);
    }

    pub(super) fn tell_caches_if_due(&mut self, now: Instant) {
        if !self.link.up {
            return;
        }
        let changes = self.facts.cache_changes();
        if !self.digests.is_due(changes, now) {
            return;
        }
        let digest = self.facts.caches(&self.identity.node, &self.identity.boot, now);
        self.digests.told(&digest, changes, now);
        self.out.push(Action::Caches(Box::new(digest)));
    }

    pub(super) fn calibrate_if_due(&mut self, now: Instant) {
        if self.slots.taken() > 0 || self.holdings.any_running() || self.is_draining() || !self.gap.settled()
        {
            return self.calibration.disturbed(now);
        }
        if !self.calibration.is_due(now) || !self.health.is_up() {
            return;
        }
        let models = self.models(now);
        let is_known = |it: &Model| !it.speeds.is_empty() && it.prompt_tokens_per_second.is_some();
        let fits = |it: &Model| {
            it.loaded && it.can(&Capability::Completion) && it.unavailable.is_empty() && !is_known(it)
        };
        let Some(model) = models.iter().filter(|it| fits(it)).min_by_key(|it| it.size) else { return };
        let Some(found) = self.catalog.find(&model.name) else { return };
        let halt = self.calibration.begin();
        let calibrate = Calibrate::of(model, &found.engine_name, &self.identity.boot, halt);
        self.out.push(Action::Calibrate(Box::new(calibrate)));
    }

    pub(super) fn calibrated(&mut self, failed: bool, now: Instant) {
        self.calibration.ended(failed);
        self.told.models_changed = true;
        self.schedule.changed(false, now);
    }
}
