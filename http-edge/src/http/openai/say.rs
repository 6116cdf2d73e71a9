//! The news of a task as OpenAI's chunks.

use axum::response::Response;
use echo_bus::id::{NodeId, TaskId};
use echo_bus::message::{Done, Failure, Piece, Reason, ToolCall};
use serde_json::{Map, Value, json};

use super::ask::Shape;
use super::chunk::{self, Choice, Delta, FINGERPRINT, Head};
use super::refusal::{json as plain, refusal, shape};
use crate::http::error::ApiError;
use crate::http::reply::{Voice, event};
use crate::http::{logprobs, time};
use crate::report::Report;

/// One answer of OpenAI's.
pub struct Chunks {
    task: TaskId,
    /// Of the answer, in the clients' words.
    id: String,
    created: u64,
    /// As the client wrote it, or the one that was chosen.
    model: String,
    shape: Shape,
    tells_usage: bool,
    /// How each chunk begins; empty until the first one, when the model is known.
    head: Vec<u8>,
    began: bool,
    calls: usize,
    /// The length of the text so far, in characters, for the places of log probabilities.
    offset: usize,
}

impl Chunks {
    pub fn new(task: TaskId, model: String, shape: Shape, tells_usage: bool) -> Self {
        let created = time::unix();
        let kind = if shape == Shape::Chat { "chatcmpl" } else { "cmpl" };
        let id = format!("{kind}-{task}");
        Self {
            task,
            id,
            created,
            model,
            shape,
            tells_usage,
            head: Vec::new(),
            began: false,
            calls: 0,
            offset: 0,
        }
    }

    fn chunk(&mut self, choices: &[Choice<'_>], usage: &Value, out: &mut Vec<u8>) {
        if self.head.is_empty() {
            let object = if self.shape == Shape::Chat { "chat.completion.chunk" } else { "text_completion" };
            let (id, model, created) = (&self.id, &self.model, self.created);
            self.head = Head { id, object, created, model, system_fingerprint: FINGERPRINT }.event();
        }
        out.extend_from_slice(&self.head);
        chunk::finish(choices, self.tells_usage.then_some(usage), out);
    }

    fn delta(&mut self, delta: Delta<'_>, logprobs: Option<Value>, out: &mut Vec<u8>) {
        self.chunk(&[Choice { delta: Some(delta), logprobs, ..Choice::default() }], &Value::Null, out);
    }

    /// The first chunk of a conversation names the role.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.began, true) && self.shape == Shape::Chat {
            let named = Delta { role: Some("assistant"), content: Some(""), ..Delta::default() };
            self.delta(named, None, out);
        }
    }

    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        let entries = piece.logprobs.as_deref().map(logprobs::entries).filter(|entries| !entries.is_empty());
        if self.shape == Shape::Text {
            let logprobs = entries.map(|entries| logprobs::of_text(&entries, &mut self.offset));
            let choice = Choice { text: Some(&piece.content), logprobs, ..Choice::default() };
            return self.chunk(&[choice], &Value::Null, out);
        }
        let thinking = (!piece.thinking.is_empty()).then_some(piece.thinking.as_str());
        let says_nothing_else = thinking.is_none() && piece.tool_calls.is_empty();
        let content = (!piece.content.is_empty() || says_nothing_else).then_some(piece.content.as_str());
        let calls = piece.tool_calls.iter().map(|call| {
            let mut said = self.tool_call(call, self.calls);
            said["index"] = self.calls.into();
            self.calls += 1;
            said
        });
        let tool_calls = calls.collect();
        let delta = Delta { role: None, reasoning_content: thinking, content, tool_calls };
        self.delta(delta, entries.map(logprobs::of_chat), out);
    }

    /// Clients answer a call by its id, so each has one.
    fn tool_call(&self, call: &ToolCall, number: usize) -> Value {
        let id = if call.id.is_empty() { format!("call_{}_{number}", self.task) } else { call.id.clone() };
        let arguments = match &call.arguments {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        json!({"id": id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
    }

    fn message(&self, report: &Report) -> Value {
        let mut message = Map::new();
        message.insert("role".to_owned(), "assistant".into());
        let silent = report.content.is_empty() && !report.tool_calls.is_empty();
        let content = if silent { Value::Null } else { report.content.as_str().into() };
        message.insert("content".to_owned(), content);
        message.insert("refusal".to_owned(), Value::Null);
        if !report.thinking.is_empty() {
            message.insert("reasoning_content".to_owned(), report.thinking.as_str().into());
        }
        if !report.tool_calls.is_empty() {
            let calls = report.tool_calls.iter().enumerate();
            message
                .insert("tool_calls".to_owned(), calls.map(|(at, call)| self.tool_call(call, at)).collect());
        }
        message.into()
    }
}

impl Voice for Chunks {
    fn media(&self) -> &'static str {
        "text/event-stream"
    }

    fn whole(&self, report: &Report, done: &Done) -> Response {
        let entries: Vec<Value> = report.logprobs.iter().flat_map(logprobs::entries).collect();
        let entries = (!entries.is_empty()).then_some(entries);
        let finish = finish(done.reason, !report.tool_calls.is_empty());
        let (kind, choice) = match self.shape {
            Shape::Chat => {
                let logprobs = entries.map(logprobs::of_chat);
                let message = self.message(report);
                let choice =
                    json!({"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish});
                ("chat.completion", choice)
            }
            Shape::Text => {
                let logprobs = entries.map(|entries| logprobs::of_text(&entries, &mut 0));
                let choice = json!({"index": 0, "text": report.content, "logprobs": logprobs, "finish_reason": finish});
                ("text_completion", choice)
            }
        };
        let model = if self.model.is_empty() { &report.model } else { &self.model };
        plain(json!({
            "id": self.id, "object": kind, "created": self.created, "model": model,
            "system_fingerprint": FINGERPRINT, "choices": [choice], "usage": usage(report, done),
        }))
    }

    fn pieces(&mut self, pieces: Vec<Piece>, out: &mut Vec<u8>) {
        self.begin(out);
        for piece in pieces {
            self.piece(&piece, out);
        }
    }

    fn answered(&mut self, report: &Report, done: &Done, out: &mut Vec<u8>) {
        self.begin(out);
        let (delta, text) = match self.shape {
            Shape::Chat => (Some(Delta::default()), None),
            Shape::Text => (None, Some("")),
        };
        let finish_reason = Some(finish(done.reason, self.calls > 0));
        self.chunk(&[Choice { delta, text, finish_reason, ..Choice::default() }], &Value::Null, out);
        if self.tells_usage {
            self.chunk(&[], &usage(report, done), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// Nothing follows an error: who waits for the end must not take this for one.
    fn broken(&mut self, error: ApiError, _: Option<&Report>, out: &mut Vec<u8>) {
        event(&shape(&error), out);
    }

    fn error(&self, failure: &Failure, _: &Report) -> ApiError {
        refusal(failure, &self.model)
    }

    fn accepted(&mut self, _: &NodeId, model: &str, _: &mut Vec<u8>) {
        if self.model.is_empty() {
            model.clone_into(&mut self.model);
            // A sign of life may have been said before the model was known.
            self.head.clear();
        }
    }

    fn idle(&mut self, out: &mut Vec<u8>) {
        match self.shape {
            Shape::Chat if !self.began => self.begin(out),
            Shape::Chat => self.delta(Delta::default(), None, out),
            Shape::Text => self.piece(&Piece::default(), out),
        }
    }
}

fn finish(reason: Reason, called: bool) -> &'static str {
    match reason {
        Reason::Length => "length",
        Reason::ToolCalls => "tool_calls",
        Reason::Stop if called => "tool_calls",
        Reason::Stop | Reason::Load | Reason::Unload | Reason::Unknown => "stop",
    }
}

/// Of an answer that went on elsewhere, absent counts are unknown: that is not zero.
fn usage(report: &Report, done: &Done) -> Value {
    if report.attempts > 1 && (done.prompt_tokens.is_none() || done.tokens.is_none()) {
        return Value::Null;
    }
    let (prompt, made) = (done.prompt_tokens.unwrap_or_default(), done.tokens.unwrap_or_default());
    json!({"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt.saturating_add(made)})
}
