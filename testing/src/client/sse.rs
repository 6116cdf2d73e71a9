//! A stream of server-sent events that is read at the test's own pace. Dropping it hangs up.

use std::{
    io,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    http::{Call, Reply},
    transcript::{Event, Transcript},
};

/// The longest silence that a test puts up with, comments included.
const LIMIT: Duration = Duration::from_secs(60);

pub struct Stream {
    reply: Option<Reply>,
    text: Vec<u8>,
    seen: Transcript,
    /// Events that [`Stream::next`] has given out.
    read: usize,
}

impl Stream {
    /// Sends the request and waits for the head of the reply; a refusal is read whole.
    pub async fn open(call: Call) -> Self {
        let began = Instant::now();
        let (events, comments) = (Vec::new(), Vec::new());
        let seen = Transcript { status: 0, began, events, comments, refusal: None, broken: None };
        let mut stream = Self { reply: None, text: Vec::new(), seen, read: 0 };
        match call.send().await {
            Ok(reply) => {
                stream.seen.status = reply.status();
                if reply.header("content-type").starts_with("text/event-stream") {
                    stream.reply = Some(reply);
                } else {
                    stream.seen.refusal = Some(reply.json().await);
                }
            }
            Err(error) => stream.seen.broken = Some(error.to_string()),
        }
        stream
    }

    pub fn status(&self) -> u16 {
        self.seen.status
    }

    /// What was seen so far.
    pub fn so_far(&self) -> &Transcript {
        &self.seen
    }

    /// The next event; `None` when there are no more. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        while self.read == self.seen.events.len() {
            if !self.pull().await {
                return None;
            }
        }
        self.read += 1;
        Some(self.seen.events[self.read - 1].clone())
    }

    /// The next token; `None` at the end. Cancel-safe.
    pub async fn next_token(&mut self) -> Option<String> {
        let event = self.next().await?;
        let token = event.json["token"].as_str().filter(|_| event.json["done"] == Value::Bool(false));
        token.map(str::to_owned)
    }

    /// Reads until `count` tokens are there in all.
    ///
    /// # Panics
    /// When the stream ends before.
    pub async fn read_tokens(&mut self, count: usize) {
        while self.seen.tokens().len() < count {
            assert!(self.next().await.is_some(), "wanted {count} tokens: {}", self.seen.summary());
        }
    }

    /// The node that answers; waits for the first token.
    ///
    /// # Panics
    /// When the stream ends without one.
    pub async fn node(&mut self) -> String {
        while self.seen.nodes().is_empty() {
            assert!(self.pull().await, "no token came: {}", self.seen.summary());
        }
        self.seen.nodes().pop().expect("just seen")
    }

    /// Waits for a comment that contains `text`.
    ///
    /// # Panics
    /// When the stream ends without one.
    pub async fn comment(&mut self, text: &str) -> String {
        loop {
            if let Some(comment) = self.seen.comments.iter().find(|comment| comment.contains(text)) {
                return comment.clone();
            }
            assert!(self.pull().await, "no comment with {text:?}: {}", self.seen.summary());
        }
    }

    /// Reads to the end.
    pub async fn rest(mut self) -> Transcript {
        while self.pull().await {}
        self.seen
    }

    /// Closes the connection, and keeps what was seen.
    pub fn hang_up(self) -> Transcript {
        self.seen
    }

    /// Reads once; `false` when nothing more can come. Cancel-safe.
    async fn pull(&mut self) -> bool {
        let Some(reply) = &mut self.reply else { return false };
        let read = tokio::time::timeout(LIMIT, reply.chunk()).await;
        let silence = || Err(io::Error::other(format!("nothing came for {LIMIT:?}")));
        match read.unwrap_or_else(|_| silence()) {
            Ok(Some(bytes)) => {
                self.text.extend_from_slice(&bytes);
                self.take_frames();
                return true;
            }
            Ok(None) if self.text.is_empty() => {}
            Ok(None) => self.seen.broken = Some("the stream ended within an event".to_owned()),
            Err(error) => self.seen.broken = Some(error.to_string()),
        }
        self.reply = None;
        false
    }

    fn take_frames(&mut self) {
        while let Some(at) = self.text.windows(2).position(|two| two == b"\n\n") {
            let frame: Vec<u8> = self.text.drain(..at + 2).collect();
            let frame = String::from_utf8(frame).expect("the stream is UTF-8");
            let at = Instant::now();
            for line in frame.lines().filter(|line| !line.is_empty()) {
                if let Some(comment) = line.strip_prefix(':') {
                    self.seen.comments.push(comment.trim().to_owned());
                } else if let Some(raw) = line.strip_prefix("data: ") {
                    let json = serde_json::from_str(raw).unwrap_or_else(|error| panic!("{error} in {raw:?}"));
                    self.seen.events.push(Event { raw: raw.to_owned(), json, at });
                } else {
                    panic!("neither data nor a comment: {line:?}");
                }
            }
        }
    }
}
