//! What runs on this machine, as it was written down by the command that has started it.

use echo_bus::id::NodeId;
use serde_json::Value;

use crate::place::Place;

/// What runs here.
#[derive(Debug, Clone, Default)]
pub struct Here {
    /// For people, a line each.
    pub lines: Vec<String>,
    /// The same for programs.
    pub json: Value,
    /// The nodes of this machine.
    pub nodes: Vec<NodeId>,
}

/// What runs here; `None` if nothing was started by this program.
pub fn here(_: &Place) -> Option<Here> {
    None
}
