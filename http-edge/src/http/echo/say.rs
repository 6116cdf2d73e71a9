//! The news of a task in the mesh's own words: server-sent events, or one object.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::response::Response;
use echo_bus::id::{NodeId, TaskId};
use echo_bus::message::{Done, Failure, Piece, Reason, Relayed, ToolCall};
use serde::Serialize;

use crate::http::error::ApiError;
use crate::http::reply::{Started, Voice, event};
use crate::report::Report;

/// Who is told which node has the task waits no longer for it.
const FIRST_PIECE: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Token<'a> {
    task_id: &'a str,
    token: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thinking: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [ToolCall],
    done: bool,
    routed_to: Option<&'a NodeId>,
}

#[derive(Serialize)]
struct Last<'a> {
    task_id: &'a str,
    token: &'a str,
    done: bool,
    #[serde(flatten)]
    summary: Summary<'a>,
}

#[derive(Serialize)]
struct Broken<'a> {
    token: &'a str,
    done: bool,
    latency_ms: u128,
    nodes: &'a [NodeId],
    #[serde(flatten)]
    error: ApiError,
}

/// The edge's own dialect.
pub struct TaskVoice {
    /// What the client calls the task.
    name: String,
    /// This edge's.
    url: Arc<str>,
    node: Option<NodeId>,
    /// What stands before and behind the text in the event of a piece that has nothing but text: nearly all are alike.
    around: (Box<[u8]>, Box<[u8]>),
    /// The number of the next piece, or of the end: the `id` of its event, by which a client goes on later.
    next: u64,
}

impl TaskVoice {
    /// For a client that has the pieces up to `after`.
    pub fn new(started: &Started, url: Arc<str>, after: u64) -> Self {
        let name = started.name.clone();
        let around = around(&name, None);
        Self { name, url, node: None, around, next: after + 1 }
    }

    fn number(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"id: ");
        serde_json::to_writer(&mut *out, &self.next).expect("a number is JSON");
        out.push(b'\n');
        self.next += 1;
    }

    fn token(&self, piece: &Piece, out: &mut Vec<u8>) {
        if piece.thinking.is_empty() && piece.tool_calls.is_empty() {
            let (before, behind) = &self.around;
            out.extend_from_slice(before);
            serde_json::to_writer(&mut *out, &piece.content).expect("a text is JSON");
            return out.extend_from_slice(behind);
        }
        event(&Token::of(&self.name, piece, self.node.as_ref()), out);
    }
}

impl<'a> Token<'a> {
    fn of(task_id: &'a str, piece: &'a Piece, routed_to: Option<&'a NodeId>) -> Self {
        let Piece { content: token, thinking, tool_calls, .. } = piece;
        Self { task_id, token, thinking, tool_calls, done: false, routed_to }
    }
}

/// The event of a piece without a text, cut where its text belongs.
fn around(name: &str, node: Option<&NodeId>) -> (Box<[u8]>, Box<[u8]>) {
    // In a name each quote has a backslash before it, so this stands in no name.
    const TOKEN: &[u8] = br#""token":"""#;
    let mut empty = Vec::new();
    event(&Token::of(name, &Piece::default(), node), &mut empty);
    let at = empty.windows(TOKEN.len()).position(|part| part == TOKEN).expect("each event has a token");
    let (before, behind) = empty.split_at(at + TOKEN.len());
    (before[..before.len() - 2].into(), behind.into())
}

impl Voice for TaskVoice {
    fn media(&self) -> &'static str {
        "text/event-stream"
    }

    fn whole(&self, report: &Report, done: &Done) -> Response {
        whole_answer(&self.name, report, done)
    }

    fn location(&self, task: TaskId) -> Option<String> {
        Some(format!("/task/{task}"))
    }

    fn next_is(&mut self, number: u64) {
        self.next = number;
    }

    fn pieces(&mut self, pieces: Vec<Piece>, out: &mut Vec<u8>) {
        out.reserve(pieces.len() * 140);
        for piece in &pieces {
            self.number(out);
            self.token(piece, out);
        }
    }

    fn answered(&mut self, report: &Report, done: &Done, out: &mut Vec<u8>) {
        let summary = Summary::new(report, done);
        self.number(out);
        event(&Last { task_id: &self.name, token: "", done: true, summary }, out);
    }

    fn broken(&mut self, error: ApiError, report: Option<&Report>, out: &mut Vec<u8>) {
        let latency_ms = report.map_or(0, |report| report.latency.as_millis());
        let nodes = report.map_or(&[][..], |report| &report.nodes);
        let error = if report.is_some() { error } else { error.of(&self.name, "", 1) };
        // What is not the answer's own end has no number: whoever comes back goes on after the last piece.
        if report.is_some() {
            self.number(out);
        }
        event(&Broken { token: "", done: true, latency_ms, nodes, error }, out);
    }

    fn error(&self, failure: &Failure, report: &Report) -> ApiError {
        let error = ApiError::failed(failure).with_line(failure, &self.url);
        error.of(&self.name, &report.content, report.attempts)
    }

    fn patience(&self) -> Duration {
        FIRST_PIECE
    }

    fn tells_of_the_line(&self) -> bool {
        true
    }

    fn queued(&mut self, position: u32, expected_wait_ms: Option<u64>, out: &mut Vec<u8>) {
        let wait = expected_wait_ms.map(|wait| format!(", expected wait {wait} ms")).unwrap_or_default();
        out.extend_from_slice(format!(": queued, position {position}{wait}\n\n").as_bytes());
    }

    fn accepted(&mut self, node: &NodeId, model: &str, out: &mut Vec<u8>) {
        let model = model.replace(['\r', '\n'], " ");
        out.extend_from_slice(format!(": on {node} with {model}\n\n").as_bytes());
        self.node = Some(node.clone());
        self.around = around(&self.name, Some(node));
    }

    fn idle(&mut self, out: &mut Vec<u8>) {
        self.token(&Piece::default(), out);
    }
}

/// The answer of `/task`.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    task_id: &'a str,
    content: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thinking: &'a str,
    #[serde(skip_serializing_if = "<[ToolCall]>::is_empty")]
    tool_calls: &'a [ToolCall],
    #[serde(flatten)]
    summary: Summary<'a>,
}

/// How the task went, at the end of both routes.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    routed_to: Option<&'a NodeId>,
    latency_ms: u128,
    success: bool,
    model_used: &'a str,
    attempts: u32,
    /// All nodes that took part, in order.
    nodes: &'a [NodeId],
    queue_ms: u128,
    done_reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    chosen: &'a str,
    /// Of the attempt that gave the last part of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a Relayed>,
}

impl<'a> Summary<'a> {
    /// The summary of a task that was answered.
    pub fn new(report: &'a Report, done: &Done) -> Self {
        Self {
            routed_to: report.nodes.last(),
            latency_ms: report.latency.as_millis(),
            success: true,
            model_used: &report.model,
            attempts: report.attempts,
            nodes: &report.nodes,
            queue_ms: report.waited.as_millis(),
            done_reason: done.reason,
            tokens: done.tokens,
            prompt_tokens: done.prompt_tokens,
            chosen: &report.chosen,
            why: report.why_text.as_ref(),
        }
    }
}

/// What stands in an answer beside its text, about, in bytes.
const AROUND: usize = 1024;

/// The body of `POST /task`.
pub fn whole_answer(name: &str, report: &Report, done: &Done) -> Response {
    let answer = Answer {
        task_id: name,
        content: &report.content,
        thinking: &report.thinking,
        tool_calls: &report.tool_calls,
        summary: Summary::new(report, done),
    };
    // With room for all of it: while it grew, it would be copied again and again.
    let mut body = Vec::with_capacity(AROUND + report.content.len() + report.thinking.len());
    serde_json::to_writer(&mut body, &answer).expect("an answer is JSON");
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_piece_of_text_alone_is_told_like_any_other(name in ".*", text in ".*", node in proptest::option::of("[a-z]{1,9}")) {
            let node: Option<NodeId> = node.map(|node| node.parse().unwrap());
            let url = "http://localhost:1".into();
            let mut voice = TaskVoice { around: around(&name, None), name, node: None, url, next: 1 };
            if let Some(node) = &node {
                voice.accepted(node, "m", &mut Vec::new());
            }
            let piece = Piece::text(text);
            let (mut told, mut wanted) = (Vec::new(), Vec::new());
            voice.token(&piece, &mut told);
            event(&Token::of(&voice.name, &piece, node.as_ref()), &mut wanted);
            prop_assert_eq!(told, wanted);
        }
    }
}
