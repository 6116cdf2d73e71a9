//! The nodes that can take a task, be it once they have a free slot.

use super::bars::Bars;
use super::eligible::suits;
use crate::expected::Candidate;
use crate::facts::Facts;
use crate::fit::Fit;
use crate::need::Need;
use crate::node::Node;
use crate::registry::{Key, Registry, Seen, Serving};

/// They are found one by one, when they are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Takers<'a> {
    nodes: Serving<'a>,
    need: &'a Need,
    bars: Bars<'a>,
}

impl<'a> Takers<'a> {
    /// Of these, which have the model.
    pub fn of(registry: &Registry, nodes: Serving<'a>, need: &'a Need, bars: &Bars<'a>) -> Self {
        Self { nodes, need, bars: bars.in_force(registry, need) }
    }

    pub fn iter(self) -> impl Iterator<Item = Candidate> + 'a {
        self.nodes.iter().filter_map(move |(key, node, seen)| self.taker(key, node, seen))
    }

    /// This node, if it is one of them.
    pub fn at(&self, key: Key) -> Option<Candidate> {
        let (node, seen) = self.nodes.at(key)?;
        self.taker(key, node, seen)
    }

    /// How many have the model.
    pub fn having(&self) -> usize {
        self.nodes.len()
    }

    #[inline]
    fn taker(&self, key: Key, node: &Node, seen: Seen<'_>) -> Option<Candidate> {
        let need = self.need;
        if !node.is_willing() || seen.facts.closed || self.bars.bar(node) || !suits(node, Some(seen), need) {
            return None;
        }
        Some(candidate(key, node, &seen.facts, need))
    }
}

fn candidate(key: Key, node: &Node, facts: &Facts, need: &Need) -> Candidate {
    Candidate {
        key,
        fit: Fit::of(Some(*facts), need),
        says: facts.says.include(need.abilities),
        is_heard: node.is_fit(),
        at_best: facts.at_best,
        distance: need.site.distance(node.site()),
        used: node.used(),
        slots: node.slots(),
        last_used: node.last_used(),
        free_at: node.free_at(),
        estimate: 0.0,
    }
}
