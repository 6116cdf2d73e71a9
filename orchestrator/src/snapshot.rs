//! The registry at one moment, cheap to take; the words for people are made from it elsewhere.

use std::sync::Arc;

use echo_bus::id::ProcessId;
use echo_bus::message::{Heartbeat, MeshStatus, Model, NodeState, NodeStatus};

use crate::node::{Hold, Node};

/// The registry at one moment.
#[derive(Debug)]
pub struct Snapshot {
    pub orchestrator: ProcessId,
    pub queued: usize,
    pub default_model: Option<String>,
    pub server_time: u64,
    pub nodes: Vec<NodeShot>,
}

/// One node at that moment.
#[derive(Debug)]
pub struct NodeShot {
    beat: Arc<Heartbeat>,
    models: Option<Arc<Vec<Model>>>,
    used: u32,
    hold: Option<Hold>,
    last_heartbeat: u64,
    registered_at: u64,
}

impl From<&Node> for NodeShot {
    fn from(node: &Node) -> Self {
        Self {
            beat: node.beat().clone(),
            models: node.shared_models(),
            used: node.used(),
            hold: node.hold(),
            last_heartbeat: node.last_heartbeat,
            registered_at: node.registered_at,
        }
    }
}

impl Snapshot {
    /// In the words of the bus.
    pub fn into_status(self) -> MeshStatus {
        let nodes: Vec<_> = self.nodes.into_iter().map(NodeShot::into_state).collect();
        MeshStatus {
            orchestrator: self.orchestrator,
            node_count: nodes.len(),
            nodes,
            queued: self.queued,
            default_model: self.default_model,
            server_time: self.server_time,
        }
    }
}

impl NodeShot {
    fn into_state(self) -> NodeState {
        let beat = &*self.beat;
        let (status, reason) = self.status();
        let models = self.models.as_deref().cloned().unwrap_or_default();
        NodeState {
            node_id: beat.node.clone(),
            boot: beat.boot.clone(),
            status,
            reason,
            paused: beat.paused.filter(|_| status == NodeStatus::Draining),
            limits: beat.limits.clone(),
            active_tasks: self.used,
            slots: beat.slots,
            models: models.iter().map(|model| model.name.clone()).collect(),
            model_details: models,
            agent_host: beat.agent_host.clone(),
            agent_port: beat.agent_port,
            last_heartbeat: self.last_heartbeat,
            registered_at: self.registered_at,
            engine: beat.engine.clone(),
            memory: beat.memory,
            disk: beat.disk,
            version: beat.version.clone(),
            uptime_ms: beat.uptime_ms,
            model_management: beat.model_management,
            site: beat.site.clone(),
        }
    }

    /// What the node says of itself, and what its silence says.
    fn status(&self) -> (NodeStatus, String) {
        let says = (self.beat.status, self.beat.reason.clone());
        match (self.hold, self.beat.status) {
            (Some(Hold::Suspect | Hold::Gone { .. }), _) => {
                let reason =
                    "suspect: its connection ended or it did not answer; waiting for its next heartbeat";
                (NodeStatus::Unavailable, reason.to_owned())
            }
            (_, NodeStatus::Idle | NodeStatus::Busy) if self.used >= self.beat.slots => {
                (NodeStatus::Busy, says.1)
            }
            (_, NodeStatus::Idle | NodeStatus::Busy) => (NodeStatus::Idle, says.1),
            _ => says,
        }
    }
}
