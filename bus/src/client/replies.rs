//! One inbox for all answers, dispatched by id: faster than a subscription per question, and nothing leaks when an
//! answer never comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Message, Subject};
use futures::StreamExt;
use tokio::sync::oneshot;

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Message>>>>;

/// The questions that wait for an answer.
pub(super) struct Replies {
    prefix: String,
    next: AtomicU64,
    waiting: Waiting,
}

impl Replies {
    /// Listens below `prefix` until the connection is closed.
    pub(super) async fn listen(
        client: &async_nats::Client,
        prefix: String,
    ) -> Result<Self, async_nats::SubscribeError> {
        let mut answers = client.subscribe(format!("{prefix}.*")).await?;
        let waiting = Waiting::default();
        let asked = waiting.clone();
        tokio::spawn(async move {
            while let Some(answer) = answers.next().await {
                let asker =
                    asked.lock().unwrap_or_else(PoisonError::into_inner).remove(answer.subject.as_str());
                if let Some(asker) = asker {
                    // The asker may have given up between.
                    let _ = asker.send(answer);
                }
            }
        });
        // Two commands of one key listen at the same place. By chance they use other numbers.
        let next = AtomicU64::new(u64::from(rand::random::<u32>()) << 24);
        Ok(Self { prefix, next, waiting })
    }

    /// A new inbox for one answer.
    pub(super) fn expect(&self) -> Pending {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let subject = Subject::from(format!("{}.{number}", self.prefix));
        let (asker, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(subject.to_string(), asker);
        Pending { subject, waiting: self.waiting.clone(), answer }
    }
}

/// An answer that is awaited; forgotten on drop.
pub(super) struct Pending {
    subject: Subject,
    waiting: Waiting,
    answer: oneshot::Receiver<Message>,
}

impl Pending {
    pub(super) fn subject(&self) -> Subject {
        self.subject.clone()
    }

    pub(super) async fn answer(mut self) -> Option<Message> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(self.subject.as_str());
    }
}
