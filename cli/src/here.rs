//! What runs on this machine, as it was written down by the command that has started it.

use std::path::Path;

use echo_bus::id::NodeId;
use serde_json::Value;

use crate::record::{Access, Record};
use crate::up::summary::{age, parts};

/// What runs here.
#[derive(Debug, Clone, Default)]
pub struct Here {
    /// For people, a line each.
    pub lines: Vec<String>,
    /// The same for programs.
    pub json: Value,
    /// Whether a supervisor keeps it up.
    pub runs: bool,
    /// The nodes of this machine.
    pub nodes: Vec<NodeId>,
    /// The bus that they are on, and the key of this machine's people.
    pub bus: Option<String>,
    pub access: Option<Access>,
    /// The agents of a machine that has only joined, by node: what its owner may ask.
    pub agents: Vec<(NodeId, String)>,
    /// Whether nobody but an agent can be asked about the mesh: no edge of it is known.
    pub needs_agent: bool,
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
        runs: record.supervisor.runs(),
        json: serde_json::to_value(&record).unwrap_or_default(),
        needs_agent: record.joined && record.edge.is_none(),
        agents: if record.joined { agents(&record) } else { Vec::new() },
        nodes: record.nodes.iter().filter_map(|node| node.id.parse().ok()).collect(),
        bus: record.bus,
        access: record.access,
    })
}

fn agents(record: &Record) -> Vec<(NodeId, String)> {
    record.nodes.iter().filter_map(|node| Some((node.id.parse().ok()?, node.agent.clone()))).collect()
}
