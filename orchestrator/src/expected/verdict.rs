//! What came of judging a task on a node.

use super::weights::Weights;

/// A task on a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// What the choice compares: the expected seconds, and what it costs others.
    pub cost: f64,
    /// Seconds until it is done.
    pub expected: f64,
    /// Seconds until its prompt is worked off.
    pub begun: f64,
    /// Seconds until its model is there.
    pub ready: f64,
    /// It cannot begin there now: all slots are taken, or others need the model as it is.
    pub held: bool,
    /// The model would be loaded anew for it, and it has not waited for long enough to do that to others.
    pub yields: bool,
    /// The slot of the engine's cache that it would get.
    pub slot: Option<usize>,
    pub parts: Parts,
}

impl Verdict {
    /// The same so many seconds later, if all has gone as expected.
    pub fn after(self, seconds: f64) -> Self {
        let left = |time: f64| (time - seconds).max(0.0);
        let (ready, begun) = (left(self.ready), left(self.begun));
        let expected = begun + (self.expected - self.begun);
        Self { cost: self.cost - seconds, expected, begun, ready, ..self }
    }
}

/// Of what the cost is made, in seconds, and what it was reckoned from.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Parts {
    pub wait: f64,
    pub load: f64,
    /// Until other prompts are worked off.
    pub queue: f64,
    pub prompt: f64,
    pub answer: f64,
    /// What those who run there lose.
    pub others: f64,
    /// Models that it throws out.
    pub evicted: f64,
    /// A cached prompt that loses its slot.
    pub lost: f64,
    pub trial: f64,
    /// The node is at another site than the task's edge.
    pub away: f64,
    /// Tokens.
    pub cached: f64,
    pub tokens: f64,
    pub at_once: usize,
    /// The speed was measured there; else it is taken for granted.
    pub measured: bool,
}

impl Parts {
    /// What it costs beside the time until it is done, if it waits for so long for a slot.
    pub(super) fn cost(&self, weights: &Weights, wait: f64) -> f64 {
        weights.uncertain * wait
            + weights.others * self.others
            + weights.evicted * self.evicted
            + weights.lost * self.lost
            + self.trial
            + self.away
    }
}
