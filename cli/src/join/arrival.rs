//! Waits until the mesh lists what this machine brings, or knows why it cannot work.

use std::time::{Duration, Instant};

use echo_bus::Bus;
use echo_bus::client::CallError;
use echo_bus::id::NodeId;
use echo_bus::message::{Empty, MeshStatus, NodeState, NodeStatus, unix_millis};
use echo_bus::subject;

/// An agent is listed a second or two after its start; its engine may take longer to be asked for its models.
const PATIENCE: Duration = Duration::from_secs(20);
const BETWEEN: Duration = Duration::from_millis(200);
const ANSWER: Duration = Duration::from_secs(1);
/// Nobody notices clocks that differ by less.
const CLOCKS: Duration = Duration::from_secs(120);

/// The nodes as the mesh lists them.
pub struct Arrived {
    nodes: Vec<NodeState>,
    clock: Option<String>,
}

/// Waits until all of these nodes can work.
///
/// # Errors
/// Why one cannot, in a sentence.
pub async fn arrival(bus: &Bus, nodes: &[NodeId]) -> Result<Arrived, String> {
    let began = Instant::now();
    loop {
        let seen = bus.call(&subject::status(), &Empty {}, ANSWER).await;
        let missing = match seen {
            Ok(status) => match missing(&status, nodes, began.elapsed()) {
                None => return Ok(Arrived::of(status, nodes)),
                Some(missing) => missing,
            },
            Err(CallError::NoResponders(_)) => "the mesh has no orchestrator: look at the machine where \
                                                `echo-mesh up` runs"
                .to_owned(),
            Err(_) => "the mesh does not answer".to_owned(),
        };
        if began.elapsed() > PATIENCE {
            return Err(missing);
        }
        tokio::time::sleep(BETWEEN).await;
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
            NodeStatus::Idle | NodeStatus::Busy => None,
            _ => Some(format!("{node} is in the mesh and cannot work: {}", reason(seen))),
        }
    })
}

fn reason(seen: &NodeState) -> String {
    let said: String = seen.reason.chars().filter(|letter| !letter.is_control()).take(300).collect();
    match (said.is_empty(), seen.status) {
        (false, _) => said,
        (true, NodeStatus::Draining) => "it takes nothing new".to_owned(),
        (true, _) => "its engine has not answered yet".to_owned(),
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
            format!("{} is in the mesh: {models}, {slots} at a time.", seen.node_id)
        };
        self.nodes.iter().map(line).collect()
    }

    /// What is odd about this machine.
    pub fn warning(&self) -> Option<&str> {
        self.clock.as_deref()
    }
}
