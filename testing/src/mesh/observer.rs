//! Somebody without a login who watches the bus, as a person with `nats sub` does.

use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Client, Message};
use bytes::Bytes;
use futures::StreamExt;
use tokio_util::task::AbortOnDropHandle;

use super::until::{soon, until};

pub struct Observer {
    client: Client,
    seen: Arc<Mutex<Vec<Message>>>,
    _reader: AbortOnDropHandle<()>,
}

impl Observer {
    /// Connects without a login and subscribes; returns once the subscription is in force.
    ///
    /// # Panics
    /// When the broker lets nobody look.
    pub async fn watch(url: &str, subject: &str) -> Self {
        Self::with(async_nats::ConnectOptions::new(), url, subject).await
    }

    /// The same as one of the parts, who may hear everything.
    ///
    /// # Panics
    /// When the broker does not take it for one.
    pub async fn listen(url: &str, subject: &str) -> Self {
        let login = async_nats::ConnectOptions::with_user_and_password("mesh".to_owned(), String::new());
        Self::with(login, url, subject).await
    }

    async fn with(options: async_nats::ConnectOptions, url: &str, subject: &str) -> Self {
        let client = soon("an observer to connect", options.connect(url)).await.expect("a login");
        let mut messages = client.subscribe(subject.to_owned()).await.expect("a subscription");
        let seen = Arc::<Mutex<Vec<Message>>>::default();
        let kept = seen.clone();
        let reader = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(message);
            }
        });
        // The server takes a connection's lines in order: with this answer the subscription is in force.
        let info = client.request("$SYS.REQ.USER.INFO", Bytes::new());
        soon("the server to answer an observer", info).await.expect("an answer of the server");
        Self { client, seen, _reader: AbortOnDropHandle::new(reader) }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Vec<Message> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The subjects that it has seen so far, each as often as it came.
    pub fn subjects(&self) -> Vec<String> {
        self.seen().iter().map(|message| message.subject.to_string()).collect()
    }

    /// Waits for a message whose subject begins with `prefix`.
    pub async fn sees(&self, prefix: &str) -> Message {
        until(&format!("a message on {prefix}…"), || async {
            let found = self.seen().into_iter().find(|message| message.subject.starts_with(prefix));
            let count = self.seen().len();
            found.ok_or_else(|| format!("{count} other messages"))
        })
        .await
    }
}
