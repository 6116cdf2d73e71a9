//! The news of a task as Ollama's lines.

use axum::response::Response;
use echo_bus::message::{Done, Failure, Piece, Reason, ToolCall};
use serde_json::{Map, Value, json};

use super::ask::Shape;
use super::refusal::{json as plain, refusal, shape};
use crate::http::error::ApiError;
use crate::http::reply::Voice;
use crate::http::{logprobs, time};
use crate::report::Report;

/// One answer of Ollama's.
pub struct Lines {
    model: String,
    shape: Shape,
    /// A piece of the engine's last chunk: it is said together with the end.
    last: Option<Piece>,
}

impl Lines {
    pub fn new(model: String, shape: Shape) -> Self {
        Self { model, shape, last: None }
    }

    /// A line of generate or chat.
    fn line(&self, piece: Piece, done: bool) -> Map<String, Value> {
        let mut line = Map::new();
        line.insert("model".to_owned(), self.model.as_str().into());
        line.insert("created_at".to_owned(), time::now().into());
        let mut extra = piece.extra.map(|extra| *extra).unwrap_or_default();
        let text = piece.content.into();
        if self.shape == Shape::Chat {
            let mut message = Map::new();
            message.insert("role".to_owned(), "assistant".into());
            message.insert("content".to_owned(), text);
            put_text(&mut message, "thinking", piece.thinking);
            if !piece.tool_calls.is_empty() {
                message.insert("tool_calls".to_owned(), piece.tool_calls.iter().map(tool_call).collect());
            }
            if let Some(Value::Object(more)) = extra.remove("message") {
                message.extend(more);
            }
            line.insert("message".to_owned(), message.into());
        } else {
            line.insert("response".to_owned(), text);
            put_text(&mut line, "thinking", piece.thinking);
        }
        line.insert("done".to_owned(), done.into());
        if let Some(said) = &piece.logprobs {
            line.insert("logprobs".to_owned(), logprobs::entries(said).into());
        }
        line.extend(extra);
        line
    }

    /// The last line: what came with it, and the counts.
    fn end(&self, piece: Piece, done: &Done) -> Map<String, Value> {
        let mut line = self.line(piece, true);
        line.insert("done_reason".to_owned(), word(done.reason).into());
        counts(&mut line, done);
        line.extend(done.extra.clone());
        line
    }

    fn embedded(&self, done: &Done) -> Value {
        let vectors = done.vectors.as_deref().unwrap_or_default();
        if self.shape == Shape::Embedding {
            let first = vectors.first().map(|vector| json!(vector));
            let mut answer = Map::new();
            answer.insert("embedding".to_owned(), first.unwrap_or_else(|| json!([])));
            answer.extend(done.extra.clone());
            return answer.into();
        }
        let mut answer = Map::new();
        answer.insert("model".to_owned(), self.model.as_str().into());
        answer.insert("embeddings".to_owned(), json!(vectors));
        counts(&mut answer, done);
        answer.extend(done.extra.clone());
        answer.into()
    }
}

impl Voice for Lines {
    fn media(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn whole(&self, report: &Report, done: &Done) -> Response {
        plain(&match self.shape {
            Shape::Generate | Shape::Chat => self.end(gathered(report), done).into(),
            Shape::Embed | Shape::Embedding => self.embedded(done),
            Shape::Plain => done.body.clone().unwrap_or_else(|| json!({})),
        })
    }

    fn pieces(&mut self, pieces: Vec<Piece>, out: &mut Vec<u8>) {
        for piece in pieces {
            // Its end was lost and another node goes on: it was a piece like any other.
            if let Some(before) = self.last.take() {
                write(self.line(before, false), out);
            }
            if piece.last {
                self.last = Some(piece);
            } else {
                write(self.line(piece, false), out);
            }
        }
    }

    fn answered(&mut self, _: &Report, done: &Done, out: &mut Vec<u8>) {
        let piece = self.last.take().unwrap_or_default();
        write(self.end(piece, done), out);
    }

    fn broken(&mut self, error: ApiError, _: Option<&Report>, out: &mut Vec<u8>) {
        if let Some(piece) = self.last.take() {
            write(self.line(piece, false), out);
        }
        out.extend_from_slice(shape(&error).to_string().as_bytes());
        out.push(b'\n');
    }

    fn error(&self, failure: &Failure, _: &Report) -> ApiError {
        refusal(failure, &self.model)
    }

    fn idle(&mut self, out: &mut Vec<u8>) {
        write(self.line(Piece::default(), false), out);
    }
}

fn write(line: Map<String, Value>, out: &mut Vec<u8>) {
    out.extend_from_slice(Value::Object(line).to_string().as_bytes());
    out.push(b'\n');
}

/// All that was said, as one piece.
fn gathered(report: &Report) -> Piece {
    let entries: Vec<Value> = report.logprobs.iter().flat_map(logprobs::entries).collect();
    Piece {
        content: report.content.clone(),
        thinking: report.thinking.clone(),
        tool_calls: report.tool_calls.clone(),
        logprobs: (!entries.is_empty()).then(|| Box::new(entries.into())),
        extra: Piece::extra(report.extra.clone()),
        ..Piece::default()
    }
}

fn put_text(object: &mut Map<String, Value>, name: &str, text: String) {
    if !text.is_empty() {
        object.insert(name.to_owned(), text.into());
    }
}

fn tool_call(call: &ToolCall) -> Value {
    let mut said = Map::new();
    put_text(&mut said, "id", call.id.clone());
    // Here arguments are an object; an engine of the other kind may have said nonsense in their place.
    let arguments = if call.arguments.is_object() {
        call.arguments.clone()
    } else {
        json!({"arguments": call.arguments})
    };
    let mut function = Map::new();
    function.insert("index".to_owned(), call.index.into());
    function.insert("name".to_owned(), call.name.as_str().into());
    function.insert("arguments".to_owned(), arguments);
    let mut extra = call.extra.clone();
    if let Some(Value::Object(more)) = extra.remove("function") {
        function.extend(more);
    }
    said.insert("function".to_owned(), function.into());
    said.extend(extra);
    said.into()
}

fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Stop | Reason::ToolCalls | Reason::Unknown => "stop",
        Reason::Length => "length",
        Reason::Load => "load",
        Reason::Unload => "unload",
    }
}

/// What the engine did not say is left out, and so are times of zero.
fn counts(line: &mut Map<String, Value>, done: &Done) {
    let time = |nanos: u64| (nanos > 0).then_some(nanos);
    let counts = [
        ("total_duration", time(done.timings.total_ns)),
        ("load_duration", time(done.timings.load_ns)),
        ("prompt_eval_count", done.prompt_tokens),
        ("prompt_eval_duration", time(done.timings.prompt_ns)),
        ("eval_count", done.tokens),
        ("eval_duration", time(done.timings.eval_ns)),
    ];
    let said = counts.into_iter().filter_map(|(name, count)| Some((name.to_owned(), count?.into())));
    line.extend(said);
}
