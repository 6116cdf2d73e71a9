//! What the operator of a node wants of it, and what the node says to that.

use serde::{Deserialize, Serialize};

/// Edge → agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub wish: Wish,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Finish what runs and take nothing new.
    Drain,
    /// Take work again.
    Resume,
    /// A word of a newer version: nothing is done about it.
    #[serde(other)]
    Unknown,
}

/// Agent → edge: how things stand now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// The node takes nothing new.
    pub draining: bool,
    /// The agent is leaving: that cannot be taken back.
    pub stopping: bool,
}
