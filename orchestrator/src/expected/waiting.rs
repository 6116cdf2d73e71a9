//! A task that waits, and where it may go.

use echo_bus::id::TaskId;

use super::ask::Ask;
use super::candidate::Candidate;
use super::verdict::Verdict;
use crate::fit::Fit;
use crate::registry::Key;

/// A task that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub task: TaskId,
    pub ask: Ask,
    pub look: Look,
}

/// Where it may go.
#[derive(Debug, Clone)]
pub enum Look {
    /// To one of these, be it later; so many others are worse at first sight.
    Nearest(Vec<Candidate>, usize),
    /// It is held, and nothing has changed that matters to it.
    Stands(Stand),
}

/// What was decided about a task that is held, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stand {
    pub key: Key,
    pub fit: Fit,
    pub verdict: Verdict,
    pub at: f64,
}

impl Waiting {
    /// The nodes that are looked at.
    pub fn nodes(&self) -> &[Candidate] {
        match &self.look {
            Look::Nearest(nodes, _) => nodes,
            Look::Stands(_) => &[],
        }
    }

    pub(super) fn needs_it_as_it_is(&self, key: Key) -> bool {
        match &self.look {
            Look::Nearest(nodes, _) => nodes.iter().any(|it| it.key == key && it.fit == Fit::AsNeeded),
            Look::Stands(it) => it.key == key && it.fit == Fit::AsNeeded,
        }
    }
}
