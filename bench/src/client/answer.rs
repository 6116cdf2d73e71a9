//! An answer as it arrives, read cheaply: the usual shapes of an event by a search for the text, all others as JSON.

use memchr::{memchr, memmem};
use serde_json::Value;

use crate::check::{Check, Faults};

/// How the text of an answer is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/v1/chat/completions`.
    OpenAi,
    /// The edge's own `/task` and `/task/stream`.
    Task,
}

impl Dialect {
    /// What stands before the text in an event.
    fn key(self) -> &'static [u8] {
        match self {
            Self::OpenAi => b"\"content\":\"",
            Self::Task => b"\"token\":\"",
        }
    }

    fn text(self, event: &Value) -> Option<&str> {
        match self {
            Self::OpenAi => event["choices"][0]["delta"]["content"].as_str(),
            Self::Task => event["token"].as_str(),
        }
    }

    fn whole(self, reply: &Value) -> Option<&str> {
        match self {
            Self::OpenAi => reply["choices"][0]["message"]["content"].as_str(),
            Self::Task => reply["content"].as_str(),
        }
    }
}

/// One streamed answer.
pub struct Answer {
    dialect: Dialect,
    check: Check,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    ended: bool,
    error: Option<String>,
}

impl Answer {
    pub fn new(dialect: Dialect, tokens: u64) -> Self {
        Self { dialect, check: Check::new(tokens), line: Vec::new(), ended: false, error: None }
    }

    /// Takes bytes of the body; says how many tokens they completed.
    pub fn take(&mut self, mut bytes: &[u8]) -> u64 {
        let mut tokens = 0;
        while let Some(end) = memchr(b'\n', bytes) {
            if self.line.is_empty() {
                tokens += self.read_line(&bytes[..end]);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&bytes[..end]);
                tokens += self.read_line(&line);
                line.clear();
                self.line = line;
            }
            bytes = &bytes[end + 1..];
        }
        self.line.extend_from_slice(bytes);
        tokens
    }

    /// Whether anything was wrong so far: what is missing before the last token counts, what is to come does not.
    pub fn is_broken(&self) -> bool {
        self.error.is_some() || self.check.is_broken()
    }

    /// What was wrong with it, and why it failed if it did.
    pub fn end(self) -> (Faults, Option<String>) {
        let unfinished = || (!self.ended).then(|| "the stream ended without its last event".to_owned());
        let error = self.error.clone().or_else(unfinished);
        (self.check.end(), error)
    }

    fn read_line(&mut self, line: &[u8]) -> u64 {
        // Empty lines end events; those with a colon are comments.
        let Some(event) = line.strip_prefix(b"data:") else { return 0 };
        let event = event.trim_ascii();
        if event == b"[DONE]" {
            self.ended = true;
            return 0;
        }
        match quick(self.dialect, event) {
            Some(text) => self.check.take(text),
            None => self.read_event(event),
        }
    }

    fn read_event(&mut self, event: &[u8]) -> u64 {
        let Ok(event) = serde_json::from_slice::<Value>(event) else {
            self.error.get_or_insert_with(|| "an event is no JSON".to_owned());
            return 0;
        };
        if let Some(error) = event.get("error").filter(|error| !error.is_null()) {
            self.error.get_or_insert_with(|| shorten(&error.to_string()));
        }
        if self.dialect == Dialect::Task && event["done"] == true {
            self.ended = true;
        }
        self.dialect.text(&event).map_or(0, |text| self.check.take(text.as_bytes()))
    }
}

/// The text of an event that is nothing but a text: no end, no error, no escape.
fn quick(dialect: Dialect, event: &[u8]) -> Option<&[u8]> {
    let key = dialect.key();
    let start = memmem::find(event, key)? + key.len();
    let rest = &event[start..];
    let end = memchr(b'"', rest)?;
    let text = &rest[..end];
    // Empty texts are in first and last events, which are read in full.
    let ordinary = match dialect {
        Dialect::OpenAi => true,
        Dialect::Task => memmem::find(&rest[end..], b"\"done\":false").is_some(),
    };
    (is_plain(text) && ordinary).then_some(text)
}

/// Judges a reply in one piece.
pub fn judge(dialect: Dialect, tokens: u64, reply: &[u8]) -> (Faults, Option<String>) {
    let mut check = Check::new(tokens);
    if let Some(text) = quick_whole(reply) {
        check.take(text);
        return (check.end(), None);
    }
    let parsed: Option<Value> = serde_json::from_slice(reply).ok();
    let text = parsed.as_ref().and_then(|reply| dialect.whole(reply));
    let error = match (&parsed, text) {
        (_, Some(_)) => None,
        (Some(reply), None) => Some(shorten(&reply.to_string())),
        (None, _) => Some("the reply is no JSON".to_owned()),
    };
    check.take(text.unwrap_or_default().as_bytes());
    (check.end(), error)
}

fn quick_whole(reply: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"\"content\":\"";
    let start = memmem::find(reply, KEY)? + KEY.len();
    let end = memchr(b'"', &reply[start..])?;
    let text = &reply[start..start + end];
    is_plain(text).then_some(text)
}

/// Whether a text looks like tokens and stands in the JSON as it is.
fn is_plain(text: &[u8]) -> bool {
    text.first() == Some(&b't') && text.last() == Some(&b' ') && memchr(b'\\', text).is_none()
}

/// The beginning of what somebody else said, for a report.
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 200;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

#[cfg(test)]
mod tests;
