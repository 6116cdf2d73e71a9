//! What runs on this machine, as it was written down by the command that has started it.

use std::path::PathBuf;

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
    /// The bus that they are on, and the file of the secret that it wants.
    pub bus: Option<String>,
    pub secret_file: Option<PathBuf>,
}

/// What runs here; `None` if nothing was started by this program.
pub fn here(_: &Place) -> Option<Here> {
    None
}
