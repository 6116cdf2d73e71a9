//! Whether the mesh lists what this machine brings, or why that cannot work.

use std::time::Duration;

use echo_bus::id::NodeId;
use echo_bus::message::{MeshStatus, NodeState, NodeStatus, unix_millis};

use crate::clean::Clean;
use crate::edge::Edge;

/// An agent asks an orchestrator, for two seconds at most.
const ANSWER: Duration = Duration::from_secs(3);
/// Nobody notices clocks that differ by less.
const CLOCKS: Duration = Duration::from_secs(120);

/// The nodes as the mesh lists them.
pub struct Arrived {
    nodes: Vec<NodeState>,
    clock: Option<String>,
}

/// Asks an agent of this machine whether all of these nodes, started so long ago, can work.
///
/// # Errors
/// Why one cannot yet, in a sentence.
pub async fn look(agent: &Edge, nodes: &[NodeId], since: Duration) -> Result<Arrived, String> {
    let told = tokio::time::timeout(ANSWER, agent.get::<MeshStatus>("/mesh")).await;
    match told {
        Ok(Ok(status)) => match missing(&status, nodes, since) {
            None => Ok(Arrived::of(status, nodes)),
            Some(missing) => Err(missing),
        },
        Ok(Err(why)) => {
            Err(format!("the agent says that it is not in the mesh yet: {}", Clean::of(&format!("{why:#}"))))
        }
        Err(_) => Err("the agent does not answer".to_owned()),
    }
}

/// Why not all can work yet.
fn missing(status: &MeshStatus, nodes: &[NodeId], since: Duration) -> Option<String> {
    nodes.iter().find_map(|node| {
        let Some(seen) = status.nodes.iter().find(|seen| seen.node_id == *node) else {
            return Some(format!("the mesh does not list {node} yet"));
        };
        // One that has been up for longer than we wait is an earlier start of ours, or another's.
        if Duration::from_millis(seen.uptime_ms) > since + Duration::from_secs(5) {
            return Some(format!("another node {node} is in the mesh: choose another name with --node NAME"));
        }
        match seen.status {
            // One that its owner keeps from work, such as by hours, has arrived all the same.
            NodeStatus::Idle | NodeStatus::Busy | NodeStatus::Draining => None,
            _ => Some(format!("{node} is in the mesh and cannot work: {}", reason(seen))),
        }
    })
}

fn reason(seen: &NodeState) -> String {
    let said: String = seen.reason.chars().filter(|letter| !letter.is_control()).take(300).collect();
    match said.is_empty() {
        false => said,
        true => "its engine has not answered yet".to_owned(),
    }
}

impl Arrived {
    fn of(status: MeshStatus, nodes: &[NodeId]) -> Self {
        let apart = Duration::from_millis(status.server_time.abs_diff(unix_millis()));
        let clock = (apart > CLOCKS).then(|| {
            format!(
                "the clocks of this machine and of the mesh are {} minutes apart: times in logs will not fit together",
                apart.as_secs() / 60
            )
        });
        let nodes = status.nodes.into_iter().filter(|seen| nodes.contains(&seen.node_id)).collect();
        Self { nodes, clock }
    }

    /// A line for each node.
    pub fn lines(&self) -> Vec<String> {
        let line = |seen: &NodeState| {
            let models = match seen.models.len() {
                0 => "no models yet".to_owned(),
                1 => "1 model".to_owned(),
                many => format!("{many} models"),
            };
            let slots =
                if seen.slots == 1 { "1 answer".to_owned() } else { format!("{} answers", seen.slots) };
            let paused = match seen.status {
                NodeStatus::Draining => format!(" It takes nothing now: {}.", reason(seen)),
                _ => String::new(),
            };
            format!("{} is in the mesh: {models}, {slots} at a time.{paused}", seen.node_id)
        };
        self.nodes.iter().map(line).collect()
    }

    /// What is odd about this machine.
    pub fn warning(&self) -> Option<&str> {
        self.clock.as_deref()
    }
}
