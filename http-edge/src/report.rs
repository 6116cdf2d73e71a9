//! What whoever reads an answer is told, beside its pieces.

use std::sync::Arc;
use std::time::Duration;

use echo_bus::id::NodeId;
use echo_bus::message::{Done, Failure, Piece, Reason, Relayed, ToolCall, Why};
use serde_json::{Map, Value};

/// What a reader of an answer gets, one after the other.
#[derive(Debug)]
pub enum News {
    /// The task waits in line.
    Queued { position: u32, expected_wait_ms: Option<u64> },
    /// A node has the task.
    Accepted(Box<AnsweredBy>),
    /// Pieces of the answer; the number of the first, from 1 on; 0 where nothing is numbered.
    Pieces(u64, Vec<Piece>),
    /// Of several answers to one request: pieces and ends of this one follow, until another is named.
    Choice(usize),
    /// That one is whole; [`News::End`] comes after the last of them.
    ChoiceEnd(Reason),
    /// The end, once.
    End(Box<Report>),
    /// There is no way to the rest of the answer, which may have one all the same.
    Broken(&'static str),
}

/// Who gives the answer from some piece on.
#[derive(Debug, Clone, PartialEq)]
pub struct AnsweredBy {
    pub node: NodeId,
    pub model: String,
    pub attempts: u32,
    pub waited: Duration,
    /// Why it is there, in words.
    pub chosen: String,
}

/// How a task went.
#[derive(Debug, Clone)]
pub struct Report {
    pub ending: Result<Done, Failure>,
    pub content: String,
    pub thinking: String,
    pub tool_calls: Vec<ToolCall>,
    pub logprobs: Vec<Value>,
    /// What the pieces said beyond that, the newest word of each field.
    pub extra: Map<String, Value>,
    pub nodes: Vec<NodeId>,
    pub model: String,
    pub chosen: String,
    /// Of the attempt that was accepted last.
    pub why: Option<Arc<Why>>,
    /// The same as JSON, which is written once: for the answer and for whoever watches.
    pub why_text: Option<Relayed>,
    pub attempts: u32,
    pub latency: Duration,
    pub waited: Duration,
    /// How often the answer went on from where another node had left off, and how long nothing came then, in all.
    pub continued: (u32, Duration),
    /// The further answers, where several were asked for: whole ones, in their order.
    pub others: Vec<Report>,
}
