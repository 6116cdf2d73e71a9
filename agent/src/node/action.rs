//! What a node wants to be done.

use echo_bus::id::{AttemptId, Inbox, ProcessId};
use echo_bus::message::{CacheDigest, Dispatch, Frame, Heartbeat, Ordered, Pong, Pulse};

use crate::attempt::Attempt;
use crate::calibrate::Calibrate;
use crate::trial::Trial;

/// One thing to do.
pub enum Action {
    Answer { to: Option<Inbox>, answer: Dispatch },
    Run(Box<Attempt>),
    Beat(Box<Heartbeat>),
    Caches(Box<CacheDigest>),
    Pong { to: Option<Inbox>, pong: Pong },
    Ordered { to: Option<Inbox>, now: Ordered },
    Pulse { edge: ProcessId, asked: Vec<AttemptId>, pulse: Pulse },
    Resend { to: Inbox, frames: Vec<Frame> },
    Probe,
    Try(Box<Trial>),
    Calibrate(Box<Calibrate>),
    RoundTrip(u64),
    Leave(Leave),
}

/// Why an agent ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    Drained,
    DuplicateNode(String),
}
