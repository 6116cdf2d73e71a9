//! Frames on their way out: what is said to one edge in one turn of the loop travels in one message.
//!
//! Nothing waits in order to gather. The sender is one task; by the time it has its turn, every attempt whose engine had
//! something ready has had its own. A message costs the sender, the server and the edge more than the frame in it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::client::{Bus, PublishError};
use crate::id::Inbox;
use crate::message::{self, Frame, SEVERAL};

/// No message has more bytes: one that has half of them is sent, and a frame that has a third travels alone. Thousands of
/// messages may wait for the connection, and what is said behind them waits for all of their bytes, an answer to a task too.
const LARGE: usize = 4 << 10;

/// The frames that wait for their turn; to be made once for a connection.
pub struct Outbox {
    bus: Bus,
    waiting: Arc<Waiting>,
    _sender: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Waiting {
    /// One for each edge.
    messages: Mutex<Vec<Message>>,
    wake: Notify,
}

/// A message that grows: `{"frame":"several","of":[["KEY",{…}],…`.
struct Message {
    /// Of the first frame. So many bytes of it, before the key, are the edge's, and common to all.
    inbox: Inbox,
    edge: usize,
    bytes: Vec<u8>,
    /// Where the first frame stands, which travels as it is if it stays alone.
    first: usize,
    frames: usize,
}

impl Outbox {
    /// An outbox, with the task that empties it.
    pub fn new(bus: Bus) -> Self {
        let waiting = Arc::<Waiting>::default();
        let sender = tokio::spawn(send(bus.clone(), waiting.clone()));
        Self { bus, waiting, _sender: AbortOnDropHandle::new(sender) }
    }

    /// Sends a frame to the edge that owns its task; in a message with others if it `joins` them.
    ///
    /// # Errors
    /// See [`PublishError`]; what goes wrong with a message of several is logged, and their edge misses them and asks.
    pub async fn send(&self, to: &Inbox, frame: &Frame, joins: bool) -> Result<(), PublishError> {
        if !self.bus.is_connected() {
            return Err(PublishError::Disconnected);
        }
        let frame = message::write(frame).map_err(PublishError::Encode)?;
        let large = LARGE.min(self.bus.max_payload());
        if !joins || frame.len() >= large / 3 {
            // What was said before it goes before it.
            if let Some(before) = self.waiting.take(to) {
                before.send(&self.bus).await?;
            }
            return self.bus.send_bytes(to.as_str().to_owned().into(), frame.into()).await;
        }
        match self.waiting.put(to, &frame, large) {
            Some(full) => full.send(&self.bus).await,
            None => Ok(()),
        }
    }

    /// Sends what waits, now.
    pub async fn flush(&self) {
        self.waiting.flush(&self.bus).await;
    }
}

async fn send(bus: Bus, waiting: Arc<Waiting>) {
    loop {
        waiting.wake.notified().await;
        waiting.flush(&bus).await;
    }
}

impl Waiting {
    fn messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame to its edge's message; hands that back if it has grown large.
    fn put(&self, to: &Inbox, frame: &[u8], large: usize) -> Option<Message> {
        let (edge, key) = parts(to);
        let mut messages = self.messages();
        let Some(at) = messages.iter().position(|message| message.is_for(edge)) else {
            messages.push(Message::begin(to, frame));
            self.wake.notify_one();
            return None;
        };
        messages[at].add(key, frame);
        (messages[at].bytes.len() >= large / 2).then(|| messages.swap_remove(at))
    }

    /// What waits for the edge of this inbox.
    fn take(&self, to: &Inbox) -> Option<Message> {
        let mut messages = self.messages();
        let at = messages.iter().position(|message| message.is_for(parts(to).0))?;
        Some(messages.swap_remove(at))
    }

    async fn flush(&self, bus: &Bus) {
        let messages = std::mem::take(&mut *self.messages());
        for message in messages {
            if let Err(error) = message.send(bus).await {
                debug!(%error, "frames were not sent; their edge will miss them and ask");
            }
        }
    }
}

impl Message {
    fn begin(inbox: &Inbox, frame: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(SEVERAL.len() + frame.len() + 1_000);
        bytes.extend_from_slice(SEVERAL);
        let (edge, key) = parts(inbox);
        let mut message = Self { first: 0, frames: 0, bytes, edge: edge.len(), inbox: inbox.clone() };
        message.add(key, frame);
        message.first = message.bytes.len() - frame.len() - 1;
        message
    }

    fn is_for(&self, edge: &str) -> bool {
        &self.inbox.as_str()[..self.edge] == edge
    }

    fn add(&mut self, key: &str, frame: &[u8]) {
        self.bytes.extend_from_slice(if self.frames == 0 { b"[" } else { b",[" });
        serde_json::to_writer(&mut self.bytes, key).expect("a text is written into memory");
        self.bytes.push(b',');
        self.bytes.extend_from_slice(frame);
        self.bytes.push(b']');
        self.frames += 1;
    }

    async fn send(self, bus: &Bus) -> Result<(), PublishError> {
        bus.send_bytes(self.inbox.as_str().to_owned().into(), self.payload()).await
    }

    /// One frame alone is written as it always was.
    fn payload(self) -> Bytes {
        let Self { mut bytes, first, frames, .. } = self;
        if frames == 1 {
            let end = bytes.len() - 1;
            return Bytes::from(bytes).slice(first..end);
        }
        bytes.extend_from_slice(b"]}");
        bytes.into()
    }
}

/// An inbox's name: what all inboxes of its edge begin with, up to the last dot, and its key.
fn parts(inbox: &Inbox) -> (&str, &str) {
    let name = inbox.as_str();
    name.split_at(memchr::memrchr(b'.', name.as_bytes()).map_or(0, |dot| dot + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Frames, Payload, Piece};
    use proptest::prelude::*;

    fn inbox(edge: &str, key: &str) -> Inbox {
        format!("_INBOX.edge.{edge}.{key}").try_into().unwrap()
    }

    fn frame(seq: u64, text: &str) -> Frame {
        Frame::Token { seq, pieces: vec![Piece::text(text)] }
    }

    /// The messages that these frames make: where each goes, and what it says.
    fn sent(frames: &[(Inbox, Frame)], large: usize) -> Vec<(Inbox, Bytes)> {
        let waiting = Waiting::default();
        let full = frames
            .iter()
            .filter_map(|(to, frame)| waiting.put(to, &serde_json::to_vec(frame).unwrap(), large));
        let mut messages: Vec<Message> = full.collect();
        messages.append(&mut waiting.messages());
        messages.into_iter().map(|message| (message.inbox.clone(), message.payload())).collect()
    }

    #[test]
    fn a_frame_alone_travels_as_it_is_and_several_of_one_edge_travel_together() {
        let (a, b, other) = (inbox("e1", "k-1"), inbox("e1", "k\"2"), inbox("e2", "k-1"));
        let frames = [(a.clone(), frame(1, "x")), (other.clone(), frame(1, "o")), (b.clone(), frame(7, "y"))];
        let [(to, together), (elsewhere, alone)] = &sent(&frames, LARGE)[..] else { panic!("two messages") };
        assert_eq!((to, elsewhere), (&a, &other));
        assert_eq!(&alone[..], br#"{"frame":"token","seq":1,"pieces":[{"content":"o"}]}"#);
        let said = r#"{"frame":"several","of":[["k-1",{"frame":"token","seq":1,"pieces":[{"content":"x"}]}],["k\"2",{"frame":"token","seq":7,"pieces":[{"content":"y"}]}]]}"#;
        assert_eq!(&together[..], said.as_bytes());
    }

    proptest! {
        #[test]
        fn every_frame_arrives_once_in_its_attempts_order_and_no_message_is_too_large(
            frames in prop::collection::vec((0..2u8, 0..3u8, 0..250usize), 0..60),
        ) {
            let large = 1_000;
            let mut counts = std::collections::HashMap::new();
            let mut said = |(edge, key, length): &(u8, u8, usize)| {
                let count = counts.entry((*edge, *key)).or_insert(0);
                *count += 1;
                (inbox(&format!("e{edge}"), &format!("k{key}")), frame(*count, &"x".repeat(*length)))
            };
            let frames: Vec<_> = frames.iter().map(&mut said).collect();
            let mut heard = std::collections::HashMap::<String, Vec<Frame>>::new();
            for (to, payload) in sent(&frames, large) {
                prop_assert!(payload.len() <= large, "{}", payload.len());
                match Frames::read(&payload).unwrap() {
                    Frames::One(frame) => heard.entry(to.as_str().to_owned()).or_default().push(frame),
                    Frames::Several(of) => for (key, frame) in of {
                        heard.entry(format!("{}{key}", parts(&to).0)).or_default().push(frame);
                    },
                }
            }
            let mut wanted = std::collections::HashMap::<String, Vec<Frame>>::new();
            for (to, frame) in frames {
                wanted.entry(to.as_str().to_owned()).or_default().push(frame);
            }
            prop_assert_eq!(heard, wanted);
        }
    }
}
