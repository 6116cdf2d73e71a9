//! Puts the frames of each attempt in order: every frame once, by its sequence number, whatever the bus loses, doubles
//! or reorders.
//!
//! Each attempt has an inbox of its own (known here by its key, the last word of its name), so a frame of an earlier attempt
//! misses. A gap is not waited for by a timer: the holder's pulse names the last number it has sent, and what an earlier
//! pulse claimed and is still missing is asked for again (replay, from the agent's buffer). Whose inbox is closed while
//! nobody had accepted the attempt is remembered: an agent that accepts it late has to be told to stop.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::iter::Chain;
use std::{option, vec};

use echo_bus::id::{AttemptId, IdMap, NodeId, TaskId};
use echo_bus::message::{Cancel, Frame, Held, Missing, size};

/// Frames kept of one attempt while an earlier one is missing; more are asked for again.
const AHEAD: usize = 1024;
/// The same in bytes: what an agent keeps to send again.
const AHEAD_BYTES: usize = 16 << 20;
/// Attempts given up before anybody had accepted them that are remembered.
const GIVEN_UP: usize = 1024;

#[derive(Debug)]
struct Stream {
    attempt: u32,
    inbox: String,
    /// The number of the next frame in order.
    next: u64,
    ahead: BTreeMap<u64, Frame>,
    /// So many bytes came with those.
    ahead_bytes: usize,
    /// The last number that the holder's previous pulse named.
    claimed: Option<u64>,
}

/// What of an inbox's name is its own: the rest is this edge's.
pub fn key(inbox: &str) -> &str {
    inbox.rsplit_once('.').map_or(inbox, |(_, key)| key)
}

/// The streams of all attempts in flight, one for each task.
#[derive(Debug, Default)]
pub struct Resequencer {
    streams: IdMap<Stream>,
    inboxes: HashMap<String, TaskId, BuildHasherDefault<End>>,
    /// The inboxes of attempts that nobody had accepted when they were given up, the newest last.
    given_up: VecDeque<(String, Cancel)>,
}

/// Hashes an inbox by the end of its name, where its secret is: looked for with each frame. Only inboxes that this edge has
/// named are in the map, so nobody else can make many of them alike.
#[derive(Debug, Default)]
struct End(u64);

impl Hasher for End {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(end) = bytes.last_chunk::<16>() {
            let end = u128::from_le_bytes(*end);
            let (low, high) = (end & u128::from(u64::MAX), end >> 64);
            let product = low * high;
            self.0 ^= (product ^ (product >> 64)) as u64;
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Resequencer {
    /// Whether no stream is open.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.inboxes.is_empty()
    }

    /// Opens the stream of an attempt; what a lower one of the task still sends goes nowhere from here on.
    pub fn begin(&mut self, task: TaskId, attempt: u32, inbox: String) {
        self.end(task);
        self.inboxes.insert(inbox.clone(), task);
        let stream =
            Stream { attempt, inbox, next: 0, ahead: BTreeMap::new(), ahead_bytes: 0, claimed: None };
        self.streams.insert(task, stream);
    }

    /// Closes the stream of a task.
    pub fn end(&mut self, task: TaskId) {
        let Some(stream) = self.streams.remove(&task) else { return };
        self.inboxes.remove(&stream.inbox);
        if stream.next == 0 {
            if self.given_up.len() == GIVEN_UP {
                self.given_up.pop_front();
            }
            self.given_up.push_back((stream.inbox, Cancel(AttemptId { task, attempt: stream.attempt })));
        }
    }

    /// Whose inbox it is.
    pub fn owner(&self, inbox: &str) -> Option<(TaskId, u32)> {
        let task = *self.inboxes.get(inbox)?;
        Some((task, self.streams.get(&task)?.attempt))
    }

    /// Somebody accepts an attempt that was given up before: the orchestrator that knew whom it had asked is gone, so
    /// only this word tells who has to be told to stop.
    pub fn late(&mut self, inbox: &str, frame: &Frame) -> Option<(NodeId, Cancel)> {
        let Frame::Accepted(accepted) = frame else { return None };
        let at = self.given_up.iter().rposition(|(given_up, _)| given_up == inbox)?;
        let (_, cancel) = self.given_up.remove(at)?;
        Some((accepted.node.clone(), cancel))
    }

    /// A frame of this task's attempt has come in: hands back those that are in order now.
    pub fn frame(&mut self, task: TaskId, frame: Frame) -> Ordered {
        let Some(stream) = self.streams.get_mut(&task) else { return ordered(None, Vec::new()) };
        let Some(seq) = frame.seq() else { return ordered(Some(frame), Vec::new()) };
        if seq != stream.next {
            stream.put_aside(seq, frame);
            return ordered(None, Vec::new());
        }
        stream.next += 1;
        // Nearly all frames are of this kind, and come alone.
        if stream.ahead.is_empty() && matches!(frame, Frame::Token { .. }) {
            return ordered(Some(frame), Vec::new());
        }
        let mut frames = Vec::with_capacity(2);
        part(frame, &mut frames);
        while let Some(frame) = stream.ahead.remove(&stream.next) {
            stream.next += 1;
            part(frame, &mut frames);
        }
        if stream.ahead.is_empty() {
            stream.ahead_bytes = 0;
        }
        ordered(None, frames)
    }

    /// What of an attempt has to be sent again, by what its holder's pulse says; `None` also for an attempt that nobody
    /// wants.
    pub fn missing(&mut self, held: &Held) -> Option<Missing> {
        let stream = self.streams.get_mut(&held.id.task).filter(|it| it.attempt == held.id.attempt)?;
        // What the previous pulse claimed to have sent and is still not here.
        let claimed = std::mem::replace(&mut stream.claimed, held.seq)?;
        let to = match stream.ahead.keys().next() {
            Some(first) => (first - 1).min(claimed),
            None => claimed,
        };
        let missing = Missing { id: held.id, from: stream.next, to };
        (stream.next <= to).then_some(missing)
    }

    /// Whether an attempt is the one whose frames are waited for.
    pub fn wants(&self, held: &Held) -> bool {
        self.streams.get(&held.id.task).is_some_and(|stream| stream.attempt == held.id.attempt)
    }
}

/// Frames in their order.
pub type Ordered = Chain<option::IntoIter<Frame>, vec::IntoIter<Frame>>;

fn ordered(one: Option<Frame>, more: Vec<Frame>) -> Ordered {
    one.into_iter().chain(more)
}

impl Stream {
    /// Keeps a frame until those before it are here, if it is no earlier one and there is room. What has come out since is counted until
    /// the gap is closed: an honest gap is short.
    fn put_aside(&mut self, seq: u64, frame: Frame) {
        if seq < self.next || self.ahead.len() >= AHEAD || self.ahead.contains_key(&seq) {
            return;
        }
        let bytes = size(&frame);
        if self.ahead_bytes.saturating_add(bytes) <= AHEAD_BYTES {
            self.ahead_bytes += bytes;
            self.ahead.insert(seq, frame);
        }
    }
}

/// Pieces that came together with the end come before it.
fn part(frame: Frame, frames: &mut Vec<Frame>) {
    match frame {
        Frame::Done { seq, pieces, done } if !pieces.is_empty() => {
            frames.push(Frame::Token { seq, pieces });
            frames.push(Frame::Done { seq, pieces: Vec::new(), done });
        }
        other => frames.push(other),
    }
}

#[cfg(test)]
mod tests;
