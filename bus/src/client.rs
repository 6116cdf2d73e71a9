//! The typed client of the bus. Payloads are checked and counted here, so that no part handles bytes or subjects.

mod access;
mod authority;
mod auto;
mod call_error;
mod connect;
mod connect_error;
mod guest;
mod inspect;
mod link;
mod replies;
mod subscription;

pub use access::{Access, AccessArgs, AccessError, Login};
pub use authority::{Authority, BROKER_NAME, NoCertificate, guest_config};
pub use call_error::{CallError, PublishError};
pub use connect::Options;
pub use connect_error::ConnectError;
pub use guest::{Guest, NotLetIn, knock};
pub use inspect::Inspection;
pub use link::Link;
pub use subscription::{Address, Received, Subscription, passed_over};

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;

use crate::id::{BootId, Inbox, Peer};
use crate::message::{Empty, Frame, Payload, WrittenAs, write};
use crate::subject::{Call, Filter, Subject};
use replies::Replies;

/// A connection to the bus; cheap to clone. Dropping the last clone loses what was not flushed: see [`Bus::close`].
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    client: async_nats::Client,
    me: Peer,
    boot: BootId,
    link: watch::Receiver<Link>,
    replies: Replies,
}

/// Why there is no subscription.
#[derive(Debug, thiserror::Error)]
#[error("cannot subscribe to {subject}")]
pub struct SubscribeError {
    subject: String,
    #[source]
    source: async_nats::SubscribeError,
}

impl Bus {
    /// Who this process is on the bus.
    pub fn me(&self) -> &Peer {
        &self.0.me
    }

    /// This start of this process.
    pub fn boot(&self) -> &BootId {
        &self.0.boot
    }

    /// The state of the connection, to be watched.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.0.link.clone()
    }

    /// Whether the broker is connected now.
    pub fn is_connected(&self) -> bool {
        self.0.link.borrow().up
    }

    /// The largest payload that the broker takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.0.client.max_payload()
    }

    /// Says something. Returns before the broker has it; what is said while disconnected is refused, not queued.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish<M: Payload>(&self, to: &Subject<M>, message: &M) -> Result<(), PublishError> {
        self.send(to.raw(), None, message.headers(), message).await
    }

    /// Sends a frame to the edge that owns its task.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn send_frame(&self, to: &Inbox, frame: &Frame) -> Result<(), PublishError> {
        self.send(to.as_str().to_owned().into(), None, None, frame).await
    }

    /// Answers a question. `None` is a question that wants no answer.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn answer<A: Payload>(&self, to: Option<&Inbox>, answer: &A) -> Result<(), PublishError> {
        match to {
            Some(inbox) => self.send(inbox.as_str().to_owned().into(), None, answer.headers(), answer).await,
            None => Ok(()),
        }
    }

    /// Asks and waits for one answer, for `within` at most or until the connection breaks.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<Q: Payload, A: Payload>(
        &self,
        to: &Call<Q, A>,
        question: &impl WrittenAs<Q>,
        within: Duration,
    ) -> Result<A, CallError> {
        let pending = self.0.replies.expect();
        let mut link = self.link();
        let epoch = link.borrow_and_update().epoch;
        self.send(to.raw(), Some(pending.subject()), question.original().headers(), question).await?;
        let broken = link.wait_for(|link| !link.up || link.epoch != epoch);
        let answer = tokio::select! {
            biased;
            answer = tokio::time::timeout(within, pending.answer()) => answer.ok().flatten(),
            _ = broken => None,
        };
        let answer = answer.ok_or_else(|| CallError::Unanswered(to.to_string()))?;
        if answer.payload.is_empty() && answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
            return Err(CallError::NoResponders(to.to_string()));
        }
        subscription::decode(&answer).map_err(|error| CallError::Undecodable(to.to_string(), error))
    }

    /// Listens. Not in force before a [`Bus::round_trip`] has come back.
    ///
    /// # Errors
    /// When the connection is closed for good.
    pub async fn subscribe<M: Payload>(&self, to: &Filter<M>) -> Result<Subscription<M>, SubscribeError> {
        let subscriber = self.0.client.subscribe(to.raw()).await;
        let subscriber = subscriber.map(|inner| Subscription::new(inner, to.origin()));
        subscriber.map_err(|source| SubscribeError { subject: to.to_string(), source })
    }

    /// Listens, shared with all others of the same queue group: each message reaches one of them.
    ///
    /// # Errors
    /// When the connection is closed for good.
    pub async fn subscribe_in<M: Payload>(
        &self,
        to: &Filter<M>,
        group: &str,
    ) -> Result<Subscription<M>, SubscribeError> {
        let subscriber = self.0.client.queue_subscribe(to.raw(), group.to_owned()).await;
        let subscriber = subscriber.map(|inner| Subscription::new(inner, to.origin()));
        subscriber.map_err(|source| SubscribeError { subject: to.to_string(), source })
    }

    /// Waits until something sent by this process has come back to it: then all that it subscribed to before is in
    /// force. (`flush` does not promise that.)
    ///
    /// # Errors
    /// When nothing came back within the time.
    pub async fn round_trip(&self, within: Duration) -> Result<(), CallError> {
        let pending = self.0.replies.expect();
        let subject = pending.subject();
        self.send(subject.clone(), None, None, &Empty {}).await?;
        match tokio::time::timeout(within, pending.answer()).await {
            Ok(Some(_)) => Ok(()),
            _ => Err(CallError::Unanswered(subject.to_string())),
        }
    }

    /// Whether another process answers under this one's name: then both have one key, and each would get the other's
    /// messages. One that was killed a moment ago answers no more. To be asked before listening.
    pub async fn has_twin(&self) -> bool {
        let answer = self.call(&crate::subject::ping(self.me()), &Empty {}, Duration::from_secs(1)).await;
        answer.is_ok_and(|pong| pong.boot != *self.boot())
    }

    /// Sends what waits, then leaves; for two seconds at most, since a dead broker never answers.
    pub async fn close(&self) {
        let mut link = self.link();
        if self.0.client.drain().await.is_ok() {
            let closed = link.wait_for(|link| link.closed);
            let _ = tokio::time::timeout(Duration::from_secs(2), closed).await;
        }
    }

    async fn send(
        &self,
        to: async_nats::Subject,
        reply: Option<async_nats::Subject>,
        headers: Option<HeaderMap>,
        message: &impl Serialize,
    ) -> Result<(), PublishError> {
        if !self.is_connected() {
            return Err(PublishError::Disconnected);
        }
        let payload = self.fitting(write(message).map_err(PublishError::Encode)?.into())?;
        let client = &self.0.client;
        self.unless_cut_off(async {
            match (reply, headers) {
                (None, None) => client.publish(to, payload).await,
                (None, Some(headers)) => client.publish_with_headers(to, headers, payload).await,
                (Some(reply), None) => client.publish_with_reply(to, reply, payload).await,
                (Some(reply), Some(headers)) => {
                    client.publish_with_reply_and_headers(to, reply, headers, payload).await
                }
            }
        })
        .await
    }

    /// What is written already.
    pub(crate) async fn send_bytes(
        &self,
        to: async_nats::Subject,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        let payload = self.fitting(payload)?;
        self.unless_cut_off(self.0.client.publish(to, payload)).await
    }

    fn fitting(&self, payload: Bytes) -> Result<Bytes, PublishError> {
        let (size, limit) = (payload.len(), self.max_payload());
        if size > limit { Err(PublishError::TooLarge { size, limit }) } else { Ok(payload) }
    }

    /// A full send buffer empties only while the broker takes it.
    async fn unless_cut_off<E>(&self, sent: impl Future<Output = Result<(), E>>) -> Result<(), PublishError> {
        if !self.is_connected() {
            return Err(PublishError::Disconnected);
        }
        let mut sent = pin!(sent);
        // Mostly there is room.
        if let Poll::Ready(sent) = futures::poll!(&mut sent) {
            return sent.map_err(|_| PublishError::Disconnected);
        }
        let mut link = self.link();
        tokio::select! {
            biased;
            sent = sent => sent.map_err(|_| PublishError::Disconnected),
            _ = link.wait_for(|link| !link.up) => Err(PublishError::Disconnected),
        }
    }
}
