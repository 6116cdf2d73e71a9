//! What is asked, as the bytes that go over the wire.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::Dialect;

/// The model of the scripted engines.
pub const MODEL: &str = "scripted";

/// An answer that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub tokens: u64,
    /// Between two tokens, in milliseconds.
    pub delay: u64,
    pub stream: bool,
}

impl Ask {
    /// The request in a system's dialect. The scripted engine reads the orders in the prompt.
    pub fn bytes(self, dialect: Dialect, to: SocketAddr) -> Vec<u8> {
        let prompt = format!("count [tokens={}] [delay={}]", self.tokens, self.delay);
        let (path, body) = match dialect {
            Dialect::OpenAi => ("/v1/chat/completions", self.openai(&prompt)),
            Dialect::Task if self.stream => ("/task/stream", task(&prompt)),
            Dialect::Task => ("/task", task(&prompt)),
        };
        let body = body.to_string();
        format!(
            "POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn openai(self, prompt: &str) -> Value {
        json!({"model": MODEL, "messages": [{"role": "user", "content": prompt}], "stream": self.stream})
    }
}

fn task(prompt: &str) -> Value {
    json!({"prompt": prompt, "model_hint": MODEL})
}
