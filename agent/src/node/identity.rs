//! Who a node is, and how its operator wants it to be.

use std::time::Duration;

use echo_bus::id::{BootId, NodeId, SiteName};

use crate::engine::Kind;

/// What does not change while an agent runs.
#[derive(Debug, Clone)]
pub struct Identity {
    pub node: NodeId,
    /// This start of the agent: its incarnation. What was said to an earlier one does not count.
    pub boot: BootId,
    pub kind: Kind,
    /// The operator's word; absent: the engine's.
    pub slots: Option<u32>,
    pub heartbeat: Duration,
    pub load_timeout: Duration,
    pub drain_timeout: Duration,
    pub model_management: bool,
    /// Where it stands, by its owner's word.
    pub site: Option<SiteName>,
    /// A model in memory is tried for its speed when nobody uses the engine.
    pub calibrate: bool,
    pub agent_host: String,
    pub agent_port: u16,
}
