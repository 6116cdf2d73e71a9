//! What a client asks for: a numbered prompt with orders for the scripted engine.

use serde_json::{Map, Value, json};

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
