//! The nodes that a task does not go to.

use echo_bus::message::Excluded;

use super::eligible::{candidates, suits, works};
use crate::need::Need;
use crate::node::Node;
use crate::registry::{Key, Registry, Seen};

/// Nodes that a task does not go to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bars<'a> {
    /// They lost or failed the task before; again allowed when relieved and nobody else is left.
    pub excluded: &'a [Excluded],
    /// They refused this attempt for good.
    pub skipped: &'a [Excluded],
    /// The task has waited for others for long enough.
    pub relieved: bool,
}

impl Bars<'_> {
    pub(super) fn bars(&self, registry: &Registry, need: &Need, node: &Node) -> bool {
        self.bar(node) && (self.skips(node) || self.in_force(registry, need).bar(node))
    }

    #[inline]
    pub(super) fn bar(&self, node: &Node) -> bool {
        names(self.excluded, node) || self.skips(node)
    }

    pub(super) fn skips(&self, node: &Node) -> bool {
        names(self.skipped, node)
    }

    /// Without the exclusions, if the task has waited long enough and nobody else works.
    pub(super) fn in_force(&self, registry: &Registry, need: &Need) -> Self {
        let somebody = |(_, node, model): (Key, &Node, Option<Seen<'_>>)| {
            works(node, model, need) && !self.bar(node) && suits(node, model, need)
        };
        if self.excluded.is_empty() || !self.relieved || candidates(registry, need).any(somebody) {
            return *self;
        }
        Self { excluded: &[], ..*self }
    }
}

#[inline]
fn names(list: &[Excluded], node: &Node) -> bool {
    !list.is_empty() && list.iter().any(|it| it.boot == *node.boot() && it.node == *node.id())
}
