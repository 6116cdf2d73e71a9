//! Whether a node has a model in memory as a task needs it.

use crate::facts::Facts;
use crate::need::Need;

/// What a node has in memory of the model that a task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// As the task needs it, or on its way there.
    AsNeeded,
    Cold,
    /// With other load-time options: the engine would throw it out and load it anew, for this task and for the next one
    /// that needs it as it is now.
    Otherwise,
}

impl Fit {
    pub fn of(facts: Option<Facts>, need: &Need) -> Self {
        let Some((facts, load)) = facts.zip(need.load) else { return Self::AsNeeded };
        match facts.loading {
            loading if loading.answers(load) => Self::AsNeeded,
            loading if loading.is_cold() => Self::Cold,
            _ => Self::Otherwise,
        }
    }
}
