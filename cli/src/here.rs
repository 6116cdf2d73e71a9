//! What runs on this machine, as it was written down by the command that has started it.

use std::path::{Path, PathBuf};

use echo_bus::id::NodeId;
use serde_json::Value;

use crate::record::Record;
use crate::up::summary::{age, parts};

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
    /// Whether nobody but the bus can be asked about the mesh: no edge of it is known.
    pub needs_bus: bool,
}

/// What runs here; `None` if nothing was started by this program.
pub fn here(run: &Path) -> Option<Here> {
    let record = match Record::read(run) {
        Ok(record) => record?,
        Err(error) => return Some(Here { lines: vec![error.to_string()], ..Here::default() }),
    };
    let mesh = match &record.bus {
        Some(bus) if record.joined => format!("In the mesh at {bus}, on"),
        _ => "On".to_owned(),
    };
    let mut lines =
        vec![format!("{mesh} this machine for {}, with logs in {}:", age(&record), record.logs.display())];
    lines.extend(parts(&record));
    let dead = record.dead();
    if !dead.is_empty() {
        lines.push(format!(
            "Not running any more: {}. `echo-mesh logs {}` says why.",
            dead.join(", "),
            dead[0]
        ));
    }
    Some(Here {
        lines,
        json: serde_json::to_value(&record).unwrap_or_default(),
        needs_bus: record.joined && record.edge.is_none() && record.bus.is_some(),
        nodes: record.nodes.iter().filter_map(|node| node.id.parse().ok()).collect(),
        bus: record.bus,
        secret_file: record.secret_file,
    })
}
