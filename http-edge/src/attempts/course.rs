//! What was expected of the attempt that a node accepted last, and what came: by our own clock, and by the engine's word
//! for what only it can know.

use std::time::{Duration, Instant};

use echo_bus::id::NodeId;
use echo_bus::message::{Times, Timings, Why};

/// The course of one attempt.
#[derive(Debug, Default)]
pub struct Course {
    why: Option<Box<Why>>,
    waited: Duration,
    accepted: Option<Instant>,
    first: Option<Instant>,
}

impl Course {
    /// A node has accepted an attempt, which waited for so long.
    pub fn accepted(&mut self, node: &NodeId, why: Option<Box<Why>>, waited: Duration, now: Instant) {
        let mut why = why.unwrap_or_else(|| Box::new(Why::at(node.clone())));
        // It is the node that says so, and what came is for nobody else to say.
        (why.node, why.measured_ms) = (node.clone(), Times::default());
        why.measured_ms.wait = Some(millis(waited));
        *self = Self { why: Some(why), waited, accepted: Some(now), first: None };
    }

    /// It has given a part of the answer.
    pub fn gave(&mut self, now: Instant) {
        self.first.get_or_insert(now);
    }

    /// The answer is whole; these are the times of the attempt that gave its last part.
    pub fn ended(&mut self, by_engine: &Timings, now: Instant) {
        let Some((accepted, why)) = self.accepted.zip(self.why.as_mut()) else { return };
        let here = now.saturating_duration_since(accepted);
        let said = |ns: u64| (ns > 0).then(|| Duration::from_nanos(ns));
        let since_first = self.first.map_or(Duration::ZERO, |first| now.saturating_duration_since(first));
        // Pieces that travel with the end do not tell when the first of them was made; the engine does.
        let answer = since_first.max(said(by_engine.eval_ns).unwrap_or_default()).min(here);
        let load = said(by_engine.load_ns).map(|load| load.min(here - answer));
        let prompt = here - answer - load.unwrap_or_default();
        why.measured_ms = Times {
            wait: Some(millis(self.waited)),
            load: load.map(millis),
            prompt: Some(millis(prompt)),
            answer: Some(millis(answer)),
            whole: Some(millis(self.waited + here)),
        };
    }

    pub fn why(&self) -> Option<&Why> {
        self.why.as_deref()
    }
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
