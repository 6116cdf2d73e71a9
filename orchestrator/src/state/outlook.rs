//! When those who wait can expect a slot: from what runs, what waits before them, and what has ended lately.

use std::time::Duration;

use super::State;
use crate::model_name::ModelName;
use crate::need::Line;
use crate::node::Node;
use crate::pace::Outlook;

/// A node has no more slots than this to look at, whatever it says.
const MOST_SLOTS: u32 = 256;

impl State {
    /// When slots for this line become free; `None` when nothing of its model has ended lately.
    pub(super) fn outlook(&self, line: &Line) -> Option<Outlook> {
        let Line::Model(name) = line else { return None };
        let nodes = self.registry.serving(name).map(|(_, node, _)| node).filter(|node| node.is_fit());
        let each = self.pace.of(name, self.now.at)?;
        let mut free_in = Vec::new();
        nodes.for_each(|node| self.slots_of(node, name, each, &mut free_in));
        Outlook::new(free_in, each)
    }

    /// When each slot of a node is free. Of tasks that others have placed nothing is known but that they run.
    fn slots_of(&self, node: &Node, name: &ModelName, each: Duration, free_in: &mut Vec<Duration>) {
        let slots = node.slots().min(MOST_SLOTS) as usize;
        let end = free_in.len() + slots;
        for (model, since) in node.running().take(slots) {
            let has_run = self.now.at.saturating_duration_since(since);
            free_in.push(self.pace.left(model.unwrap_or(name), has_run, self.now.at).unwrap_or(each));
        }
        let others = (node.used() as usize).saturating_sub(node.running().count());
        free_in.extend(std::iter::repeat_n(each, others.min(slots)));
        free_in.resize(end, Duration::ZERO);
    }
}
