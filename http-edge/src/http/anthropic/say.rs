//! The news of a task as Anthropic's message: whole, or as the events of its blocks.
//!
//! Blocks are numbered, and one is ended before the next begins. An answer that goes on on another node goes on in the block
//! that is open.

use axum::Json;
use axum::response::{IntoResponse, Response};
use echo_bus::id::NodeId;
use echo_bus::message::{Done, Failure, Piece, Reason, ToolCall};
use serde::Serialize;
use serde_json::{Value, json};

use super::refusal::{id_of, refusal, shape};
use crate::http::error::ApiError;
use crate::http::reply::{Voice, event};
use crate::report::Report;

/// Bytes of a token, where nobody has counted.
const USUAL_BYTES: usize = 4;

/// One answer of Anthropic's.
pub struct Events {
    task: String,
    /// As the client wrote it, or the one that was chosen.
    model: String,
    began: bool,
    /// The number of the block that is open, or of the next one.
    index: usize,
    open: Option<Kind>,
    calls: usize,
    /// What was said, in bytes.
    bytes: usize,
}

/// Blocks to which pieces add.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Thinking,
    Text,
}

#[derive(Serialize)]
struct BlockDelta<'a> {
    r#type: &'static str,
    index: usize,
    delta: Delta<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: &'a str },
}

impl Events {
    pub fn new(task: &str, model: String) -> Self {
        let (task, began, index, open, calls, bytes) = (task.to_owned(), false, 0, None, 0, 0);
        Self { task, model, began, index, open, calls, bytes }
    }

    fn message(&self, model: &str, content: &[Value], stop: &Stop<'_>, usage: &Value) -> Value {
        json!({
            "id": format!("msg_{}", self.task), "type": "message", "role": "assistant", "model": model,
            "content": content, "stop_reason": stop.reason, "stop_sequence": stop.sequence, "usage": usage,
        })
    }

    /// Says the head of the message, once; the prompt's tokens as far as they are known by then.
    fn begin(&mut self, usage: &Value, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.began, true) {
            let message = self.message(&self.model, &[], &Stop::default(), usage);
            named("message_start", &json!({"type": "message_start", "message": message}), out);
        }
    }

    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        self.bytes += piece.thinking.len() + piece.content.len();
        if !piece.thinking.is_empty() {
            self.enter(Kind::Thinking, out);
            self.delta(Delta::Thinking { thinking: &piece.thinking }, out);
        }
        if !piece.content.is_empty() {
            self.enter(Kind::Text, out);
            self.delta(Delta::Text { text: &piece.content }, out);
        }
        for call in &piece.tool_calls {
            self.call(call, out);
        }
    }

    /// Goes on in a block of this kind: the one that is open, or a new one.
    fn enter(&mut self, kind: Kind, out: &mut Vec<u8>) {
        if self.open == Some(kind) {
            return;
        }
        self.leave(out);
        let block = match kind {
            Kind::Thinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
            Kind::Text => json!({"type": "text", "text": ""}),
        };
        self.start(&block, out);
        self.open = Some(kind);
    }

    /// Ends the block that is open.
    fn leave(&mut self, out: &mut Vec<u8>) {
        let Some(kind) = self.open.take() else { return };
        if kind == Kind::Thinking {
            let signature = self.signature();
            self.delta(Delta::Signature { signature: &signature }, out);
        }
        self.stop(out);
    }

    /// A call comes in one piece.
    fn call(&mut self, call: &ToolCall, out: &mut Vec<u8>) {
        self.leave(out);
        let arguments = input(call).to_string();
        self.bytes += call.name.len() + arguments.len();
        let mut block = self.tool_use(call, self.calls);
        block["input"] = json!({});
        self.start(&block, out);
        self.delta(Delta::Input { partial_json: &arguments }, out);
        self.stop(out);
        self.calls += 1;
    }

    fn start(&self, block: &Value, out: &mut Vec<u8>) {
        let start = json!({"type": "content_block_start", "index": self.index, "content_block": block});
        named("content_block_start", &start, out);
    }

    fn delta(&self, delta: Delta<'_>, out: &mut Vec<u8>) {
        let name = "content_block_delta";
        named(name, &BlockDelta { r#type: name, index: self.index, delta }, out);
    }

    fn stop(&mut self, out: &mut Vec<u8>) {
        let stop = json!({"type": "content_block_stop", "index": self.index});
        named("content_block_stop", &stop, out);
        self.index += 1;
    }

    /// Clients send thoughts back only with one. It says whose they were.
    fn signature(&self) -> String {
        format!("echo-{}", self.task)
    }

    /// Clients answer a call by its id, so each has one.
    fn tool_use(&self, call: &ToolCall, number: usize) -> Value {
        let id = if call.id.is_empty() { format!("toolu_{}_{number}", self.task) } else { call.id.clone() };
        json!({"type": "tool_use", "id": id, "name": call.name, "input": input(call)})
    }

    fn blocks(&self, report: &Report) -> Vec<Value> {
        let mut blocks = Vec::new();
        if !report.thinking.is_empty() {
            blocks.push(
                json!({"type": "thinking", "thinking": report.thinking, "signature": self.signature()}),
            );
        }
        if !report.content.is_empty() {
            blocks.push(json!({"type": "text", "text": report.content}));
        }
        let calls = report.tool_calls.iter().enumerate();
        blocks.extend(calls.map(|(number, call)| self.tool_use(call, number)));
        blocks
    }
}

impl Voice for Events {
    fn media(&self) -> &'static str {
        "text/event-stream"
    }

    fn whole(&self, report: &Report, done: &Done) -> Response {
        let calls = report.tool_calls.iter().map(|call| call.name.len() + input(call).to_string().len());
        let bytes = report.thinking.len() + report.content.len() + calls.sum::<usize>();
        let stop = Stop::of(done, !report.tool_calls.is_empty());
        let model = if self.model.is_empty() { &report.model } else { &self.model };
        let usage = usage(report, done, bytes);
        Json(self.message(model, &self.blocks(report), &stop, &usage)).into_response()
    }

    fn pieces(&mut self, pieces: Vec<Piece>, out: &mut Vec<u8>) {
        self.begin(&counts(0, 0, 0), out);
        for piece in pieces {
            self.piece(&piece, out);
        }
    }

    fn answered(&mut self, report: &Report, done: &Done, out: &mut Vec<u8>) {
        let usage = usage(report, done, self.bytes);
        self.begin(&usage, out);
        self.leave(out);
        let stop = Stop::of(done, self.calls > 0);
        named("message_delta", &json!({"type": "message_delta", "delta": stop, "usage": usage}), out);
        named("message_stop", &json!({"type": "message_stop"}), out);
    }

    /// Nothing follows an error: who waits for the end must not take this for one.
    fn broken(&mut self, error: ApiError, _: Option<&Report>, out: &mut Vec<u8>) {
        let mut error = shape(&error);
        error["request_id"] = id_of(&self.task).into();
        named("error", &error, out);
    }

    fn error(&self, failure: &Failure, _: &Report) -> ApiError {
        refusal(failure, &self.model)
    }

    fn accepted(&mut self, _: &NodeId, model: &str, _: &mut Vec<u8>) {
        if self.model.is_empty() {
            model.clone_into(&mut self.model);
        }
    }

    fn idle(&mut self, out: &mut Vec<u8>) {
        // The clients' readers know no event before the head of the message.
        self.begin(&counts(0, 0, 0), out);
        named("ping", &json!({"type": "ping"}), out);
    }
}

/// How an answer ended.
#[derive(Default, Serialize)]
struct Stop<'a> {
    #[serde(rename = "stop_reason")]
    reason: Option<&'static str>,
    #[serde(rename = "stop_sequence")]
    sequence: Option<&'a str>,
}

impl<'a> Stop<'a> {
    /// Most engines do not say which of the client's words ended an answer, or whether one did.
    fn of(done: &'a Done, called: bool) -> Self {
        let word = done.extra.get("stopping_word").and_then(Value::as_str).filter(|word| !word.is_empty());
        let (reason, sequence) = match done.reason {
            Reason::Length => ("max_tokens", None),
            Reason::ToolCalls => ("tool_use", None),
            _ if called => ("tool_use", None),
            _ if word.is_some() => ("stop_sequence", word),
            _ => ("end_turn", None),
        };
        Self { reason: Some(reason), sequence }
    }
}

/// A call's arguments are an object here.
fn input(call: &ToolCall) -> Value {
    match &call.arguments {
        Value::Object(object) => object.clone().into(),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Object(object)) => object.into(),
            _ => json!({"arguments": text}),
        },
        Value::Null => json!({}),
        other => json!({"arguments": other}),
    }
}

/// Clients insist on numbers: of what nobody has counted there is an estimate by the length of what was said.
fn usage(report: &Report, done: &Done, bytes: usize) -> Value {
    let prompt = done.prompt_tokens.unwrap_or_default();
    // What another node had cached is more than the prompt.
    let cached = done.cached_tokens.filter(|cached| report.attempts < 2 && *cached <= prompt);
    let made = done.tokens.unwrap_or_else(|| bytes.div_ceil(USUAL_BYTES) as u64);
    counts(prompt, cached.unwrap_or_default(), made)
}

/// Of the prompt's tokens those that were cached count apart.
fn counts(prompt: u64, cached: u64, made: u64) -> Value {
    json!({"input_tokens": prompt.saturating_sub(cached), "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached, "output_tokens": made})
}

/// Writes one event under its name.
fn named(name: &str, data: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    event(data, out);
}
