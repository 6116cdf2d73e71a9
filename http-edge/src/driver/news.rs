//! What a task's driver tells the client's side.

use std::time::Duration;

use echo_bus::id::NodeId;
use echo_bus::message::{Done, Failure, Piece, ToolCall, Why};
use serde_json::{Map, Value};

/// What the client's side is told.
#[derive(Debug)]
pub enum News {
    Queued { position: u32, expected_wait_ms: Option<u64> },
    Accepted(Box<Holder>),
    Pieces(Vec<Piece>),
    End(Box<Report>),
}

/// Who has the task now.
#[derive(Debug)]
pub struct Holder {
    pub node: NodeId,
    pub model: String,
    pub attempts: u32,
    pub waited: Duration,
    /// Why it is there, in words.
    pub chosen: String,
}

/// How a task went.
#[derive(Debug)]
pub struct Report {
    pub ending: Result<Done, Failure>,
    pub content: String,
    pub thinking: String,
    pub tool_calls: Vec<ToolCall>,
    pub logprobs: Vec<Value>,
    /// What the pieces of a whole answer said beyond that, the newest word of each field.
    pub extra: Map<String, Value>,
    pub nodes: Vec<NodeId>,
    pub model: String,
    pub chosen: String,
    /// Of the attempt that was accepted last.
    pub why: Option<Why>,
    pub attempts: u32,
    pub latency: Duration,
    pub waited: Duration,
}
