//! What speaks for a free node, beside another one.

use super::words::loaded_words;
use crate::distance::Distance;
use crate::expected::AT_THIS_SITE;
use crate::facts::Facts;
use crate::fit::Fit;
use crate::need::{Line, Need};
use crate::node::Node;
use crate::registry::{Key, Seen};

/// A free node that could take the task.
pub(super) struct Offer<'a> {
    pub(super) key: Key,
    pub(super) node: &'a Node,
    pub(super) seen: Option<Seen<'a>>,
    pub(super) rank: Rank,
}

/// What speaks for a node, in the order of [`CRITERIA`]: the first number in which two nodes differ decides, and more
/// is better.
pub(super) type Rank = [i64; CRITERIA.len()];

/// What may decide between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Criterion {
    SaysSo,
    Near,
    Disk,
    Loaded,
    Busy,
    Speed,
    Memory,
    LastUsed,
}

/// In the order in which they decide.
const CRITERIA: [Criterion; 8] = [
    Criterion::SaysSo,
    Criterion::Near,
    Criterion::Disk,
    Criterion::Loaded,
    Criterion::Busy,
    Criterion::Speed,
    Criterion::Memory,
    Criterion::LastUsed,
];

pub(super) fn rank(node: &Node, seen: Option<Seen<'_>>, need: &Need) -> Rank {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let facts = seen.map(|seen| seen.facts);
    CRITERIA.map(|criterion| match criterion {
        Criterion::SaysSo => facts.is_none_or(|facts| facts.says.include(need.abilities)).into(),
        Criterion::Near => (need.site.distance(node.site()) != Distance::Far).into(),
        Criterion::Disk if need.line == Line::Pull => number(node.beat().disk.free),
        Criterion::Disk => 0,
        Criterion::Loaded => loaded(node, facts, need),
        Criterion::Busy => -i64::from(node.busy()),
        Criterion::Speed => facts.map_or(0, |facts| facts.speed).into(),
        Criterion::Memory => node.memory().into(),
        Criterion::LastUsed => -number(node.last_used()),
    })
}

/// The less there is to load the better. Where the model is in memory with other options, an engine that answers has to
/// end that first.
fn loaded(node: &Node, facts: Option<Facts>, need: &Need) -> i64 {
    let there = facts.is_some_and(|facts| facts.loaded) && is_at_ease(node);
    match Fit::of(facts, need) {
        Fit::AsNeeded => 2 + i64::from(there),
        Fit::Cold => 2,
        Fit::Otherwise => (node.used() == 0).into(),
    }
}

/// At most half of its slots are in use. Beyond that a loaded model is no reason any more: those who share an engine
/// slow each other down, and another node that has to load it once would take nothing as long as this one has a slot.
fn is_at_ease(node: &Node) -> bool {
    node.used() <= node.slots() / 2
}

/// The first criterion in which it is better.
pub(super) fn deciding(best: &Rank, second: &Rank) -> Criterion {
    let differs = best.iter().zip(second).position(|(a, b)| a > b);
    differs.map_or(Criterion::LastUsed, |index| CRITERIA[index])
}

impl Criterion {
    pub(super) fn words(self, winner: &Offer<'_>, need: &Need) -> String {
        match self {
            Self::SaysSo => "known to do what the task needs".to_owned(),
            Self::Near => AT_THIS_SITE.to_owned(),
            Self::Disk => "most free disk".to_owned(),
            Self::Loaded => match Fit::of(winner.seen.map(|seen| seen.facts), need) {
                Fit::AsNeeded => loaded_words(need, winner.seen.is_none_or(|seen| seen.facts.loaded)),
                Fit::Cold => "has nothing to unload for it".to_owned(),
                Fit::Otherwise => "the only idle one that has to load the model anew".to_owned(),
            },
            Self::Busy => format!("least busy ({} of {} slots)", winner.node.used(), winner.node.slots()),
            Self::Speed => match winner.seen.and_then(|seen| seen.model().tokens_per_second) {
                Some(speed) => format!("fastest ({speed:.0} tokens/s)"),
                None => "not measured yet".to_owned(),
            },
            Self::Memory => "most free memory".to_owned(),
            Self::LastUsed => "least recently used".to_owned(),
        }
    }
}
