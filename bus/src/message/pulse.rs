//! Proof that an attempt is held, the question for that proof, and the order to let go.

use serde::{Deserialize, Serialize};

use super::skip::is_default;
use crate::id::{AttemptId, BootId, Peer};

/// An attempt that somebody holds. `id` is not a level of its own in the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "wire::Held", into = "wire::Held")]
pub struct Held {
    pub id: AttemptId,
    /// The number of the last frame sent; absent before the first, and for what waits in a queue.
    pub seq: Option<u64>,
    /// The end has been sent; held only until the edge has it.
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

/// Frames `from` up to and including `to`. `id` is not a level of its own in the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "wire::Missing", into = "wire::Missing")]
pub struct Missing {
    pub id: AttemptId,
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
#[serde(transparent)]
pub struct Cancel(pub AttemptId);

/// What stands in the JSON. `serde(flatten)` writes the same, but reads every field into a buffer first, and a pulse or a
/// heartbeat lists each attempt that is held.
mod wire {
    use serde::{Deserialize, Serialize};

    use crate::id::{AttemptId, TaskId};
    use crate::message::skip::is_default;

    #[derive(Serialize, Deserialize)]
    pub struct Held {
        task: TaskId,
        attempt: u32,
        #[serde(default, skip_serializing_if = "is_default")]
        seq: Option<u64>,
        #[serde(default, skip_serializing_if = "is_default")]
        ended: bool,
    }

    impl From<Held> for super::Held {
        fn from(Held { task, attempt, seq, ended }: Held) -> Self {
            Self { id: AttemptId { task, attempt }, seq, ended }
        }
    }

    impl From<super::Held> for Held {
        fn from(super::Held { id: AttemptId { task, attempt }, seq, ended }: super::Held) -> Self {
            Self { task, attempt, seq, ended }
        }
    }

    #[derive(Serialize, Deserialize)]
    pub struct Missing {
        task: TaskId,
        attempt: u32,
        from: u64,
        to: u64,
    }

    impl From<Missing> for super::Missing {
        fn from(Missing { task, attempt, from, to }: Missing) -> Self {
            Self { id: AttemptId { task, attempt }, from, to }
        }
    }

    impl From<super::Missing> for Missing {
        fn from(super::Missing { id: AttemptId { task, attempt }, from, to }: super::Missing) -> Self {
            Self { task, attempt, from, to }
        }
    }
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
    /// Whether the server has sent the client away because it stops itself. The process lives, and is on its way to another.
    pub fn is_servers_end(&self) -> bool {
        self.reason == "Server Shutdown"
    }

    /// Which process of the mesh it was, if it was one.
    pub fn peer(&self) -> Option<(Peer, BootId)> {
        Peer::from_connection_name(&self.client.name)
    }
}
