//! A clone of an engine that is run to its end: what would happen if nothing else came.

use super::{Ask, Engine, Job};

impl Engine {
    /// A copy at this moment, without what has ended.
    pub fn what_if(&self, now: f64) -> Self {
        let mut copy = self.clone();
        copy.ended.clear();
        copy.advance(now);
        copy
    }

    /// In a copy: takes a request into a slot, or into the agent's own queue when all are taken.
    pub fn take(&mut self, ask: Ask, now: f64) {
        if self.active < self.machine.slots { self.enter(ask, now) } else { self.backlog.push_back(ask) }
    }

    /// In a copy: goes on until nothing is left; everything that has ended.
    pub fn run_out(mut self) -> Vec<Job> {
        while let Some(next) = self.next_event() {
            self.step(next);
        }
        self.ended
    }
}
