//! All that a client saw of one task, and whether it is what was promised.

use std::time::{Duration, Instant};

use serde_json::Value;

/// One `data:` event.
#[derive(Clone, Debug)]
pub struct Event {
    /// As it stood on the wire, after `data: `.
    pub raw: String,
    /// Its `id:`; signs of life have none.
    pub id: Option<u64>,
    pub json: Value,
    pub at: Instant,
}

/// A stream from its head to its end.
#[derive(Clone, Debug)]
pub struct Transcript {
    pub status: u16,
    pub began: Instant,
    pub events: Vec<Event>,
    /// SSE comments, without the colon.
    pub comments: Vec<String>,
    /// The body of a reply that was no stream.
    pub refusal: Option<Value>,
    /// Why the connection broke off, if it did.
    pub broken: Option<String>,
}

impl Transcript {
    /// The tokens, one for each event that is not the end.
    pub fn tokens(&self) -> Vec<&str> {
        self.pieces().map(|event| event.json["token"].as_str().unwrap_or("<no token>")).collect()
    }

    /// The answer as the client can put it together.
    pub fn content(&self) -> String {
        self.tokens().concat()
    }

    /// The nodes that the tokens came from, in order, each once per turn.
    pub fn nodes(&self) -> Vec<String> {
        let mut nodes: Vec<String> = self.pieces().map(|event| text(&event.json["routed_to"])).collect();
        nodes.dedup();
        nodes
    }

    /// How many events said `done`.
    pub fn ends(&self) -> usize {
        self.events.iter().filter(|event| is_end(event)).count()
    }

    /// The last event.
    ///
    /// # Panics
    /// When it is not the end, or there is none.
    pub fn last(&self) -> &Value {
        let last = self.events.last().filter(|event| is_end(event));
        &last.unwrap_or_else(|| panic!("the stream has no end: {}", self.summary())).json
    }

    /// What the client is told instead of, or after, an answer.
    pub fn error(&self) -> Option<String> {
        let end = self.refusal.as_ref().or_else(|| self.events.last().map(|event| &event.json))?;
        (end["success"] == Value::Bool(false)).then(|| text(&end["error"]))
    }

    /// The error's code, empty without an error.
    pub fn code(&self) -> String {
        let end = self.refusal.as_ref().or_else(|| self.events.last().map(|event| &event.json));
        end.map(|end| end["code"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    }

    /// How many attempts the end speaks of.
    pub fn attempts(&self) -> u64 {
        self.last()["attempts"].as_u64().unwrap_or_else(|| panic!("no attempts in {}", self.last()))
    }

    /// The time from one token to the next.
    pub fn gaps(&self) -> Vec<Duration> {
        let times: Vec<Instant> = self.pieces().map(|event| event.at).collect();
        times.windows(2).map(|two| two[1] - two[0]).collect()
    }

    pub fn longest_gap(&self) -> Duration {
        self.gaps().into_iter().max().unwrap_or_default()
    }

    /// Checks that the stream is a whole answer with one end and no error.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn assert_answered(&self) {
        assert!(self.status == 200 && self.broken.is_none(), "no answer: {}", self.summary());
        assert_eq!(self.ends(), 1, "not exactly one end: {}", self.summary());
        assert_eq!(self.error(), None, "an error: {}", self.summary());
        let _ = self.last();
        self.assert_numbered();
    }

    /// Checks that the events' ids rise by one, so that a client can go on from any of them.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    fn assert_numbered(&self) {
        let ids: Vec<u64> = self.events.iter().filter_map(|event| event.id).collect();
        let rise = ids.windows(2).all(|two| two[1] == two[0] + 1);
        assert!(rise && self.events.last().is_none_or(|last| last.id.is_some()), "ids {ids:?}");
    }

    /// Checks that each of the engine's `count` scripted tokens came once, in order, and nothing else.
    ///
    /// # Panics
    /// When one is missing, doubled or out of order.
    #[track_caller]
    pub fn assert_every_token_once(&self, count: u64) {
        self.assert_answered();
        let wanted: String = (0..count).map(scripted).collect();
        assert_eq!(self.content(), wanted, "{}", self.summary());
    }

    /// The whole in a few lines, for a failed test.
    pub fn summary(&self) -> String {
        let last = self.events.last().map(|event| event.raw.as_str());
        format!(
            "status {}, {} events, {} ends, nodes {:?}, broken {:?}, refusal {:?}, last event {last:?}",
            self.status,
            self.events.len(),
            self.ends(),
            self.nodes(),
            self.broken,
            self.refusal.as_ref().map(Value::to_string),
        )
    }

    fn pieces(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| !is_end(event))
    }
}

fn is_end(event: &Event) -> bool {
    event.json["done"] == Value::Bool(true)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The token that the scripted engine makes at this place of an answer.
pub fn scripted(index: u64) -> String {
    format!("t{index} ")
}
