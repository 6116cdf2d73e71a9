//! Models come into memory and go.

use std::collections::VecDeque;

use super::slot::Slot;
use super::{EPS, Engine, Job};

impl Engine {
    /// Begins to load what is waited for longest, if it can be made to fit.
    pub(super) fn try_load(&mut self, now: f64) {
        let (None, Some(first)) = (self.loading, self.unloaded.front()) else { return };
        let model = first.ask.model;
        let pace = self.machine.pace(model);
        while self.free < pace.size - EPS {
            let Some(victim) = self.least_wanted() else { return };
            self.unload(victim);
        }
        self.free -= pace.size;
        self.loads += 1;
        self.loading = Some((model, now + pace.load));
    }

    /// The idle model that was least recently used.
    fn least_wanted(&self) -> Option<usize> {
        let idle = self.places.iter().enumerate().filter(|(_, place)| place.wanted == 0);
        let used = idle.filter_map(|(model, place)| Some((place.loaded?, model)));
        used.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, model)| model)
    }

    /// The models that would have to go for this one, first gone first; fewer than needed if others are busy.
    pub fn victims(&self, model: usize) -> Vec<usize> {
        let mut idle: Vec<_> =
            (0..self.places.len()).filter_map(|it| Some((self.last_used(it)?, it))).collect();
        idle.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut free, need) = (self.free, self.machine.pace(model).size);
        let mut going = Vec::new();
        for (_, victim) in idle {
            if free >= need {
                break;
            }
            free += self.machine.pace(victim).size;
            going.push(victim);
        }
        going
    }

    fn unload(&mut self, model: usize) {
        let place = &mut self.places[model];
        (place.loaded, place.slots) = (None, Vec::new());
        self.free += self.machine.pace(model).size;
    }

    pub(super) fn put(&mut self, model: usize, now: f64) {
        let place = &mut self.places[model];
        (place.loaded, place.slots) = (Some(now), vec![Slot::EMPTY; self.machine.slots]);
    }

    /// The model on its way is there.
    pub(super) fn loaded(&mut self, model: usize, now: f64) {
        self.loading = None;
        self.put(model, now);
        let (mine, others) =
            std::mem::take(&mut self.unloaded).into_iter().partition(|it| it.ask.model == model);
        self.unloaded = others;
        let mine: VecDeque<Job> = mine;
        for mut job in mine {
            job.loaded = now;
            self.seat(job, now);
        }
        self.try_load(now);
    }
}
