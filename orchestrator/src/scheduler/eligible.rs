//! Which nodes have what a need is about, and which of them suit it.

use crate::need::{Line, Need};
use crate::node::Node;
use crate::registry::{Key, Registry, Seen};

/// The nodes that have what the need is about.
pub(super) fn candidates<'a>(
    registry: &'a Registry,
    need: &'a Need,
) -> Box<dyn Iterator<Item = (Key, &'a Node, Option<Seen<'a>>)> + 'a> {
    match &need.line {
        Line::Model(name) => {
            Box::new(registry.serving(name).map(|(key, node, seen)| (key, node, Some(seen))))
        }
        Line::Pull => Box::new(registry.iter().map(|(key, node)| (key, node, None))),
        Line::Default => Box::new(std::iter::empty()),
    }
}

pub(super) fn is_ready(node: &Node, seen: Option<Seen<'_>>, need: &Need) -> bool {
    if need.aside { node.is_fit() } else { node.is_free() && is_open(seen) }
}

/// The node takes tasks for this model.
pub(super) fn is_open(seen: Option<Seen<'_>>) -> bool {
    seen.is_none_or(|seen| !seen.facts.closed)
}

/// It works, now or as soon as it has a free slot.
pub(super) fn works(node: &Node, seen: Option<Seen<'_>>, need: &Need) -> bool {
    node.is_fit() && (need.aside || is_open(seen))
}

pub(super) fn suits(node: &Node, seen: Option<Seen<'_>>, need: &Need) -> bool {
    managed(node, need)
        && (need.nodes.is_empty() || need.nodes.contains(node.id()))
        && seen.is_none_or(|seen| seen.facts.may.include(need.abilities))
}

pub(super) fn managed(node: &Node, need: &Need) -> bool {
    !need.managed || node.beat().model_management
}
