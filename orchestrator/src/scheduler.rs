//! The choice among nodes, and the words for it.

mod bars;
mod eligible;
mod outage;
mod rank;
mod refusal;
mod takers;
#[cfg(test)]
mod tests;
mod words;

use crate::fit::Fit;
use crate::need::{Line, Need};
use crate::reason::Reason;
use crate::registry::{Key, Registry};
pub use bars::Bars;
use eligible::{candidates, is_open, is_ready, suits};
pub use outage::outage;
use rank::{Offer, deciding, rank};
pub use refusal::{judge, not_served};
pub use takers::Takers;
use words::model_words;

/// A node, and why it.
#[derive(Debug)]
pub struct Choice {
    pub key: Key,
    pub reason: Reason,
    pub fit: Fit,
}

/// The best free node for this need, if there is one.
pub fn choose(registry: &Registry, need: &Need, bars: &Bars<'_>) -> Option<Choice> {
    let bars = bars.in_force(registry, need);
    let (mut having, mut free) = (0, 0);
    let (mut best, mut second): (Option<Offer<'_>>, Option<Offer<'_>>) = (None, None);
    for (key, node, model) in candidates(registry, need) {
        having += 1;
        if !is_ready(node, model, need) || bars.bar(node) || !suits(node, model, need) {
            continue;
        }
        free += 1;
        let offer = Offer { key, node, seen: model, rank: rank(node, model, need) };
        if best.as_ref().is_none_or(|best| offer.rank > best.rank) {
            second = best.replace(offer);
        } else if second.as_ref().is_none_or(|second| offer.rank > second.rank) {
            second = Some(offer);
        }
    }
    let best = best?;
    let fit = Fit::of(best.seen.map(|seen| seen.facts), need);
    let (key, counted) = (best.key, Counted { having, free });
    Some(Choice { key, reason: words(&best, second.as_ref(), counted, need).into(), fit })
}

/// What speaks for a free node that was chosen by what is expected of it, where nothing of that was measured.
pub fn unmeasured(registry: &Registry, need: &Need, bars: &Bars<'_>, key: Key) -> String {
    let bars = bars.in_force(registry, need);
    let mut counted = Counted::default();
    let (mut chosen, mut second): (Option<Offer<'_>>, Option<Offer<'_>>) = (None, None);
    for (at, node, seen) in candidates(registry, need) {
        counted.having += 1;
        if !is_ready(node, seen, need) || bars.bar(node) || !suits(node, seen, need) {
            continue;
        }
        counted.free += 1;
        let offer = Offer { key: at, node, seen, rank: rank(node, seen, need) };
        if at == key {
            chosen = Some(offer);
        } else if second.as_ref().is_none_or(|second| offer.rank > second.rank) {
            second = Some(offer);
        }
    }
    chosen.map_or_else(String::new, |chosen| words(&chosen, second.as_ref(), counted, need))
}

/// Nodes with the model, and those of them that could take the task now.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    having: usize,
    free: usize,
}

fn words(chosen: &Offer<'_>, second: Option<&Offer<'_>>, counted: Counted, need: &Need) -> String {
    let (what, Counted { having, free }) = (model_words(chosen.seen, need), counted);
    match second {
        None if having == 1 => format!("the only node {what}"),
        None => format!("the only free one of {having} nodes {what}"),
        Some(second) => {
            let why = deciding(&chosen.rank, &second.rank).words(chosen, need);
            format!("{why}, among {free} free of {having} nodes {what}")
        }
    }
}

/// Whether this node can take the task now.
pub fn can_take(registry: &Registry, need: &Need, bars: &Bars<'_>, key: Key) -> bool {
    let node = registry.node(key);
    let model = match &need.line {
        Line::Default => return false,
        Line::Pull => None,
        Line::Model(name) => match registry.model_at(key, name) {
            None => return false,
            found => found,
        },
    };
    is_ready(node, model, need) && suits(node, model, need) && !bars.bars(registry, need, node)
}

/// Nodes refused this attempt for good, and nobody else could take it.
pub fn all_skipped(registry: &Registry, need: &Need, bars: &Bars<'_>) -> bool {
    !bars.skipped.is_empty()
        && candidates(registry, need).all(|(_, node, model)| bars.skips(node) || !suits(node, model, need))
}

/// Whether somebody works who is not barred, be it with all slots taken.
pub fn somebody_works(registry: &Registry, need: &Need, bars: &Bars<'_>) -> bool {
    candidates(registry, need).any(|(_, node, model)| {
        // One that has just refused, or was not heard of since the broker came back, will be asked in a moment.
        let works = node.is_willing() && (need.aside || is_open(model));
        works && !bars.bar(node) && suits(node, model, need)
    })
}
