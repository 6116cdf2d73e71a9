//! Models come into memory and go.

use super::{Machine, Phase, Slot};
use crate::script::tagged;

impl Machine {
    /// The models in memory and the one on its way, as Ollama lists them.
    pub fn in_memory(&self) -> Vec<String> {
        let there = self.places.iter().filter(|(_, place)| place.used.is_some());
        let coming = self.loading.iter().map(|(model, _)| model);
        there.map(|(model, _)| model).chain(coming).cloned().collect()
    }

    /// A model goes now, or after its last use.
    pub fn unload(&mut self, model: &str) {
        let model = tagged(model);
        let Some(place) = self.places.get_mut(&model).filter(|place| place.used.is_some()) else { return };
        place.leaves = true;
        if place.wanted == 0 {
            self.throw_out(&model);
            self.try_load();
        }
    }

    /// The engine has died: nothing is in memory, and nothing runs.
    pub fn cool(&mut self) {
        self.changes += 1;
        self.jobs.clear();
        self.loading = None;
        (self.unloaded, self.waiting, self.prompts) = Default::default();
        self.answers.clear();
        for place in self.places.values_mut() {
            (place.used, place.wanted, place.leaves) = (None, 0, false);
        }
        self.free = self.hardware.memory;
    }

    /// Begins to load what is waited for longest, if it can be made to fit.
    pub(super) fn try_load(&mut self) {
        let first = self.unloaded.front().and_then(|id| self.jobs.get(id));
        let (None, Some(model)) = (&self.loading, first.map(|job| job.model.clone())) else { return };
        // One that is larger than all of the memory is loaded as far as it fits.
        let size = self.places[&model].size.min(self.hardware.memory);
        while self.free < size {
            let Some(victim) = self.least_wanted() else { return };
            self.throw_out(&victim);
        }
        self.free -= size;
        self.loads += 1;
        let seconds = self.places[&model].pace.load.as_secs_f64();
        self.loading = Some((model, self.now + seconds));
    }

    /// The idle model that was least recently used.
    fn least_wanted(&self) -> Option<String> {
        let idle = self.places.iter().filter(|(_, place)| place.wanted == 0);
        let used = idle.filter_map(|(model, place)| Some((place.used?, model)));
        used.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, model)| model.clone())
    }

    fn throw_out(&mut self, model: &str) {
        let Some(place) = self.places.get_mut(model) else { return };
        (place.used, place.leaves, place.slots) = (None, false, Vec::new());
        self.free += place.size.min(self.hardware.memory);
        self.changes += 1;
    }

    /// A model is in memory from the start.
    pub(super) fn put(&mut self, model: &str) {
        let Some(place) = self.places.get(model).filter(|place| place.used.is_none()) else { return };
        self.free = self.free.saturating_sub(place.size);
        self.settle(model);
    }

    fn settle(&mut self, model: &str) {
        let (slots, now) = (self.slots, self.now);
        if let Some(place) = self.places.get_mut(model) {
            (place.used, place.slots) = (Some(now), vec![Slot::default(); slots]);
        }
    }

    /// The model on its way is there.
    pub(super) fn arrive(&mut self, model: &str) {
        self.settle(model);
        let waits = |id: &u64| self.jobs.get(id).is_some_and(|job| job.model == model);
        let (mine, others): (Vec<_>, Vec<_>) = self.unloaded.iter().copied().partition(waits);
        self.unloaded = others.into();
        for id in mine {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.loaded = self.now;
            }
            self.seat(id);
        }
        self.try_load();
    }

    /// One request less uses a model.
    pub(super) fn released(&mut self, model: &str) {
        let Some(place) = self.places.get_mut(model) else { return };
        place.wanted = place.wanted.saturating_sub(1);
        place.used = place.used.map(|_| self.now);
        if place.wanted > 0 {
            return;
        }
        if place.leaves && place.used.is_some() {
            self.throw_out(model);
        }
        self.try_load();
    }

    /// Gives a request a slot of its model, or lets it wait for one.
    pub(super) fn seat(&mut self, id: u64) {
        let overhead = self.hardware.overhead.as_secs_f64();
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.prompt.is_empty() {
            // Only the model was asked for.
            job.phase = Phase::Over;
            let model = job.model.clone();
            return self.released(&model);
        }
        let Some(place) = self.places.get_mut(&job.model) else { return };
        let Some((index, common)) = super::slot::choose(&place.slots, &job.prompt) else {
            job.phase = Phase::Slot;
            return self.waiting.push_back(id);
        };
        place.slots[index].busy = true;
        (job.phase, job.slot, job.cached) = (Phase::Prompt, index, common);
        job.left = (job.prompt.len() - common) as f64 + overhead * place.pace.prompt;
        self.prompts.push_back(id);
    }
}
