//! `POST /task/stream`: one prompt, its answer as server-sent events while it is made.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use echo_bus::id::NodeId;
use echo_bus::message::{Done, Failure, Piece};
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use super::flow::{self, Voice, event};
use super::task::{Summary, start, whole_answer};
use crate::driver::Report;

/// Who is told which node has the task waits no longer for it.
const FIRST_PIECE: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Token<'a> {
    task_id: &'a str,
    token: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thinking: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [echo_bus::message::ToolCall],
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

/// `POST /task/stream`.
pub async fn streamed(State(api): State<Api>, request: Request) -> Result<Response, ApiError> {
    let started = start(&api, request, true).await?;
    let voice = TaskVoice { name: started.name.clone(), address: api.0.address, node: None };
    flow::answer(started, voice, true).await
}

/// The edge's own dialect.
pub struct TaskVoice {
    /// What the client calls the task.
    pub name: String,
    /// Where this edge listens.
    pub address: SocketAddr,
    pub node: Option<NodeId>,
}

impl TaskVoice {
    fn token(&self, piece: &Piece, out: &mut Vec<u8>) {
        let token = Token {
            task_id: &self.name,
            token: &piece.content,
            thinking: &piece.thinking,
            tool_calls: &piece.tool_calls,
            done: false,
            routed_to: self.node.as_ref(),
        };
        event(&token, out);
    }
}

impl Voice for TaskVoice {
    fn media(&self) -> &'static str {
        "text/event-stream"
    }

    fn whole(&self, report: &Report, done: &Done) -> Response {
        whole_answer(&self.name, report, done)
    }

    fn pieces(&mut self, pieces: Vec<Piece>, out: &mut Vec<u8>) {
        out.reserve(pieces.len() * 128);
        pieces.iter().for_each(|piece| self.token(piece, out));
    }

    fn answered(&mut self, report: &Report, done: &Done, out: &mut Vec<u8>) {
        let summary = Summary::new(report, done);
        event(&Last { task_id: &self.name, token: "", done: true, summary }, out);
    }

    fn broken(&mut self, error: ApiError, report: Option<&Report>, out: &mut Vec<u8>) {
        let latency_ms = report.map_or(0, |report| report.latency.as_millis());
        let nodes = report.map_or(&[][..], |report| &report.nodes);
        let error = if report.is_some() { error } else { error.of(&self.name, "", 1) };
        event(&Broken { token: "", done: true, latency_ms, nodes, error }, out);
    }

    fn error(&self, failure: &Failure, report: &Report) -> ApiError {
        let error = ApiError::failed(failure).with_line(failure, self.address);
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
    }

    fn idle(&mut self, out: &mut Vec<u8>) {
        self.token(&Piece::default(), out);
    }
}
