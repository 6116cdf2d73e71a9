//! What the attempts at a task want done.

use std::time::Duration;

use echo_bus::id::NodeId;
use echo_bus::message::{Done, Failure};

/// What the edge does next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Nothing new.
    Wait,
    /// Submit again after this pause; what the attempts so far still send is unwanted.
    Again(Duration),
    /// This node has taken an attempt that was given up: tell it to stop.
    TooLate(NodeId),
    /// Tell the client that it waits.
    Queued { position: u32, expected_wait_ms: Option<u64> },
    /// The answer says who gives it from here on.
    Accepted,
    /// The answer has grown.
    Grew,
    /// The end, once.
    End(Box<Ending>),
}

/// How a task ends.
#[derive(Debug, PartialEq)]
pub enum Ending {
    /// A whole answer.
    Answered(Done),
    /// An honest error.
    Failed(Failure),
}
