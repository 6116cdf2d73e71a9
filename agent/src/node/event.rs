//! What happens to a node.

use echo_bus::client::Link;
use echo_bus::id::{AttemptId, Inbox, ProcessId};
use echo_bus::message::{Cancel, Failure, Namesake, PulseAnswer, Space, Task, Wish};
use jiff::tz::TimeZone;

use crate::attempt::Report;
use crate::engine::{Down, Probe};
use crate::owner::Usage;

/// One thing that happened.
pub enum Event {
    Cancel(Cancel),
    Ping(Option<Inbox>),
    /// A heartbeat under this node's id.
    Beat(Namesake),
    Task {
        message: Result<Box<Task>, String>,
        reply: Option<Inbox>,
    },
    /// A slot has been given back.
    Freed,
    Ended(Box<Report>),
    /// The answer to a pulse that named these, or none.
    Pulsed {
        edge: ProcessId,
        asked: Vec<AttemptId>,
        answer: Option<PulseAnswer>,
    },
    Probed(Result<Probe, Down>),
    /// What came of a trial of this model.
    Tried(String, Result<(), Failure>),
    /// A calibration is over, and whether the engine has failed it.
    Calibrated {
        failed: bool,
    },
    /// The round trip for a gap has come back, or has not.
    CameBack(u64, bool),
    Link(Link),
    Space {
        memory: Space,
        disk: Space,
    },
    /// What other programs use of the machine, and its time zone, which changes where it travels.
    Usage {
        usage: Option<Usage>,
        zone: TimeZone,
    },
    Drain,
    Resume,
    /// The same by way of the bus; `None` is an order that cannot be read.
    Ordered {
        wish: Option<Wish>,
        reply: Option<Inbox>,
    },
    Stop,
    Tick,
}
