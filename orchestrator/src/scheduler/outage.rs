//! Why none of the nodes with a model takes a task for it.

use echo_bus::message::NodeStatus;
use echo_bus::model_name::ModelName;

use crate::node::{Hold, Node};
use crate::registry::{Registry, Seen};

/// Nodes that an outage names with their reasons.
const NAMED_REASONS: usize = 4;

/// None of the nodes with a model takes a task for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Outage {
    pub why: String,
    /// One of them is about to know better, which may take a load.
    pub is_passing: bool,
}

/// Why none of the nodes with this model takes a task for it; `None` if one does, or if there are none.
pub fn outage(registry: &Registry, name: &ModelName) -> Option<Outage> {
    let (mut reasons, mut is_passing) = (Vec::new(), false);
    for (_, node, seen) in registry.serving(name) {
        if node.is_fit() && !seen.facts.closed {
            return None;
        }
        is_passing |= seen.model().tried && node.beat().status != NodeStatus::Draining;
        reasons.push(format!("{}: {}", node.id(), why_not(node, seen)));
    }
    let more = reasons.len().saturating_sub(NAMED_REASONS);
    reasons.truncate(NAMED_REASONS);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    (!reasons.is_empty()).then(|| Outage { why: reasons.join("; "), is_passing })
}

fn why_not(node: &Node, seen: Seen<'_>) -> String {
    match (node.hold(), node.beat().status) {
        (_, NodeStatus::Draining) if node.beat().reason.is_empty() => {
            "finishes what it has and takes nothing new".to_owned()
        }
        (_, NodeStatus::Draining | NodeStatus::Unavailable) => node.beat().reason.clone(),
        (Some(Hold::Unheard), _) => "was not heard of since the broker came back".to_owned(),
        (Some(Hold::Suspect), _) => "it did not answer".to_owned(),
        (Some(Hold::Gone { .. }), _) => "its connection ended".to_owned(),
        _ if seen.facts.closed => seen.model().unavailable.clone(),
        _ => "has just refused a task".to_owned(),
    }
}
