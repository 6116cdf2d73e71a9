//! How far an attempt is, and what was measured on the way.

use std::time::Instant;

use echo_bus::message::{Done, Piece, Reason, Timings};

use crate::facts::Run;

/// What was measured on the way.
#[derive(Debug, Default)]
pub struct Progress {
    /// When the engine was asked.
    pub(super) asked: Option<Instant>,
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
    pub(super) pieces: u64,
    /// By the engine's count, once its last chunk is here.
    pub(super) done: Option<Counts>,
    /// For the node's measurements; absent for requests aside.
    pub(super) run: Option<Run>,
}

/// What the engine's last chunk counts.
#[derive(Debug)]
pub struct Counts {
    pub(super) tokens: Option<u64>,
    pub(super) timings: Timings,
}

impl Progress {
    pub(super) fn counts(&self, done: &Done) -> Counts {
        let mut timings = done.timings;
        // Ollama does not say how long a load took for which it was asked alone.
        if let Some(asked) = self.asked.filter(|_| done.reason == Reason::Load && timings.load_ns == 0) {
            timings.load_ns = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
        }
        Counts { tokens: done.tokens, timings }
    }

    pub(super) fn note(&mut self, pieces: &[Piece]) {
        let now = Instant::now();
        if let Some(run) = &mut self.run {
            run.heard(pieces, now);
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.pieces += pieces.len() as u64;
    }

    /// From the first piece to the last; too few say nothing.
    pub(super) fn speed(&self) -> Option<f64> {
        let time = self.last?.duration_since(self.first?).as_secs_f64();
        (self.pieces >= 8 && time > 0.0).then(|| (self.pieces - 1) as f64 / time)
    }
}
