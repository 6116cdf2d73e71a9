//! Messages as they come in, decoded.

use std::marker::PhantomData;
use std::time::Instant;

use async_nats::{Message, Subject};
use futures::{FutureExt, StreamExt};
use tracing::warn;

use crate::id::Inbox;
use crate::message::Payload;
use crate::seldom::Seldom;

/// A stream of messages of one type.
pub struct Subscription<M> {
    inner: async_nats::Subscriber,
    kind: PhantomData<fn() -> M>,
}

/// A message that came in.
pub struct Received<M> {
    /// What was said; a question that cannot be read still wants an answer.
    pub message: Result<M, serde_json::Error>,
    /// Where the answer goes, if one is wanted.
    pub reply: Option<Inbox>,
    /// Where the message arrived.
    pub subject: Address,
}

/// A subject as it came in; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Subject);

impl std::ops::Deref for Address {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<M: Payload> Subscription<M> {
    pub(super) fn new(inner: async_nats::Subscriber) -> Self {
        Self { inner, kind: PhantomData }
    }

    /// The next message; `None` once the connection is closed for good. Cancel-safe.
    pub async fn next(&mut self) -> Option<Received<M>> {
        self.inner.next().await.map(receive)
    }

    /// The next message that can be read; others are logged and passed over. For what wants no answer. Cancel-safe.
    pub async fn next_readable(&mut self) -> Option<M> {
        loop {
            let received = self.next().await?;
            match received.message {
                Ok(message) => return Some(message),
                Err(error) => passed_over(&received.subject, &error),
            }
        }
    }

    /// A message that is here already.
    pub fn ready(&mut self) -> Option<Received<M>> {
        self.inner.next().now_or_never().flatten().map(receive)
    }
}

fn receive<M: Payload>(message: Message) -> Received<M> {
    let reply = message.reply.as_ref().and_then(|reply| match Inbox::try_from(reply.to_string()) {
        Ok(inbox) => Some(inbox),
        Err(error) => {
            static TOLD: Seldom = Seldom::new();
            if let Some(left_out) = TOLD.may_say(Instant::now()) {
                warn!(subject = %message.subject, %error, left_out, "a question with a reply subject that is no inbox");
            }
            None
        }
    });
    Received { message: decode(&message), reply, subject: Address(message.subject) }
}

/// Tells of what cannot be read: seldom, since others can cause it, and only where it is wrong. The error's own words quote what
/// was sent, which may be a prompt.
pub fn passed_over(what: &str, error: &serde_json::Error) {
    static TOLD: Seldom = Seldom::new();
    if let Some(left_out) = TOLD.may_say(Instant::now()) {
        let (wrong, at) = (error.classify(), error.column());
        warn!(what, ?wrong, at, left_out, "passed over an unreadable message");
    }
}

/// Reads a payload; an empty one is an empty object, so that `nats req SUBJECT ''` asks a question.
pub(super) fn decode<M: Payload>(message: &Message) -> Result<M, serde_json::Error> {
    let payload: &[u8] = if message.payload.is_empty() { b"{}" } else { &message.payload };
    let mut decoded = M::read(payload)?;
    if let Some(headers) = &message.headers {
        decoded.take_headers(headers);
    }
    Ok(decoded)
}
