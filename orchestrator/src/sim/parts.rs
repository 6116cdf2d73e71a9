//! The policy of the product without each of its parts: what each is worth. Some are left out by what agents tell, the
//! rest by what counts in a choice.

use super::beat::Lack;
use super::text::Texts;
use crate::expected::Weights;

/// The policy of the product, or what is left of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Proposal {
    pub texts: Texts,
    pub lack: Lack,
    pub weights: Weights,
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
        ("waiting for a full node", counts(|it| it.holds = false)),
        ("waiting counts half as much again", counts(|it| it.uncertain = 0.0)),
        ("looking at several that wait", counts(|it| it.looked_at = 1)),
        ("load times", lacks(Lack::Loads)),
        ("the price of a model thrown out", counts(|it| it.evicted = 0.0)),
        ("cached prompts, in all", strange),
        ("the worth of a cached prompt that loses its slot", counts(|it| it.lost = 0.0)),
        ("tool calls come back", lacks(Lack::Tools)),
        ("prompt speed of uncached tokens only", lacks(Lack::Uncached)),
        ("what others lose", counts(|it| it.others = 0.0)),
        ("answers slow each other down", counts(|it| it.company = false)),
        ("lengths of answers", lacks(Lack::Lengths)),
        ("calibration at the start", lacks(Lack::Calibration)),
        ("speeds of running answers", lacks(Lack::Running)),
        ("old slow speeds recover", lacks(Lack::Ages)),
    ]
}
