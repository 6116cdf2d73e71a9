//! The owner of a machine that has only joined: its own agents take the order, by the port that they have on this machine. The
//! machine's key may give no orders on the bus.

use std::time::Duration;

use anyhow::{Result, bail};
use echo_bus::id::NodeId;
use echo_bus::message::{MeshStatus, NodeState, NodeStatus, Wish};
use echo_bus::process::BadConfig;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::edge::Edge;
use crate::say::say;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(300);
/// A look that fails so long is no accident.
const SILENT: Duration = Duration::from_secs(15);

/// One node of this machine.
pub struct Local {
    node: NodeId,
    agent: Edge,
}

impl Local {
    /// The node that is meant, of those that this machine has.
    ///
    /// # Errors
    /// It is another machine's, or nobody has said which.
    pub fn of(agents: &[(NodeId, String)], named: Option<&NodeId>) -> Result<Self> {
        let names: Vec<&str> = agents.iter().map(|(node, _)| node.as_str()).collect();
        let meant = match (named, agents) {
            (Some(named), _) => agents.iter().find(|(node, _)| node == named),
            (None, [one]) => Some(one),
            (None, _) => None,
        };
        match (meant, named) {
            (Some((node, agent)), _) => Ok(Self { node: node.clone(), agent: Edge::own(agent.parse()?)? }),
            (None, Some(named)) => Err(BadConfig(format!(
                "{named} is not of this machine, which has only joined the mesh and may give orders to its own nodes: {}",
                names.join(", ")
            ))
            .into()),
            (None, None) => Err(BadConfig(format!("say which node is meant: {}", names.join(", "))).into()),
        }
    }

    pub fn node(&self) -> &NodeId {
        &self.node
    }

    pub async fn order(&self, wish: Wish) -> Result<()> {
        let path = if wish == Wish::Drain { "/drain" } else { "/resume" };
        self.agent.post(path, &json!({})).await.map(drop)
    }

    /// Whether nothing runs there any more, which Ctrl-C does not wait for.
    pub async fn empty(&self, shutdown: &CancellationToken) -> Result<bool> {
        let waited = shutdown.run_until_cancelled(
            self.until(|seen| seen.status == NodeStatus::Draining && seen.active_tasks == 0),
        );
        waited.await.transpose().map(|done| done.is_some())
    }

    /// Waits until it says that it takes work.
    pub async fn works(&self) -> Result<()> {
        self.until(|seen| matches!(seen.status, NodeStatus::Idle | NodeStatus::Busy)).await
    }

    async fn until(&self, holds: impl Fn(&NodeState) -> bool) -> Result<()> {
        let (mut heard, mut told) = (Instant::now(), None);
        loop {
            let mesh = self.agent.get::<MeshStatus>("/mesh").await.ok();
            let seen = mesh.and_then(|mesh| mesh.nodes.into_iter().find(|seen| seen.node_id == self.node));
            if let Some(seen) = seen {
                heard = Instant::now();
                if holds(&seen) {
                    return Ok(());
                }
                if told != Some(seen.active_tasks) && seen.active_tasks > 0 {
                    say(format_args!("{}: {} still run there", self.node, seen.active_tasks));
                    told = Some(seen.active_tasks);
                }
            } else if heard.elapsed() > SILENT {
                bail!("{} has taken the order, and the mesh does not say what became of it", self.node);
            }
            sleep(LOOK).await;
        }
    }
}
