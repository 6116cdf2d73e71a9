//! What people and dashboards read: the registry, and what happens.

use serde::{Deserialize, Serialize};

use super::heartbeat::{Engine, Model, NodeStatus, Space};
use super::paused::Paused;
use super::skip::is_default;
use super::why::Relayed;
use crate::id::{BootId, ClientName, NodeId, ProcessId, SiteName, TaskId};

/// The registry as one orchestrator knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeshStatus {
    pub orchestrator: ProcessId,
    pub nodes: Vec<NodeState>,
    pub node_count: usize,
    /// Tasks that wait in this orchestrator's queue.
    pub queued: usize,
    /// The model that a task without a hint gets; absent when no node generates.
    #[serde(default, skip_serializing_if = "is_default")]
    pub default_model: Option<String>,
    /// Unix milliseconds, by the orchestrator's clock.
    pub server_time: u64,
}

/// One node, in the words of `GET /status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeState {
    pub node_id: NodeId,
    pub boot: BootId,
    pub status: NodeStatus,
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: String,
    /// As in the heartbeat; absent also while the orchestrator itself holds the node back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: Option<Paused>,
    /// As in the heartbeat.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Vec<String>,
    pub active_tasks: u32,
    pub slots: u32,
    pub models: Vec<String>,
    pub model_details: Vec<Model>,
    pub agent_host: String,
    pub agent_port: u16,
    /// Unix milliseconds, by the orchestrator's clock.
    pub last_heartbeat: u64,
    /// Unix milliseconds, by the orchestrator's clock.
    pub registered_at: u64,
    pub engine: Engine,
    pub memory: Space,
    pub disk: Space,
    pub version: String,
    pub uptime_ms: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub model_management: bool,
    /// As in the heartbeat.
    #[serde(default, skip_serializing_if = "is_default")]
    pub site: Option<SiteName>,
}

/// Something that happened to a node or a task. For watching; nothing depends on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub what: What,
    /// Unix milliseconds, by the clock of who says it.
    pub at: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub node: Option<NodeId>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub task: Option<TaskId>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempt: Option<u32>,
    /// Of a task: the name of the API key that it came with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub client: Option<ClientName>,
    /// Of a task: the model that answers, or the one that was asked for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub model: String,
    /// Of a task's end: tokens of the answer, by the engines' counts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: Option<u64>,
    /// Of a task's end: from the client's request to the end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub latency_ms: Option<u64>,
    /// Of a task that waits: its place in the line of its model, from 1, when it joined that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub position: Option<u32>,
    /// Of a task that waits: for how long it was expected to; absent where nobody has measured that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expected_wait_ms: Option<u64>,
    /// A sentence. Never holds a prompt or an answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub detail: String,
    /// Of a task that was placed, or has ended: why it was there, what was expected and, at its end, what came.
    #[serde(default, skip_serializing_if = "is_default")]
    pub why: Option<Relayed>,
}

impl Event {
    /// An event of which nothing more is known than what and when.
    pub fn new(what: What, at: u64) -> Self {
        Self {
            what,
            at,
            node: None,
            task: None,
            attempt: None,
            client: None,
            model: String::new(),
            tokens: None,
            latency_ms: None,
            position: None,
            expected_wait_ms: None,
            detail: String::new(),
            why: None,
        }
    }
}

/// The last word of an event's subject. `done`, `failed` and `cancelled` are each task's end, said once, by the edge
/// that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Joined,
    Changed,
    Suspect,
    Left,
    Queued,
    Placed,
    /// The orchestrator holds it no longer: cancelled, or handed back to its edge, which decides what comes next.
    Released,
    Lost,
    Retried,
    Done,
    Failed,
    Cancelled,
    #[serde(other)]
    Unknown,
}

impl What {
    /// The word itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Changed => "changed",
            Self::Suspect => "suspect",
            Self::Left => "left",
            Self::Queued => "queued",
            Self::Placed => "placed",
            Self::Released => "released",
            Self::Lost => "lost",
            Self::Retried => "retried",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}
