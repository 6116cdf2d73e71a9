//! What can happen to an orchestrator, and what it can do about it: plain data.

use std::sync::Arc;

pub use echo_bus::clock::Now;
use echo_bus::id::{AttemptId, BootId, Inbox, NodeId, Peer, ProcessId};
use echo_bus::message::{
    CacheDigest, Cancel, Event as News, Failure, Frame, Heartbeat, Pong, Pulse, PulseAnswer, Submission, Task,
};

use crate::reason::Reason;
use crate::snapshot::Snapshot;

/// One attempt at a task, given to one start of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub id: AttemptId,
    pub node: NodeId,
    pub boot: BootId,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    Beat(Box<Heartbeat>),
    /// What a node's engine has in its caches.
    Caches(Box<CacheDigest>),
    /// A submission, or why it cannot be read.
    Submitted {
        task: Result<Box<Task>, String>,
        reply: Option<Inbox>,
    },
    /// What became of an [`Action::Dispatch`]: exactly one for each.
    Answered {
        asked: Asked,
        answer: Answer,
    },
    Cancelled(Cancel),
    /// The server says that a connection of this process has ended.
    Gone {
        peer: Peer,
        boot: BootId,
    },
    /// This start of the node has answered an [`Action::Ping`]. Silence is no event: its next heartbeat tells.
    Ponged {
        node: NodeId,
        boot: BootId,
    },
    /// What became of an [`Action::Pulse`]: exactly one for each; `None` is silence.
    Pulsed {
        edge: ProcessId,
        answer: Option<PulseAnswer>,
    },
    Pinged {
        reply: Inbox,
    },
    StatusAsked {
        reply: Inbox,
    },
    /// The broker was lost, or is connected again.
    Link {
        up: bool,
    },
    Tick,
    /// Nothing new from now on; what waits goes back to its edge.
    Drain,
}

/// What became of a dispatch.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The agent holds the attempt; its heartbeats after this number list it.
    Accepted { heartbeat: u64 },
    /// The agent does not hold it.
    Refused(Failure),
    /// Nobody listens there.
    NoResponders,
    /// Nobody knows whether the agent holds it.
    Unclear,
    /// It was not sent because the broker is away.
    Disconnected,
    /// It cannot be sent at all; the sentence says why.
    Unsendable(String),
}

/// Something to do.
#[derive(Debug)]
pub enum Action {
    Answer {
        to: Inbox,
        answer: Submission,
    },
    Frame {
        to: Inbox,
        frame: Frame,
    },
    /// Ask the node; the outcome comes back as [`Event::Answered`].
    Dispatch {
        asked: Asked,
        task: Arc<Task>,
        reason: Arc<Reason>,
    },
    CancelAt {
        node: NodeId,
        cancel: Cancel,
    },
    /// Ask the edge; the outcome comes back as [`Event::Pulsed`].
    Pulse {
        edge: ProcessId,
        pulse: Pulse,
    },
    /// Ask the node whether it is there; an answer comes back as [`Event::Ponged`].
    Ping {
        node: NodeId,
    },
    Pong {
        to: Inbox,
        pong: Pong,
    },
    Status {
        to: Inbox,
        snapshot: Snapshot,
    },
    /// Tell whoever watches. Nothing depends on it.
    Announce(News),
}
