//! Proof that an attempt is held, the question for that proof, and the order to let go.

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::id::{BootId, Peer, TaskId};

/// An attempt that somebody holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    pub task: TaskId,
    pub attempt: u32,
    /// The number of the last frame sent; absent before the first, and for what waits in a queue.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seq: Option<u64>,
    /// The end has been sent; held only until the edge has it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ended: bool,
}

/// Holder → edge, every 250 ms while it holds something of that edge's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pulse {
    pub holder: Peer,
    pub boot: BootId,
    pub held: Vec<Held>,
}

/// What the edge says to a pulse. What is held and not named here is wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PulseAnswer {
    /// To be cancelled, or forgotten if ended. `seq` and `ended` say nothing here.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unwanted: Vec<Held>,
    /// To be sent again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missing: Vec<Missing>,
}

/// Frames `from` up to and including `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    pub task: TaskId,
    pub attempt: u32,
    pub from: u64,
    pub to: u64,
}

/// The answer to a ping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    pub boot: BootId,
    /// How long the process runs, by its own monotonic clock.
    pub uptime_ms: u64,
    pub held: Vec<Held>,
}

/// Ends an attempt and all lower ones of its task, also those that have not arrived yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    pub task: TaskId,
    pub attempt: u32,
}

/// The server's word that a connection has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disconnect {
    pub client: DisconnectedClient,
    #[serde(default)]
    pub reason: String,
}

/// The connection that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DisconnectedClient {
    /// Our parts are named `<role>.<id>.<boot>`.
    #[serde(default)]
    pub name: String,
}

impl Disconnect {
    /// Which process of the mesh it was, if it was one.
    pub fn peer(&self) -> Option<(Peer, BootId)> {
        Peer::from_connection_name(&self.client.name)
    }
}
