//! `POST /task`: one prompt, one whole answer.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use echo_bus::id::NodeId;
use echo_bus::message::{Done, Generate, Request as Ask, ToolCall, Why};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::ApiError;
use super::flow::{self, Started};
use super::stream::TaskVoice;
use super::{Api, body, image, options};
use crate::driver::{self, Report};

/// The longest name of a model.
const LONGEST_MODEL: usize = 256;

/// The body of `/task` and `/task/stream`.
#[derive(Debug, Deserialize)]
pub struct TaskRequest {
    prompt: String,
    model_hint: Option<String>,
    task_id: Option<String>,
    options: Option<Map<String, Value>>,
    system: Option<String>,
    /// `"json"` or a JSON schema.
    format: Option<Value>,
    think: Option<Value>,
    /// Base64, with a data URL's head or without.
    images: Option<Vec<String>>,
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
    done_reason: echo_bus::message::Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    chosen: &'a str,
    /// Of the attempt that gave the last part of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a Why>,
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
            why: report.why.as_ref(),
        }
    }
}

/// Reads a task from a request and starts it.
///
/// # Errors
/// 400, 409, 413 or 415, with what is wrong.
pub async fn start(api: &Api, request: Request, streams: bool) -> Result<Started, ApiError> {
    let trace = trace_of(request.headers());
    let asked: TaskRequest = body::json(request, api.body_limits()).await?;
    let reserved = match &asked.task_id {
        Some(name) => {
            check_name(name)?;
            Some(api.reserve(name)?)
        }
        None => None,
    };
    let name = asked.task_id.clone();
    let running = driver::start(api.owner(), ask(asked)?, trace, streams);
    Ok(Started::new(running, name, reserved))
}

fn ask(asked: TaskRequest) -> Result<Ask, ApiError> {
    if asked.prompt.trim().is_empty() {
        return Err(ApiError::bad_request("prompt: is empty; say what you want"));
    }
    let model = asked.model_hint.filter(|model| !model.is_empty());
    check_model("model_hint", model.as_deref().unwrap_or_default())?;
    let mut settings = options::settings(asked.options.unwrap_or_default()).map_err(ApiError::bad_request)?;
    settings.format = asked.format.filter(|format| !format.is_null());
    settings.think = asked.think.filter(|think| !think.is_null());
    Ok(Ask::Generate(Generate {
        model,
        prompt: asked.prompt,
        system: asked.system.unwrap_or_default(),
        images: image::all("images", asked.images.unwrap_or_default())?,
        settings,
        ..Generate::default()
    }))
}

/// Refuses what can be no model's name, so that it reaches no other part.
///
/// # Errors
/// 400 that names the field.
pub fn check_model(field: &str, model: &str) -> Result<(), ApiError> {
    if model.len() <= LONGEST_MODEL && !model.contains(char::is_control) {
        return Ok(());
    }
    let message = format!("{field}: at most {LONGEST_MODEL} bytes and no control characters");
    Err(ApiError::bad_request(message).param(field))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    if (1..=128).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(ApiError::bad_request("task_id: use 1 to 128 of A-Z a-z 0-9 . _ : -"))
}

/// The client's W3C trace context, if it has the form of one.
pub fn trace_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let plain = value.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    (plain && (50..=128).contains(&value.len())).then(|| value.to_owned())
}

/// `POST /task`.
pub async fn whole(State(api): State<Api>, request: Request) -> Result<Response, ApiError> {
    let started = start(&api, request, false).await?;
    let voice = TaskVoice { name: started.name.clone(), address: api.0.address, node: None };
    flow::answer(started, voice, false).await
}

/// The body of `POST /task`.
pub fn whole_answer(name: &str, report: &Report, done: &Done) -> Response {
    let answer = Answer {
        task_id: name,
        content: &report.content,
        thinking: &report.thinking,
        tool_calls: &report.tool_calls,
        summary: Summary::new(report, done),
    };
    Json(answer).into_response()
}
