//! The response object: what was asked, given back, and what became of it.

use echo_bus::message::{Chat, Code, Done, Failure, Memo, Reason, ToolChoice};
use serde_json::{Map, Value, json};

use super::super::refusal::TOO_LONG;
use super::id::ResponseId;
use super::output::Output;

/// All that is known of a response before it is made.
#[derive(Debug, Clone)]
pub struct Template {
    id: String,
    /// As the client wrote it, or the one that was chosen.
    pub model: String,
    memo: Memo,
    /// The fields that follow from the request.
    asked: Map<String, Value>,
}

/// How far it is, or how it ended.
#[derive(Debug, Clone, Default)]
pub struct State<'a> {
    pub status: &'static str,
    pub output: Vec<Value>,
    pub usage: Value,
    pub error: Value,
    pub incomplete: Option<&'a str>,
}

impl Template {
    /// Of a response that has no id yet: there is one only once its task has begun.
    pub fn new(chat: &Chat, memo: &Memo) -> Self {
        let model = chat.model.clone().unwrap_or_default();
        Self { id: String::new(), model, memo: memo.clone(), asked: asked(chat, memo) }
    }

    /// The same with its id.
    #[must_use]
    pub fn named(self, id: ResponseId) -> Self {
        Self { id: id.response(), ..self }
    }

    /// The object in this state.
    pub fn said(&self, state: State<'_>) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("id", self.id.as_str().into());
        put("object", "response".into());
        put("created_at", self.memo.asked_at.into());
        put("status", state.status.into());
        put("error", state.error);
        put("incomplete_details", state.incomplete.map_or(Value::Null, |reason| json!({"reason": reason})));
        put("model", self.model.as_str().into());
        put("output", state.output.into());
        put("usage", state.usage);
        object.extend(self.asked.clone());
        object.into()
    }

    /// The object while the answer is made.
    pub fn in_progress(&self, status: &'static str, output: Vec<Value>) -> Value {
        self.said(State { status, output, ..State::default() })
    }

    /// The object of a whole answer.
    pub fn done(&self, output: &Output, done: &Done, attempts: u32) -> Value {
        let (status, incomplete) = match done.reason {
            Reason::Length => ("incomplete", Some("max_output_tokens")),
            _ => ("completed", None),
        };
        let usage = usage(output, done, attempts);
        self.said(State { status, output: output.said(status), usage, incomplete, ..State::default() })
    }

    /// The object of what is no whole answer; `words` say why.
    pub fn failed(&self, output: &Output, failure: &Failure, words: &str) -> Value {
        let output = output.said("incomplete");
        if failure.code == Code::Cancelled {
            return self.said(State { status: "cancelled", output, ..State::default() });
        }
        let error = json!({"code": code(failure), "message": words_of(failure, words)});
        self.said(State { status: "failed", output, error, ..State::default() })
    }
}

/// What a client left out stays out: the engine's own defaults hold, and nobody here knows them.
fn asked(chat: &Chat, memo: &Memo) -> Map<String, Value> {
    let said = |name: &str| memo.said.get(name).cloned();
    let own = chat.messages.first().filter(|_| memo.own_system).and_then(|first| first.content.first());
    let instructions =
        own.and_then(|part| serde_json::to_value(part).ok()).map(|mut part| part["text"].take());
    let mut reasoning = json!({"effort": null, "summary": null});
    let mut text = json!({"format": {"type": "text"}});
    for (object, name) in [(&mut reasoning, "reasoning"), (&mut text, "text")] {
        if let (Some(object), Some(Value::Object(said))) = (object.as_object_mut(), said(name)) {
            object.extend(said);
        }
    }
    let fields = [
        ("background", said("background").unwrap_or(false.into())),
        ("instructions", instructions.unwrap_or_default()),
        ("max_output_tokens", json!(chat.settings.max_tokens)),
        ("max_tool_calls", said("max_tool_calls").unwrap_or_default()),
        ("metadata", said("metadata").unwrap_or_else(|| json!({}))),
        ("parallel_tool_calls", chat.parallel_tool_calls.unwrap_or(true).into()),
        ("previous_response_id", said("previous_response_id").unwrap_or_default()),
        ("prompt_cache_key", said("prompt_cache_key").unwrap_or_default()),
        ("reasoning", reasoning),
        ("safety_identifier", said("safety_identifier").unwrap_or_default()),
        ("service_tier", said("service_tier").unwrap_or_else(|| "default".into())),
        ("store", said("store").unwrap_or(true.into())),
        ("temperature", json!(chat.settings.temperature)),
        ("text", text),
        ("tool_choice", said("tool_choice").unwrap_or_else(|| choice(chat))),
        ("tools", chat.tools.iter().map(flat).collect()),
        ("top_logprobs", 0.into()),
        ("top_p", json!(chat.settings.top_p)),
        ("truncation", said("truncation").unwrap_or_else(|| "disabled".into())),
        ("user", Value::Null),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn choice(chat: &Chat) -> Value {
    match &chat.tool_choice {
        None => "auto".into(),
        Some(ToolChoice::Required) => "required".into(),
        Some(ToolChoice::Only(name)) => json!({"type": "function", "name": name}),
    }
}

/// A tool as this API describes it.
fn flat(tool: &Value) -> Value {
    let mut flat = json!({"type": "function"});
    if let (Some(flat), Some(function)) = (flat.as_object_mut(), tool["function"].as_object()) {
        flat.extend(function.clone());
        for field in ["parameters", "strict"] {
            flat.entry(field).or_insert(Value::Null);
        }
    }
    flat
}

/// Of an answer that went on elsewhere, absent counts are unknown: that is not zero.
fn usage(output: &Output, done: &Done, attempts: u32) -> Value {
    if attempts > 1 && (done.prompt_tokens.is_none() || done.tokens.is_none()) {
        return Value::Null;
    }
    let (prompt, made) = (done.prompt_tokens.unwrap_or_default(), done.tokens.unwrap_or_default());
    json!({
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": done.cached_tokens.unwrap_or_default()},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": output.thought_tokens(made)},
        "total_tokens": prompt.saturating_add(made),
    })
}

/// What went wrong, in words that agents act on.
pub fn code(failure: &Failure) -> &'static str {
    match failure.code {
        Code::QueueFull => "rate_limit_exceeded",
        Code::BadRequest | Code::EngineRefused | Code::EngineError if failure.is_too_long() => TOO_LONG,
        Code::BadRequest | Code::EngineRefused | Code::NotCapable => "invalid_prompt",
        _ => "server_error",
    }
}

/// Agents wait for as long as the message says.
fn words_of(failure: &Failure, words: &str) -> String {
    match failure.retry_after_ms {
        Some(ms) if failure.code == Code::QueueFull => {
            format!("{words}; try again in {}s", ms.div_ceil(1000).max(1))
        }
        _ => words.to_owned(),
    }
}
