//! Messages as they come in, decoded.

use std::time::Duration;

use async_nats::{Message, Subject};
use futures::{FutureExt, StreamExt};
use serde::de::Error as _;
use tracing::warn;

use crate::id::Inbox;
use crate::message::Payload;
use crate::rarely::Rarely;
use crate::subject::Origin;

/// Whoever sends what cannot be read, or what is not his, may send much of it.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// A stream of messages of one type.
pub struct Subscription<M> {
    inner: async_nats::Subscriber,
    origin: Origin<M>,
}

/// A message that came in.
pub struct Received<M> {
    /// What was said; a question that cannot be read still wants an answer. What says that it is from somebody else than
    /// its subject counts as unreadable.
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
    pub(super) fn new(inner: async_nats::Subscriber, origin: Origin<M>) -> Self {
        Self { inner, origin }
    }

    /// The next message; `None` once the connection is closed for good. Cancel-safe.
    pub async fn next(&mut self) -> Option<Received<M>> {
        let message = self.inner.next().await?;
        Some(self.receive(message))
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
        let message = self.inner.next().now_or_never().flatten()?;
        Some(self.receive(message))
    }

    fn receive(&self, message: Message) -> Received<M> {
        let reply = message.reply.as_ref().and_then(|reply| match Inbox::try_from(reply.to_string()) {
            Ok(inbox) => Some(inbox),
            Err(error) => {
                static TOLD: Rarely = Rarely::new(SAID_EVERY);
                if let Some(left_out) = TOLD.now() {
                    warn!(subject = %message.subject, %error, left_out, "a question with a reply subject that is no inbox");
                }
                None
            }
        });
        let decoded = decode(&message).and_then(|decoded| said_by(&message.subject, &self.origin, decoded));
        Received { message: decoded, reply, subject: Address(message.subject) }
    }
}

/// The message, if it is from who it says.
fn said_by<M>(subject: &Subject, origin: &Origin<M>, message: M) -> Result<M, serde_json::Error> {
    static TOLD: Rarely = Rarely::new(SAID_EVERY);
    let wanted = origin.as_ref().map(|origin| origin(&message));
    match wanted {
        Some(wanted) if wanted != subject.as_str() => {
            if let Some(left_out) = TOLD.now() {
                warn!(%subject, wanted, left_out, "a message is not from who it says: that would have come by another subject");
            }
            Err(serde_json::Error::custom("it is not from who it says"))
        }
        _ => Ok(message),
    }
}

/// Tells of what cannot be read: rarely, since others can cause it, and only where it is wrong. The error's own words quote what
/// was sent, which may be a prompt.
pub fn passed_over(what: &str, error: &serde_json::Error) {
    static TOLD: Rarely = Rarely::new(SAID_EVERY);
    if let Some(left_out) = TOLD.now() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TaskId;
    use crate::message::{CacheDigest, Pulse};
    use crate::subject::{self, Filter};

    /// What a subscription makes of this message, come by this subject.
    fn heard<M: Payload>(filter: &Filter<M>, subject: &str, said: serde_json::Value) -> Result<M, String> {
        let message = serde_json::from_value(said).unwrap();
        said_by(&Subject::from(subject), &filter.origin(), message).map_err(|error| error.to_string())
    }

    #[test]
    fn a_payload_that_names_another_than_its_subject_is_not_believed() {
        let digest = |node| serde_json::json!({ "node": node, "boot": "b" });
        let caches = subject::caches();
        assert!(heard::<CacheDigest>(&caches, "_echo.cache.node-a", digest("node-a")).is_ok());
        let forged = heard::<CacheDigest>(&caches, "_echo.cache.node-a", digest("node-b")).unwrap_err();
        assert_eq!(forged, "it is not from who it says", "what was sent is not quoted");

        let edge = "e1".parse().unwrap();
        let pulses = subject::pulses(&edge);
        let by = |role: &str| serde_json::json!({ "holder": { "role": role, "id": "x" }, "boot": "b", "held": [] });
        assert!(heard::<Pulse>(&pulses, "_echo.pulse.e1.agent.x", by("agent")).is_ok());
        assert!(heard::<Pulse>(&pulses, "_echo.pulse.e1.agent.x", by("orchestrator")).is_err());
        assert!(heard::<Pulse>(&pulses, "_echo.pulse.e1.agent.y", by("agent")).is_err());
    }

    #[test]
    fn an_edge_is_believed_about_tasks_of_its_own_only() {
        let [own, other] = ["e1", "e2"].map(|edge| TaskId::home_of(&edge.parse().unwrap()));
        let task = TaskId::random_at(&"e1".parse().unwrap());
        let cancel = || serde_json::json!({ "task": task, "attempt": 1 });
        let said = || serde_json::json!({ "task": task, "request": { "kind": "generate", "prompt": "hi" } });
        let node = "node-a".parse().unwrap();
        for (home, is_believed) in [(own, true), (other, false)] {
            let at_node = format!("echo.node.node-a.cancel.{home}");
            let (cancelled, submitted) =
                (format!("echo.task.cancel.{home}"), format!("echo.task.submit.{home}"));
            assert_eq!(
                heard(&subject::cancels_at(&node), &at_node, cancel()).is_ok(),
                is_believed,
                "{at_node}"
            );
            assert_eq!(
                heard(&subject::cancelled_tasks(), &cancelled, cancel()).is_ok(),
                is_believed,
                "{cancelled}"
            );
            assert_eq!(
                heard(&subject::submissions(), &submitted, said()).is_ok(),
                is_believed,
                "{submitted}"
            );
        }
    }
}
