//! A stream of server-sent events that is read at the test's own pace. Dropping it hangs up.

use std::{
    io,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

use super::{
    http::{Call, Client, Reply},
    transcript::{Event, Transcript},
};

/// The longest silence that a test puts up with, comments included.
const LIMIT: Duration = Duration::from_secs(60);

pub struct Stream {
    state: State,
    text: Vec<u8>,
    seen: Transcript,
    /// Events that [`Stream::next`] has given out.
    read: usize,
}

enum State {
    /// The head of the reply has not come; an edge that knows nothing to say yet holds it back.
    Asked(AbortOnDropHandle<io::Result<Reply>>),
    Open(Reply),
    Over,
}

impl Stream {
    /// Sends the request, and waits for nothing.
    pub fn open(call: Call) -> Self {
        let began = Instant::now();
        let (events, comments) = (Vec::new(), Vec::new());
        let seen = Transcript { status: 0, began, events, comments, refusal: None, broken: None };
        let state = State::Asked(AbortOnDropHandle::new(tokio::spawn(call.send())));
        Self { state, text: Vec::new(), seen, read: 0 }
    }

    /// The status of the reply; waits for it. 0 if there is none. Cancel-safe.
    pub async fn status(&mut self) -> u16 {
        if let State::Asked(asked) = &mut self.state {
            let reply = asked.await.expect("a request does not panic");
            self.state = State::Over;
            match reply {
                Ok(reply) if reply.header("content-type").starts_with("text/event-stream") => {
                    self.seen.status = reply.status();
                    self.state = State::Open(reply);
                }
                Ok(reply) => {
                    self.seen.status = reply.status();
                    self.seen.refusal = Some(reply.json().await);
                }
                Err(error) => self.seen.broken = Some(error.to_string()),
            }
        }
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

    /// Closes the connection, and goes on after the last event that was seen, at the edge of `client`.
    ///
    /// # Panics
    /// When no event has told the task's id.
    pub fn rejoin(self, client: &Client) -> Self {
        let first = self.seen.events.first().expect("an event before the cut");
        let task = first.json["task_id"].as_str().expect("an event says its task");
        let last = self.seen.events.iter().rev().find_map(|event| event.id).unwrap_or_default();
        let call = client.get(&format!("/task/{task}/stream")).header("last-event-id", &last.to_string());
        let state = State::Asked(AbortOnDropHandle::new(tokio::spawn(call.send())));
        Self { state, text: Vec::new(), seen: self.seen, read: self.read }
    }

    /// Closes the connection, and keeps what was seen.
    pub fn hang_up(self) -> Transcript {
        self.seen
    }

    /// Reads once; `false` when nothing more can come. Cancel-safe.
    async fn pull(&mut self) -> bool {
        self.status().await;
        let State::Open(reply) = &mut self.state else { return false };
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
        self.state = State::Over;
        false
    }

    fn take_frames(&mut self) {
        while let Some(at) = self.text.windows(2).position(|two| two == b"\n\n") {
            let frame: Vec<u8> = self.text.drain(..at + 2).collect();
            let frame = String::from_utf8(frame).expect("the stream is UTF-8");
            let (at, mut id) = (Instant::now(), None);
            for line in frame.lines().filter(|line| !line.is_empty()) {
                if let Some(comment) = line.strip_prefix(':') {
                    self.seen.comments.push(comment.trim().to_owned());
                } else if let Some(number) = line.strip_prefix("id: ") {
                    id = Some(number.parse().unwrap_or_else(|error| panic!("{error} in {line:?}")));
                } else if let Some(raw) = line.strip_prefix("data: ") {
                    let json = serde_json::from_str(raw).unwrap_or_else(|error| panic!("{error} in {raw:?}"));
                    self.seen.events.push(Event { raw: raw.to_owned(), id: id.take(), json, at });
                } else {
                    panic!("neither data nor an id nor a comment: {line:?}");
                }
            }
        }
    }
}
