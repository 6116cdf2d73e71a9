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
    /// Of what a whole answer consists, in the order in which it came.
    pub order: Vec<Run>,
}

/// So much of one kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Bytes of thinking.
    Thought(usize),
    /// Bytes of text.
    Text(usize),
    /// Calls of tools.
    Calls(usize),
}

impl Run {
    /// Comes next; it is a part of the last one if that is of its kind.
    pub fn follows(self, order: &mut Vec<Self>) {
        match (order.last_mut(), self) {
            (_, Self::Thought(0) | Self::Text(0) | Self::Calls(0)) => {}
            (Some(Self::Thought(all)), Self::Thought(more))
            | (Some(Self::Text(all)), Self::Text(more))
            | (Some(Self::Calls(all)), Self::Calls(more)) => *all += more,
            (_, run) => order.push(run),
        }
    }
}

impl Report {
    /// The answer as few pieces in the order in which it came. Whatever has no place in that order comes last.
    pub fn in_order(&self) -> Vec<Piece> {
        let (mut content, mut thinking) = (self.content.as_str(), self.thinking.as_str());
        let mut calls = self.tool_calls.as_slice();
        let mut pieces = Vec::new();
        for run in &self.order {
            match *run {
                Run::Thought(bytes) => {
                    let (said, rest) = thinking.split_at_checked(bytes).unwrap_or((thinking, ""));
                    thinking = rest;
                    pieces.push(Piece { thinking: said.to_owned(), ..Piece::default() });
                }
                Run::Text(bytes) => {
                    let (said, rest) = content.split_at_checked(bytes).unwrap_or((content, ""));
                    content = rest;
                    pieces.push(Piece::text(said));
                }
                Run::Calls(count) => {
                    let (said, rest) = calls.split_at_checked(count).unwrap_or((calls, &[]));
                    calls = rest;
                    pieces.push(Piece { tool_calls: said.to_vec(), ..Piece::default() });
                }
            }
        }
        let (content, thinking) = (content.to_owned(), thinking.to_owned());
        pieces.push(Piece { content, thinking, tool_calls: calls.to_vec(), ..Piece::default() });
        pieces
    }
}
