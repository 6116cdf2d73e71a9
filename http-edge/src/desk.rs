//! Everything the edge is waiting for: which attempt each inbox belongs to, who holds it, and what has arrived.
//! Plain data; the clock is passed in, and what to do is handed back.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use echo_bus::holding::{GONE, HANG, RECONNECT_GRACE, SILENCE};
use echo_bus::id::{AttemptId, BootId, NodeId, Peer, TaskId};
use echo_bus::message::{Cancel, Frame, Held, Missing, Pong, Pulse, PulseAnswer};

/// Frames kept of one attempt while an earlier one is missing; more are asked for again.
const AHEAD: usize = 1024;
/// Attempts given up before anybody had accepted them that are remembered.
const GIVEN_UP: usize = 1024;

/// A start of a process that holds attempts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    pub peer: Peer,
    pub boot: BootId,
}

/// Why an attempt will give nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its holder has died or was started anew.
    Died,
    /// Its holder is connected and silent.
    Hangs,
    /// Its holder knows nothing of it.
    Forgotten,
}

impl Loss {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Died => "its process died",
            Self::Hangs => "its process hangs",
            Self::Forgotten => "its process no longer knew the task",
        }
    }
}

/// An attempt that has lost its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    pub task: TaskId,
    pub attempt: u32,
    pub holder: Holder,
    pub loss: Loss,
}

/// A holder to be asked whether it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub holder: Holder,
    pub within: Duration,
}

/// What became of a ping.
#[derive(Debug)]
pub enum Heard {
    Pong(Pong),
    NobodyThere,
    Nothing,
    /// We were cut off meanwhile: it says nothing about the holder.
    CutOff,
}

#[derive(Debug)]
struct Entry {
    attempt: u32,
    inbox: String,
    holder: Option<Holder>,
    /// Since when this holder is believed to hold it.
    since: Instant,
    /// The number of the next frame in order.
    next: u64,
    ahead: BTreeMap<u64, Frame>,
    /// The last number that the holder's previous pulse named.
    claimed: Option<u64>,
    /// Pulses in a row that did not list it.
    omitted: u8,
}

#[derive(Debug)]
struct Watched {
    heard: Instant,
    asked: bool,
    gone: bool,
}

/// The edge's view of all attempts in flight.
#[derive(Debug)]
pub struct Desk {
    entries: HashMap<TaskId, Entry>,
    inboxes: HashMap<String, TaskId>,
    holders: HashMap<Holder, Watched>,
    /// The inboxes of attempts that nobody had accepted when they were given up, the newest last.
    given_up: VecDeque<(String, Cancel)>,
    /// Silence counts from here: our own reconnect or late tick, and a while.
    counts_from: Instant,
    connected: bool,
}

impl Desk {
    pub fn new(now: Instant) -> Self {
        Self {
            entries: HashMap::new(),
            inboxes: HashMap::new(),
            holders: HashMap::new(),
            given_up: VecDeque::new(),
            counts_from: now,
            connected: true,
        }
    }

    /// How many tasks are in flight.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Begins an attempt; what a lower one of the task still sends goes nowhere from here on.
    pub fn begin(&mut self, task: TaskId, attempt: u32, inbox: String, now: Instant) {
        self.end(task);
        self.inboxes.insert(inbox.clone(), task);
        let entry = Entry {
            attempt,
            inbox,
            holder: None,
            since: now,
            next: 0,
            ahead: BTreeMap::new(),
            claimed: None,
            omitted: 0,
        };
        self.entries.insert(task, entry);
    }

    /// Forgets a task.
    pub fn end(&mut self, task: TaskId) {
        let Some(entry) = self.entries.remove(&task) else { return };
        self.inboxes.remove(&entry.inbox);
        if entry.next == 0 {
            if self.given_up.len() == GIVEN_UP {
                self.given_up.pop_front();
            }
            self.given_up.push_back((entry.inbox, Cancel(AttemptId { task, attempt: entry.attempt })));
        }
    }

    /// Somebody accepts an attempt that was given up before: the orchestrator that knew whom it had asked is gone, so
    /// only this word tells who has to be told to stop.
    pub fn late(&mut self, inbox: &str, frame: &Frame) -> Option<(NodeId, Cancel)> {
        let Frame::Accepted(accepted) = frame else { return None };
        let at = self.given_up.iter().rposition(|(given_up, _)| given_up == inbox)?;
        let (_, cancel) = self.given_up.remove(at)?;
        Some((accepted.node.clone(), cancel))
    }

    /// An orchestrator has taken the attempt; an agent may have been quicker.
    pub fn taken(&mut self, task: TaskId, attempt: u32, orchestrator: Holder, now: Instant) {
        let entry = self.entries.get_mut(&task).filter(|entry| entry.attempt == attempt);
        if let Some(entry) = entry.filter(|entry| entry.holder.is_none()) {
            self.holders.entry(orchestrator.clone()).or_insert_with(|| Watched::new(now));
            (entry.holder, entry.since) = (Some(orchestrator), now);
        }
    }

    /// A frame has come in: hands back those that are in order now, with the task and attempt they belong to.
    pub fn frame(&mut self, inbox: &str, frame: Frame, now: Instant) -> Option<(TaskId, u32, Vec<Frame>)> {
        let task = *self.inboxes.get(inbox)?;
        let entry = self.entries.get_mut(&task)?;
        if let Frame::Accepted(accepted) = &frame {
            let holder = Holder { peer: Peer::agent(&accepted.node), boot: accepted.boot.clone() };
            Self::hold(&mut self.holders, entry, &holder, now);
        }
        let Some(seq) = frame.seq() else {
            return Some((task, entry.attempt, vec![frame]));
        };
        if seq < entry.next {
            return None;
        }
        if seq > entry.next {
            if entry.ahead.len() < AHEAD {
                entry.ahead.insert(seq, frame);
            }
            return None;
        }
        entry.next += 1;
        let mut frames = Vec::with_capacity(2);
        part(frame, &mut frames);
        while let Some(frame) = entry.ahead.remove(&entry.next) {
            entry.next += 1;
            part(frame, &mut frames);
        }
        Some((task, entry.attempt, frames))
    }

    /// The task's reader had no room for frames that [`Desk::frame`] gave out: they are to be asked for again.
    pub fn undo(&mut self, task: TaskId, attempt: u32, first: u64) {
        if let Some(entry) = self.entries.get_mut(&task).filter(|entry| entry.attempt == attempt) {
            entry.next = entry.next.min(first);
        }
    }

    /// A holder's proof of what it holds: what to answer, and what it turns out to have lost.
    pub fn pulse(&mut self, pulse: &Pulse, now: Instant) -> (PulseAnswer, Vec<Lost>) {
        let holder = Holder { peer: pulse.holder.clone(), boot: pulse.boot.clone() };
        let mut answer = PulseAnswer::default();
        let mut lost = self.restarted(&holder);
        for held in &pulse.held {
            match self.entries.get_mut(&held.id.task).filter(|entry| entry.attempt == held.id.attempt) {
                None => answer.unwanted.push(Held { seq: None, ended: false, ..*held }),
                Some(entry) => {
                    if held.seq.is_some() {
                        Self::hold(&mut self.holders, entry, &holder, now);
                    }
                    answer.missing.extend(entry.missing(held));
                }
            }
        }
        if let Some(watched) = self.holders.get_mut(&holder) {
            (watched.heard, watched.gone) = (now, false);
            lost.extend(self.omitted(&holder, pulse, now));
        }
        (answer, lost)
    }

    /// What this holder no longer lists; twice in a row, since a frame may be under way.
    fn omitted(&mut self, holder: &Holder, pulse: &Pulse, now: Instant) -> Vec<Lost> {
        let listed: HashSet<_> = pulse.held.iter().map(|held| held.id).collect();
        let mut lost = Vec::new();
        for (task, entry) in &mut self.entries {
            if entry.holder.as_ref() != Some(holder) || now.duration_since(entry.since) < SILENCE {
                continue;
            }
            entry.omitted = if listed.contains(&AttemptId { task: *task, attempt: entry.attempt }) {
                0
            } else {
                entry.omitted.saturating_add(1)
            };
            if entry.omitted >= 2 {
                lost.push(entry.lose(*task, holder, Loss::Forgotten));
            }
        }
        lost
    }

    /// The same process under another boot: what the earlier one held is lost.
    fn restarted(&mut self, holder: &Holder) -> Vec<Lost> {
        let earlier: Vec<Holder> = self
            .holders
            .keys()
            .filter(|other| other.peer == holder.peer && other.boot != holder.boot)
            .cloned()
            .collect();
        earlier.iter().flat_map(|other| self.lose_all(other, Loss::Died)).collect()
    }

    fn hold(holders: &mut HashMap<Holder, Watched>, entry: &mut Entry, holder: &Holder, now: Instant) {
        if entry.holder.as_ref() != Some(holder) {
            holders.entry(holder.clone()).or_insert_with(|| Watched::new(now));
            (entry.holder, entry.since, entry.omitted) = (Some(holder.clone()), now, 0);
        }
    }

    fn lose_all(&mut self, holder: &Holder, loss: Loss) -> Vec<Lost> {
        self.holders.remove(holder);
        let held = self.entries.iter_mut().filter(|(_, entry)| entry.holder.as_ref() == Some(holder));
        held.map(|(task, entry)| entry.lose(*task, holder, loss)).collect()
    }

    /// A connection has ended: asks at once if it was a holder's.
    pub fn gone(&mut self, peer: Peer, boot: BootId, now: Instant) -> Option<Ask> {
        let holder = Holder { peer, boot };
        if !self.connected || now < self.counts_from || !self.is_holding(&holder) {
            return None;
        }
        let watched = self.holders.get_mut(&holder)?;
        watched.gone = true;
        // A ping that is already under way has a longer limit: this one will be quicker.
        watched.asked = true;
        Some(Ask { holder, within: GONE })
    }

    fn is_holding(&self, holder: &Holder) -> bool {
        self.entries.values().any(|entry| entry.holder.as_ref() == Some(holder))
    }

    /// Whom to ask now; to be called several times a second.
    pub fn tick(&mut self, now: Instant) -> Vec<Ask> {
        let holding: HashSet<&Holder> =
            self.entries.values().filter_map(|entry| entry.holder.as_ref()).collect();
        self.holders.retain(|holder, _| holding.contains(holder));
        if !self.connected {
            return Vec::new();
        }
        let from = self.counts_from;
        let silent = |watched: &Watched| now.saturating_duration_since(watched.heard.max(from)) > SILENCE;
        let mut asks = Vec::new();
        for (holder, watched) in &mut self.holders {
            if !watched.asked && silent(watched) {
                watched.asked = true;
                let within = if watched.gone { GONE } else { HANG };
                asks.push(Ask { holder: holder.clone(), within });
            }
        }
        asks
    }

    /// What a ping has brought, and what is lost by it.
    pub fn heard(&mut self, holder: &Holder, heard: Heard, now: Instant) -> Vec<Lost> {
        let Some(watched) = self.holders.get_mut(holder) else { return Vec::new() };
        watched.asked = false;
        match heard {
            Heard::CutOff => Vec::new(),
            _ if !self.connected || now < self.counts_from => Vec::new(),
            Heard::NobodyThere => self.lose_all(holder, Loss::Died),
            Heard::Nothing if watched.gone => self.lose_all(holder, Loss::Died),
            // A pulse came while we waited: it is slow, not hanging.
            Heard::Nothing if now.duration_since(watched.heard) < SILENCE => Vec::new(),
            Heard::Nothing => self.lose_all(holder, Loss::Hangs),
            Heard::Pong(pong) if pong.boot != holder.boot => self.lose_all(holder, Loss::Died),
            Heard::Pong(pong) => {
                (watched.heard, watched.gone) = (now, false);
                self.not_in(holder, &pong.held, now)
            }
        }
    }

    fn not_in(&mut self, holder: &Holder, held: &[Held], now: Instant) -> Vec<Lost> {
        let known: HashSet<_> = held.iter().map(|held| held.id).collect();
        let mut lost = Vec::new();
        for (task, entry) in &mut self.entries {
            let mine = entry.holder.as_ref() == Some(holder);
            let settled = now.duration_since(entry.since) >= SILENCE;
            if mine && settled && !known.contains(&AttemptId { task: *task, attempt: entry.attempt }) {
                lost.push(entry.lose(*task, holder, Loss::Forgotten));
            }
        }
        lost
    }

    /// Our own connection has ended: nobody's silence counts.
    pub fn disconnected(&mut self) {
        self.connected = false;
    }

    /// Our own connection is back: silence counts again once the others had time to come back too.
    pub fn reconnected(&mut self, now: Instant) {
        self.connected = true;
        self.counts_from = now + RECONNECT_GRACE;
    }

    /// We slept ourselves: silence counts anew.
    pub fn slept(&mut self, now: Instant) {
        self.counts_from = self.counts_from.max(now + SILENCE);
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

impl Watched {
    fn new(now: Instant) -> Self {
        Self { heard: now, asked: false, gone: false }
    }
}

impl Entry {
    fn lose(&mut self, task: TaskId, holder: &Holder, loss: Loss) -> Lost {
        self.holder = None;
        self.omitted = 0;
        Lost { task, attempt: self.attempt, holder: holder.clone(), loss }
    }

    /// What the previous pulse claimed to have sent and is still not here.
    fn missing(&mut self, held: &Held) -> Option<Missing> {
        let claimed = std::mem::replace(&mut self.claimed, held.seq)?;
        let to = match self.ahead.keys().next() {
            Some(first) => (first - 1).min(claimed),
            None => claimed,
        };
        (self.next <= to).then_some(Missing { id: held.id, from: self.next, to })
    }
}

#[cfg(test)]
mod tests;
