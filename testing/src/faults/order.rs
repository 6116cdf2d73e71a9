//! What a client asks for: a numbered prompt with orders for the scripted engine.

use serde_json::{Map, Value, json};
use tokio::{sync::watch, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::setting::DEADLINE;
use crate::client::Stream;

/// One task to ask for.
#[derive(Clone, Debug)]
pub struct Order {
    pub tokens: u64,
    orders: String,
    fields: Map<String, Value>,
}

impl Order {
    /// An answer of this length, as fast as it goes.
    pub fn tokens(tokens: u64) -> Self {
        Self { tokens, orders: String::new(), fields: Map::new() }
    }

    /// Milliseconds from token to token.
    #[must_use]
    pub fn delay(self, millis: u64) -> Self {
        self.with(&format!("[delay={millis}]"))
    }

    /// A further order for the engine, such as `[fault=error@5]`.
    #[must_use]
    pub fn with(mut self, order: &str) -> Self {
        self.orders.push_str(order);
        self
    }

    /// A further field of the request.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// The request's body. The number tells the engines' ledgers which task it is.
    pub fn body(&self, number: u64) -> Value {
        let mut body = self.fields.clone();
        let prompt = format!("count [task={number}][tokens={}]{}", self.tokens, self.orders);
        body.insert("prompt".to_owned(), json!(prompt));
        Value::Object(body)
    }
}

/// A task that a client is waiting for.
pub struct Asked {
    pub number: u64,
    pub tokens: u64,
    pub stream: Stream,
}

impl Asked {
    /// From now on read as it comes, whatever else goes on: only so are the times of its tokens true.
    pub fn live(mut self) -> Live {
        let (read, progress) = watch::channel(Progress::default());
        let number = self.number;
        let reading = tokio::spawn(async move {
            let all = async {
                while self.stream.next().await.is_some() {
                    let seen = self.stream.so_far();
                    read.send_replace(Progress { tokens: seen.tokens().len(), nodes: seen.nodes() });
                }
            };
            // A stream without an end is judged by whoever awaits it.
            let _ = timeout(DEADLINE, all).await;
            self
        });
        Live { number, reading: AbortOnDropHandle::new(reading), progress }
    }
}

#[derive(Clone, Debug, Default)]
struct Progress {
    tokens: usize,
    nodes: Vec<String>,
}

/// A task whose answer is being read.
pub struct Live {
    pub number: u64,
    reading: AbortOnDropHandle<Asked>,
    progress: watch::Receiver<Progress>,
}

impl Live {
    /// Waits until this many tokens have come, and says which node gave the last; the end of the stream ends the wait.
    pub async fn read(&mut self, tokens: u64) -> String {
        let there = |progress: &Progress| progress.tokens as u64 >= tokens && !progress.nodes.is_empty();
        // An error is the end of the stream; what was seen last stays readable.
        let _ = self.progress.wait_for(there).await;
        self.progress.borrow().nodes.last().cloned().unwrap_or_default()
    }

    /// The tokens that have come.
    pub fn tokens(&self) -> u64 {
        self.progress.borrow().tokens as u64
    }

    /// Waits for the end.
    pub async fn done(self) -> Asked {
        self.reading.await.expect("reading does not panic")
    }
}
