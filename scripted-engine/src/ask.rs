//! A request for an answer, whichever API it came by, and the ways to refuse one.

use std::time::Duration;

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::Response,
};
use serde_json::{Map, Value};

use super::{clock::Keep, line_template::LineTemplate, script::ToolCall, template::Prompt};

/// What both APIs boil down to.
pub struct Ask {
    pub model: String,
    pub prompt: Prompt,
    /// Most tokens to make.
    pub limit: Option<u64>,
    pub stop: Vec<String>,
    /// The answer has to be JSON.
    pub json: bool,
    pub tools: bool,
    /// The prompt goes to the model as it is, and what it writes comes out as it is: thoughts and calls are text.
    pub raw: bool,
    /// Thinking, where the model can.
    pub think: bool,
    /// What the model has to be able to do.
    pub needs: Vec<&'static str>,
    pub stream: bool,
    pub load_options: Option<Map<String, Value>>,
    pub keep: Option<Keep>,
    pub voice: Box<dyn Voice>,
}

/// How an answer went.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub reason: &'static str,
    pub prompt_tokens: u64,
    /// Of these, what was in a slot already.
    pub cached: u64,
    pub tokens: u64,
    /// A tool call was part of it.
    pub called: bool,
    pub load: Duration,
    pub prompt: Duration,
    pub eval: Duration,
}

/// Everything that was said, for a reply in one piece.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    pub so_far: String,
    pub text: String,
    pub thoughts: String,
    pub call: Option<ToolCall>,
    /// Calls to the letter.
    pub calls: Vec<Value>,
}

/// The shapes of one route.
pub trait Voice: Send + Sync {
    fn media(&self) -> &'static str;
    /// The line of a text, or of a thought.
    fn line(&self, thought: bool) -> LineTemplate;
    /// What precedes the first line.
    fn opening(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Adds the counts so far to the line that ends `out`, where the request wants them.
    fn count(&self, _made: &Totals, _out: &mut Vec<u8>) {}
    fn call(&self, call: &ToolCall) -> Vec<u8>;
    /// A chunk with these `tool_calls` to the letter.
    fn calls(&self, calls: &Value) -> Vec<u8>;
    /// All that follows the last line; `last` is text that travels with the end.
    fn end(&self, totals: &Totals, last: &str) -> Vec<u8>;
    /// An error in mid-stream.
    fn error(&self, message: &str) -> Vec<u8>;
    /// The reply to a request that does not stream.
    fn whole(&self, totals: &Totals, whole: &Whole) -> Value;
    fn refuse(&self, refusal: &Refusal) -> Response;
    /// Whether a request that does not stream runs on after its client has gone.
    fn runs_on(&self) -> bool {
        false
    }
}

/// An answer with an error status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub message: String,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn missing(model: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("model '{model}' not found"))
    }

    pub fn busy() -> Self {
        // The two spaces are Ollama's.
        let message = "server busy, please try again.  maximum pending requests exceeded";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub fn broken(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

/// A reply of this type.
pub fn reply(status: StatusCode, media: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media));
    response
}

pub fn json(status: StatusCode, value: &Value) -> Response {
    reply(status, "application/json; charset=utf-8", value.to_string())
}
