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
    choices: Vec<Told>,
    /// The one of which pieces come.
    choice: usize,
}

/// What has been told of one choice.
#[derive(Debug, Clone, Default)]
struct Told {
    began: bool,
    ended: bool,
    calls: usize,
    /// The length of the text so far, in characters, for the places of log probabilities.
    offset: usize,
}

impl Chunks {
    /// Of so many choices, at least one.
    pub fn new(task: TaskId, model: String, shape: Shape, tells_usage: bool, choices: usize) -> Self {
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
            choices: vec![Told::default(); choices.max(1)],
            choice: 0,
        }
    }

    fn told(&mut self) -> &mut Told {
        &mut self.choices[self.choice]
    }

    /// A choice of a chunk, to be filled in.
    fn next(&self) -> Choice<'static> {
        Choice { index: self.choice, ..Choice::default() }
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
        self.chunk(&[Choice { delta: Some(delta), logprobs, ..self.next() }], &Value::Null, out);
    }

    /// The first chunk of a conversation names the role.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.told().began, true) && self.shape == Shape::Chat {
            let named = Delta { role: Some("assistant"), content: Some(""), ..Delta::default() };
            self.delta(named, None, out);
        }
    }

    fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        let entries = piece.logprobs.as_deref().map(logprobs::entries).filter(|entries| !entries.is_empty());
        if self.shape == Shape::Text {
            let logprobs = entries.map(|entries| logprobs::of_text(&entries, &mut self.told().offset));
            let choice = Choice { text: Some(&piece.content), logprobs, ..self.next() };
            return self.chunk(&[choice], &Value::Null, out);
        }
        let thinking = (!piece.thinking.is_empty()).then_some(piece.thinking.as_str());
        let says_nothing_else = thinking.is_none() && piece.tool_calls.is_empty();
        let content = (!piece.content.is_empty() || says_nothing_else).then_some(piece.content.as_str());
        let calls = piece.tool_calls.iter().map(|call| {
            let number = self.told().calls;
            self.told().calls += 1;
            let mut said = self.tool_call(call, self.choice, number);
            said["index"] = number.into();
            said
        });
        let tool_calls = calls.collect();
        let delta = Delta { role: None, reasoning_content: thinking, content, tool_calls };
        self.delta(delta, entries.map(logprobs::of_chat), out);
    }

    /// Clients answer a call by its id, so each has one, which no other choice has.
    fn tool_call(&self, call: &ToolCall, choice: usize, number: usize) -> Value {
        let id = match (call.id.as_str(), choice) {
            ("", 0) => format!("call_{}_{number}", self.task),
            ("", _) => format!("call_{}_{choice}_{number}", self.task),
            (id, _) => id.to_owned(),
        };
        let arguments = match &call.arguments {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        json!({"id": id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
    }

    /// A whole choice.
    fn whole_choice(&self, index: usize, report: &Report, reason: Reason) -> Value {
        let entries: Vec<Value> = report.logprobs.iter().flat_map(logprobs::entries).collect();
        let entries = (!entries.is_empty()).then_some(entries);
        let finish = finish(reason, !report.tool_calls.is_empty());
        match self.shape {
            Shape::Chat => {
                let (message, logprobs) = (self.message(report, index), entries.map(logprobs::of_chat));
                json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish})
            }
            Shape::Text => {
                let logprobs = entries.map(|entries| logprobs::of_text(&entries, &mut 0));
                json!({"index": index, "text": report.content, "logprobs": logprobs, "finish_reason": finish})
            }
        }
    }

    fn message(&self, report: &Report, choice: usize) -> Value {
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
            message.insert(
                "tool_calls".to_owned(),
                calls.map(|(at, call)| self.tool_call(call, choice, at)).collect(),
            );
        }
        message.into()
    }
}

impl Voice for Chunks {
    fn media(&self) -> &'static str {
        "text/event-stream"
    }

    fn whole(&self, report: &Report, done: &Done) -> Response {
        let kind = if self.shape == Shape::Chat { "chat.completion" } else { "text_completion" };
        let reports = std::iter::once((report, done.reason)).chain(others(report));
        let choices = reports.enumerate().map(|(index, (it, reason))| self.whole_choice(index, it, reason));
        let choices: Vec<Value> = choices.collect();
        let model = if self.model.is_empty() { &report.model } else { &self.model };
        plain(json!({
            "id": self.id, "object": kind, "created": self.created, "model": model,
            "system_fingerprint": FINGERPRINT, "choices": choices, "usage": usage(report, done),
        }))
    }

    fn pieces(&mut self, pieces: Vec<Piece>, out: &mut Vec<u8>) {
        self.begin(out);
        for piece in pieces {
            self.piece(&piece, out);
        }
    }

    fn choice(&mut self, number: usize) {
        self.choice = number.min(self.choices.len() - 1);
    }

    fn choice_ended(&mut self, reason: Reason, out: &mut Vec<u8>) {
        self.begin(out);
        let (delta, text) = match self.shape {
            Shape::Chat => (Some(Delta::default()), None),
            Shape::Text => (None, Some("")),
        };
        let finish_reason = Some(finish(reason, self.told().calls > 0));
        self.chunk(&[Choice { delta, text, finish_reason, ..self.next() }], &Value::Null, out);
        self.told().ended = true;
    }

    fn answered(&mut self, report: &Report, done: &Done, out: &mut Vec<u8>) {
        if !self.told().ended {
            self.choice_ended(done.reason, out);
        }
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
        // Nothing follows the end of a choice.
        self.choice = self.choices.iter().position(|told| !told.ended).unwrap_or(self.choice);
        match self.shape {
            Shape::Chat if !self.choices[self.choice].began => self.begin(out),
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

/// The further choices of an answer; each is whole.
fn others(report: &Report) -> impl Iterator<Item = (&Report, Reason)> {
    report.others.iter().filter_map(|other| Some((other, other.ending.as_ref().ok()?.reason)))
}

/// The tokens of all choices, and those of the prompt once, though each choice has read it.
fn usage(report: &Report, done: &Done) -> Value {
    let ends = report.others.iter().filter_map(|other| Some((other, other.ending.as_ref().ok()?)));
    let made = ends
        .map(|(other, done)| count(other, done.tokens))
        .fold(count(report, done.tokens), |sum, more| Some(sum?.saturating_add(more?)));
    let (Some(prompt), Some(made)) = (count(report, done.prompt_tokens), made) else { return Value::Null };
    let total = prompt.saturating_add(made);
    let mut usage = json!({"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": total});
    if let Some(cached) = done.cached_tokens {
        usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
    }
    usage
}

/// Of an answer that went on elsewhere, absent counts are unknown: that is not zero.
fn count(report: &Report, count: Option<u64>) -> Option<u64> {
    if report.attempts > 1 { count } else { Some(count.unwrap_or_default()) }
}
