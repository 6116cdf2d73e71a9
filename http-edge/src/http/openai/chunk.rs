//! One chunk of a stream, in OpenAI's order of fields. Typed, since there is one for each token.

use serde::Serialize;
use serde_json::Value;

/// Which build of the mesh has answered.
pub const FINGERPRINT: &str = concat!("echo-", env!("CARGO_PKG_VERSION"));

/// What all chunks of an answer begin with.
#[derive(Serialize)]
pub struct Head<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub system_fingerprint: &'static str,
}

impl Head<'_> {
    /// The event of a chunk up to its choices: written once for all chunks of an answer.
    pub fn event(&self) -> Vec<u8> {
        let mut event = b"data: ".to_vec();
        write(self, &mut event);
        let _ = event.pop();
        event.extend_from_slice(br#","choices":"#);
        event
    }
}

/// The rest of a chunk. `usage` is absent unless asked for, and null in all chunks but the last.
pub fn finish(choices: &[Choice<'_>], usage: Option<&Value>, out: &mut Vec<u8>) {
    write(&choices, out);
    if let Some(usage) = usage {
        out.extend_from_slice(br#","usage":"#);
        write(usage, out);
    }
    out.extend_from_slice(b"}\n\n");
}

fn write(part: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, part).expect("texts and numbers are JSON");
}

/// What one chunk adds: a delta to a conversation, or text.
#[derive(Default, Serialize)]
pub struct Choice<'a> {
    pub index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<Delta<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    pub logprobs: Option<Value>,
    pub finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
pub struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<Value>,
}
