//! The events of llama.cpp's server: chat completions, text completions and its own `/completion`.

use axum::{http::StatusCode, response::Response};
use serde_json::{Value, json};

use super::{
    ask::{self, Refusal, Totals, Voice, Whole, id},
    clock::unix,
    line_template::{LineTemplate, TEXT},
    script::ToolCall,
};

const FINGERPRINT: &str = "b1-scripted";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Chat,
    Text,
    /// `/completion`, without OpenAI's shape.
    Own,
}

pub struct OpenaiVoice {
    pub kind: Kind,
    pub id: String,
    pub model: String,
    /// `stream_options.include_usage`.
    pub usage: bool,
    pub logprobs: bool,
    /// `timings_per_token`.
    pub counts: bool,
}

impl OpenaiVoice {
    fn chunk(&self, choices: Value) -> Value {
        let object = if self.kind == Kind::Chat { "chat.completion.chunk" } else { "text_completion" };
        json!({"id": self.id, "object": object, "created": unix(), "model": self.model,
            "system_fingerprint": FINGERPRINT, "choices": choices})
    }

    fn delta(&self, delta: &Value, reason: Option<&str>) -> Value {
        self.chunk(json!([{"index": 0, "delta": delta, "finish_reason": reason}]))
    }

    fn text(&self, text: &str, reason: Option<&str>) -> Value {
        match self.kind {
            Kind::Chat => self.delta(&json!({"content": text}), reason),
            Kind::Text => {
                self.chunk(json!([{"index": 0, "text": text, "logprobs": null, "finish_reason": reason}]))
            }
            Kind::Own => json!({"index": 0, "content": text, "tokens": [], "stop": false, "id_slot": 0,
                "tokens_predicted": 0, "tokens_evaluated": 0}),
        }
    }

    fn timings(totals: &Totals) -> Value {
        let (prompt, eval) = (totals.prompt.as_secs_f64(), totals.eval.as_secs_f64());
        let speed = |tokens: u64, seconds: f64| if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 };
        let fresh = totals.prompt_tokens.saturating_sub(totals.cached);
        json!({"cache_n": totals.cached, "prompt_n": fresh, "prompt_ms": prompt * 1e3,
            "prompt_per_second": speed(fresh, prompt), "predicted_n": totals.tokens,
            "predicted_ms": eval * 1e3, "predicted_per_second": speed(totals.tokens, eval)})
    }

    fn usage(totals: &Totals) -> Value {
        json!({"prompt_tokens": totals.prompt_tokens, "completion_tokens": totals.tokens,
            "total_tokens": totals.prompt_tokens + totals.tokens})
    }

    fn own_end(&self, totals: &Totals, text: &str) -> Value {
        let kind = if totals.reason == "length" { "limit" } else { "eos" };
        json!({"index": 0, "content": text, "tokens": [], "id_slot": 0, "stop": true, "model": self.model,
            "tokens_predicted": totals.tokens, "tokens_evaluated": totals.prompt_tokens,
            "truncated": false, "stop_type": kind, "stopping_word": "", "timings": Self::timings(totals)})
    }

    fn called(&self, number: usize, call: &ToolCall) -> Value {
        let arguments = Value::from(call.arguments.clone()).to_string();
        let function = json!({"name": call.name, "arguments": arguments});
        json!({"id": id(number), "type": "function", "function": function})
    }
}

impl Voice for OpenaiVoice {
    fn media(&self) -> &'static str {
        "text/event-stream"
    }

    fn line(&self, thought: bool) -> LineTemplate {
        let mut chunk = if thought && self.kind == Kind::Chat {
            self.delta(&json!({"reasoning_content": TEXT}), None)
        } else {
            self.text(TEXT, None)
        };
        if self.logprobs && self.kind != Kind::Own {
            let entry = json!({"id": 0, "token": TEXT, "bytes": [], "logprob": -0.01, "top_logprobs": []});
            chunk["choices"][0]["logprobs"] = json!({"content": [entry]});
        }
        LineTemplate::new("data: ", &chunk, "\n\n")
    }

    fn opening(&self) -> Vec<u8> {
        match self.kind {
            // The first event names the role, and its content is null.
            Kind::Chat => event(&self.delta(&json!({"role": "assistant", "content": null}), None)),
            Kind::Text | Kind::Own => Vec::new(),
        }
    }

    fn count(&self, made: &Totals, out: &mut Vec<u8>) {
        if self.counts && out.ends_with(b"}\n\n") {
            out.truncate(out.len() - 3);
            out.extend_from_slice(format!(",\"timings\":{}}}\n\n", Self::timings(made)).as_bytes());
        }
    }

    fn call(&self, number: usize, call: &ToolCall) -> Vec<u8> {
        let mut begun = self.called(number, call);
        begun["index"] = number.into();
        let arguments = begun["function"]["arguments"].take();
        begun["function"]["arguments"] = "".into();
        let mut out = self.calls(&json!([begun]));
        out.extend(self.calls(&json!([{"index": number, "function": {"arguments": arguments}}])));
        out
    }

    fn calls(&self, calls: &Value) -> Vec<u8> {
        event(&self.delta(&json!({"tool_calls": calls}), None))
    }

    fn end(&self, totals: &Totals, last: &str) -> Vec<u8> {
        if self.kind == Kind::Own {
            return event(&self.own_end(totals, last));
        }
        let mut chunk = self.text(last, Some(reason(totals)));
        if self.kind == Kind::Chat && last.is_empty() {
            chunk = self.delta(&json!({}), Some(reason(totals)));
        }
        if !self.usage {
            chunk["timings"] = Self::timings(totals);
        }
        let mut out = event(&chunk);
        if self.usage {
            let mut chunk = self.chunk(json!([]));
            chunk["usage"] = Self::usage(totals);
            chunk["timings"] = Self::timings(totals);
            out.extend(event(&chunk));
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        out
    }

    fn error(&self, message: &str) -> Vec<u8> {
        event(&shape(&Refusal::broken(message)))
    }

    fn whole(&self, totals: &Totals, whole: &Whole) -> Value {
        if self.kind == Kind::Own {
            return self.own_end(totals, &whole.text);
        }
        let choice = match self.kind {
            Kind::Chat => {
                // What the request had prefilled is repeated; only a stream leaves it out.
                let content = format!("{}{}", whole.so_far, whole.text);
                let mut message = json!({"role": "assistant", "content": content});
                if !whole.thoughts.is_empty() {
                    message["reasoning_content"] = whole.thoughts.as_str().into();
                }
                if !whole.called.is_empty() {
                    let called = whole.called.iter().enumerate();
                    message["tool_calls"] = called.map(|(number, call)| self.called(number, call)).collect();
                }
                if !whole.calls.is_empty() {
                    message["tool_calls"] = whole.calls.clone().into();
                }
                json!({"index": 0, "message": message, "finish_reason": reason(totals)})
            }
            _ => json!({"index": 0, "text": whole.text, "logprobs": null, "finish_reason": reason(totals)}),
        };
        let mut reply = self.chunk(json!([choice]));
        if self.kind == Kind::Chat {
            reply["object"] = "chat.completion".into();
        }
        reply["usage"] = Self::usage(totals);
        reply["timings"] = Self::timings(totals);
        reply
    }

    fn refuse(&self, refusal: &Refusal) -> Response {
        refuse(refusal)
    }

    fn runs_on(&self) -> bool {
        true
    }
}

fn reason(totals: &Totals) -> &'static str {
    if totals.called && totals.reason == "stop" { "tool_calls" } else { totals.reason }
}

fn event(value: &Value) -> Vec<u8> {
    format!("data: {value}\n\n").into_bytes()
}

/// An error as llama.cpp's server says it, with a status or in mid-stream.
fn shape(refusal: &Refusal) -> Value {
    let kind = match refusal.status {
        StatusCode::BAD_REQUEST => "invalid_request_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable_error",
        _ => "server_error",
    };
    json!({"error": {"code": refusal.status.as_u16(), "message": refusal.message, "type": kind}})
}

pub fn refuse(refusal: &Refusal) -> Response {
    ask::json(refusal.status, &shape(refusal))
}
