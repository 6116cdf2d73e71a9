//! `POST /task/stream`: one prompt, its answer as server-sent events while it is made.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use echo_broker::id::NodeId;
use echo_broker::message::Piece;
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use super::task::{Started, Summary, start};
use crate::driver::{News, Report};

/// A stream without events says something this often, so that nothing in between takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long a refusal may take to be told by its status; later ones are told by the last event.
const FIRST_NEWS: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Token<'a> {
    task_id: &'a str,
    token: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thinking: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [echo_broker::message::ToolCall],
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
    let mut started = start(&api, request, true).await?;
    let first = tokio::time::timeout(FIRST_NEWS, started.running.news.recv()).await;
    let first = match first {
        Ok(None) => return Err(ApiError::unavailable("the edge is stopping; ask again")),
        Ok(Some(News::End(report))) if report.ending.is_err() => {
            let failure = report.ending.as_ref().expect_err("checked");
            return Err(ApiError::failed(failure, api.0.address).of(&started.name, "", report.attempts));
        }
        Ok(Some(news)) => Some(news),
        Err(_) => None,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // A proxy that gathers the answer would undo the streaming.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let events = Events { api, started, node: None, first };
    let body = futures::stream::unfold(Some(events), |events| async {
        let mut events = events?;
        let (bytes, last) = events.next().await;
        Some((Ok::<_, std::convert::Infallible>(bytes), (!last).then_some(events)))
    });
    Ok((headers, Body::from_stream(body)).into_response())
}

struct Events {
    api: Api,
    started: Started,
    node: Option<NodeId>,
    first: Option<News>,
}

impl Events {
    /// The next bytes, and whether they are the last.
    async fn next(&mut self) -> (Bytes, bool) {
        let news = match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => tokio::time::timeout(KEEP_ALIVE, self.started.running.news.recv()).await,
        };
        match news {
            Err(_) => (Bytes::from_static(b": still here\n\n"), false),
            Ok(None) => (self.stopped(), true),
            Ok(Some(News::Queued { position, expected_wait_ms })) => {
                (queued(position, expected_wait_ms).into(), false)
            }
            Ok(Some(News::Accepted { node, model })) => {
                let comment = format!(": on {node} with {}\n\n", model.replace(['\r', '\n'], " "));
                self.node = Some(node);
                (comment.into(), false)
            }
            Ok(Some(News::Pieces(pieces))) => (self.tokens(&pieces), false),
            Ok(Some(News::End(report))) => (self.last(&report), true),
        }
    }

    fn tokens(&self, pieces: &[Piece]) -> Bytes {
        let mut bytes = Vec::with_capacity(pieces.len() * 128);
        for piece in pieces {
            let token = Token {
                task_id: &self.started.name,
                token: &piece.content,
                thinking: &piece.thinking,
                tool_calls: &piece.tool_calls,
                done: false,
                routed_to: self.node.as_ref(),
            };
            event(&mut bytes, &token);
        }
        bytes.into()
    }

    fn last(&self, report: &Report) -> Bytes {
        let mut bytes = Vec::with_capacity(512);
        let name = self.started.name.as_str();
        match &report.ending {
            Ok(done) => {
                let summary = Summary::new(report, done);
                event(&mut bytes, &Last { task_id: name, token: "", done: true, summary });
            }
            Err(failure) => {
                let error = ApiError::failed(failure, self.api.0.address);
                let error = error.of(name, &report.content, report.attempts);
                let latency_ms = report.latency.as_millis();
                event(&mut bytes, &Broken { token: "", done: true, latency_ms, nodes: &report.nodes, error });
            }
        }
        bytes.into()
    }

    fn stopped(&self) -> Bytes {
        let mut bytes = Vec::new();
        let error = ApiError::unavailable("the edge is stopping; ask again").of(&self.started.name, "", 1);
        event(&mut bytes, &Broken { token: "", done: true, latency_ms: 0, nodes: &[], error });
        bytes.into()
    }
}

fn event(bytes: &mut Vec<u8>, data: &impl Serialize) {
    bytes.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut *bytes, data).expect("an event of texts and numbers is JSON");
    bytes.extend_from_slice(b"\n\n");
}

fn queued(position: u32, expected_wait_ms: Option<u64>) -> String {
    match expected_wait_ms {
        Some(wait) => format!(": queued, position {position}, expected wait {wait} ms\n\n"),
        None => format!(": queued, position {position}\n\n"),
    }
}
