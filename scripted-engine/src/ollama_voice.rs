//! The lines of Ollama's `/api/generate` and `/api/chat`.

use std::time::{Duration, SystemTime};

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{
    ask::{self, Refusal, Totals, Voice, Whole, id},
    clock::rfc3339,
    line_template::{LineTemplate, TEXT},
    script::ToolCall,
};

pub struct OllamaVoice {
    pub chat: bool,
    /// As the client wrote it: Ollama echoes it.
    pub model: String,
    pub logprobs: bool,
    pub top_logprobs: usize,
    /// Ollama adds the deprecated context to what was not raw.
    pub context: bool,
    /// Speaks as an Ollama that does not exist yet: with fields that nobody knows, at every level.
    pub newer: bool,
}

impl OllamaVoice {
    /// The fields of every chunk, with a text and a thought in the places that the route has for them.
    fn chunk(&self, text: &str, thought: Option<&str>, done: bool) -> Map<String, Value> {
        let mut chunk = Map::new();
        chunk.insert("model".to_owned(), self.model.as_str().into());
        chunk.insert("created_at".to_owned(), rfc3339(SystemTime::now()).into());
        chunk.insert("done".to_owned(), done.into());
        let mut said = Map::new();
        if self.chat {
            said.insert("role".to_owned(), "assistant".into());
            said.insert("content".to_owned(), text.into());
        } else {
            said.insert("response".to_owned(), text.into());
        }
        if let Some(thought) = thought {
            said.insert("thinking".to_owned(), thought.into());
        }
        if self.newer {
            said.insert("tone".to_owned(), json!({"of": ["voice"]}));
        }
        if self.chat {
            chunk.insert("message".to_owned(), said.into());
        } else {
            chunk.extend(said);
        }
        if self.newer {
            chunk.insert("mood".to_owned(), if done { "tired" } else { "fresh" }.into());
        }
        chunk
    }

    fn finish(&self, chunk: &mut Map<String, Value>, totals: &Totals) {
        chunk.insert("done_reason".to_owned(), totals.reason.into());
        if self.context && !self.chat {
            chunk.insert("context".to_owned(), json!([1, 2, 3]));
        }
        let counts = [
            ("total_duration", nanos(totals.load + totals.prompt + totals.eval)),
            ("load_duration", nanos(totals.load)),
            ("prompt_eval_count", totals.prompt_tokens),
            ("prompt_eval_duration", nanos(totals.prompt)),
            ("eval_count", totals.tokens),
            ("eval_duration", nanos(totals.eval)),
        ];
        // A zero is left out, as Go's `omitempty` does.
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        chunk.extend(counts.map(|(name, count)| (name.to_owned(), count.into())));
    }

    fn logprob(&self) -> Value {
        let top: Vec<_> = (0..self.top_logprobs).map(|_| json!({"token": TEXT, "logprob": -0.01})).collect();
        let mut entry = json!({"token": TEXT, "logprob": -0.01});
        if !top.is_empty() {
            entry["top_logprobs"] = top.into();
        }
        if self.newer {
            entry["rank"] = 1.into();
        }
        json!([entry])
    }

    fn called(&self, number: usize, call: &ToolCall) -> Value {
        let mut function = json!({"index": number, "name": call.name, "arguments": call.arguments});
        let mut called = json!({"id": id(number)});
        if self.newer {
            function["strict"] = true.into();
            called["origin"] = json!({"part": 1});
        }
        called["function"] = function;
        called
    }
}

impl Voice for OllamaVoice {
    fn media(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn line(&self, thought: bool) -> LineTemplate {
        let mut chunk =
            if thought { self.chunk("", Some(TEXT), false) } else { self.chunk(TEXT, None, false) };
        if self.logprobs {
            chunk.insert("logprobs".to_owned(), self.logprob());
        }
        LineTemplate::new("", &chunk.into(), "\n")
    }

    fn call(&self, number: usize, call: &ToolCall) -> Vec<u8> {
        self.calls(&json!([self.called(number, call)]))
    }

    fn calls(&self, calls: &Value) -> Vec<u8> {
        let mut chunk = Value::from(self.chunk("", None, false));
        chunk["message"]["tool_calls"] = calls.clone();
        format!("{chunk}\n").into_bytes()
    }

    fn end(&self, totals: &Totals, last: &str) -> Vec<u8> {
        let mut chunk = self.chunk(last, None, true);
        self.finish(&mut chunk, totals);
        format!("{}\n", Value::from(chunk)).into_bytes()
    }

    fn error(&self, message: &str) -> Vec<u8> {
        format!("{}\n", json!({"error": message})).into_bytes()
    }

    fn whole(&self, totals: &Totals, whole: &Whole) -> Value {
        let thought = Some(whole.thoughts.as_str()).filter(|thought| !thought.is_empty());
        let mut chunk = self.chunk(&whole.text, thought, true);
        self.finish(&mut chunk, totals);
        let mut chunk = Value::from(chunk);
        let called = whole.called.iter().enumerate().map(|(number, call)| self.called(number, call));
        if !whole.called.is_empty() {
            chunk["message"]["tool_calls"] = called.collect();
        }
        if !whole.calls.is_empty() {
            chunk["message"]["tool_calls"] = whole.calls.clone().into();
        }
        chunk
    }

    fn refuse(&self, refusal: &Refusal) -> Response {
        refuse(refusal)
    }
}

/// An error as every route of Ollama's native API says it.
pub fn refuse(refusal: &Refusal) -> Response {
    ask::json(refusal.status, &json!({"error": refusal.message}))
}

pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
