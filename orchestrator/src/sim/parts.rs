//! The policy of the product without each of its parts: what each is worth. Some are left out by what agents tell, the
//! rest by what counts in a choice.

use super::lack::Lack;
use super::text::Texts;
use crate::expected::Weights;

/// The policy of the product, or what is left of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proposal {
    pub texts: Texts,
    pub lack: Lack,
    pub weights: Weights,
    /// Tasks say whose they are; else all are one client's.
    pub names_clients: bool,
}

impl Default for Proposal {
    fn default() -> Self {
        let (texts, lack, weights) = Default::default();
        Self { texts, lack, weights, names_clients: true }
    }
}

impl From<Texts> for Proposal {
    fn from(texts: Texts) -> Self {
        Self { texts, ..Self::default() }
    }
}

/// Each part by its name, and the policy without it.
pub fn without() -> Vec<(&'static str, Proposal)> {
    let all = Proposal::default();
    let lacks = |lack| Proposal { lack, ..all };
    let counts = |change: fn(&mut Weights)| {
        let mut proposal = all;
        change(&mut proposal.weights);
        proposal
    };
    let strange = Proposal { texts: Texts::Strange, ..counts(|it| it.lost = 0.0) };
    vec![
        ("hold", counts(|it| it.holds = false)),
        ("price of an uncertain wait", counts(|it| it.uncertain = 0.0)),
        ("several waiting tasks", counts(|it| it.looked_at = 1)),
        ("load times", lacks(Lack::Loads)),
        ("eviction cost", counts(|it| it.evicted = 0.0)),
        ("prefix affinity", strange),
        ("worth of cached prompts", counts(|it| it.lost = 0.0)),
        ("finish reason", lacks(Lack::Tools)),
        ("prompt speed from uncached tokens", lacks(Lack::Uncached)),
        ("cost to others", counts(|it| it.others = 0.0)),
        ("slower with more at once", counts(|it| it.company = false)),
        ("lengths of answers", lacks(Lack::Lengths)),
        ("calibration at start", lacks(Lack::Calibration)),
        ("live speeds", lacks(Lack::Running)),
        ("recovery of slow speeds", lacks(Lack::Ages)),
        ("turns of clients", Proposal { names_clients: false, ..all }),
    ]
}
