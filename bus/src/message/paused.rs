//! Why a node that works takes nothing new: whose doing it is.

use serde::{Deserialize, Serialize};

/// The word; the heartbeat's `reason` is the sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paused {
    /// It is outside of the hours that its owner has set.
    Hours,
    /// Other programs need the machine.
    Load,
    /// Its owner has ordered it.
    Owner,
    /// Its agent is stopping.
    Stopping,
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}
