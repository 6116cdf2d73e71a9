//! What the edge tells somebody who watches, and what becomes of the stream by which it does.

use serde_json::Value;

use crate::clean::Clean;

/// One of these.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// All that there is.
    Snapshot(Value),
    /// What has changed since, as a merge patch.
    Change(Value),
    /// Nothing has changed, and the edge is there.
    Alive,
    /// The stream has ended, or there is none, and why. Another try is under way.
    Broken(Clean),
}

impl Event {
    /// An event of the stream, by its name.
    pub fn read(name: &str, data: &str) -> Self {
        match (name, serde_json::from_str(data)) {
            ("snapshot", Ok(whole)) => Self::Snapshot(whole),
            ("change", Ok(patch)) => Self::Change(patch),
            // A word of a newer edge is a sign of life.
            _ => Self::Alive,
        }
    }
}
