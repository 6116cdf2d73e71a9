//! Who waits for what, and whose turn is next. Bounded in number and in bytes: a full queue is the mesh's backpressure, and the
//! client is told to come back later.
//!
//! One client's tasks go in the order of time waited. Among several, the task of the client that has the fewest at work goes
//! first (max-min fairness in slots); between equals, of the one whose last turn is longest ago.

mod clients;
mod order;
mod place;

use std::collections::BTreeMap;

use echo_bus::id::TaskId;

use crate::need::Line;
pub use clients::AtWork;
use clients::Clients;
pub use order::Order;
use place::Waiters;
pub use place::{Client, Place};

/// Requests may be megabytes; one client alone may have this many bytes of them waiting.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// A task that waits, as the queue sees it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub line: &'a Line,
    pub client: &'a Client,
    pub bytes: usize,
}

/// A line for each thing that is waited for.
#[derive(Debug)]
pub struct Queue {
    lines: BTreeMap<Line, Waiters>,
    clients: Clients,
    len: usize,
    bytes: usize,
    limit: usize,
    serial: u64,
}

/// Why a task may not wait too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Tasks of its client that wait, and those of all.
    pub own: usize,
    pub all: usize,
}

impl Full {
    /// Whose limit it is, and what to do.
    pub fn words(self, client: &Client, what_to_do: &str) -> String {
        let Self { own, all } = self;
        if own == all {
            return format!("the queue is full ({all} waiting); {what_to_do}");
        }
        let whose = match client {
            Some(name) => format!("of client {name}"),
            None => "of clients without a key".to_owned(),
        };
        format!("too many tasks {whose} wait ({own} of {all} in the queue); {what_to_do}")
    }
}

impl Queue {
    pub fn new(limit: usize) -> Self {
        let (lines, clients) = (BTreeMap::new(), Clients::default());
        Self { lines, clients, len: 0, bytes: 0, limit, serial: 0 }
    }

    /// Whether a task of this size may wait too.
    ///
    /// A client may have as many tasks waiting as there is room left, of twice the limit: all of the limit if it is alone, two
    /// thirds each if there are two. So whoever floods leaves as much room as it takes, and whoever comes later finds some;
    /// nobody is thrown out for that, and nothing has to be known of who will come. (Switches share their buffers in this way:
    /// dynamic thresholds.)
    ///
    /// # Errors
    /// With who has how much.
    pub fn room_for(&self, client: &Client, bytes: usize) -> Result<(), Full> {
        let (own, its_bytes) = self.clients.waiting(client);
        let fits = |own: usize, all: usize, more: usize, limit: usize| {
            own.saturating_add(all).saturating_add(more.saturating_mul(2)) <= limit.saturating_mul(2)
        };
        if fits(own, self.len, 1, self.limit) && fits(its_bytes, self.bytes, bytes, MAX_BYTES) {
            return Ok(());
        }
        Err(Full { own, all: self.len })
    }

    /// Lets a task wait; ask [`Queue::room_for`] before.
    pub fn join(&mut self, entry: Entry<'_>, since: i64, task: TaskId) -> Place {
        self.serial += 1;
        let place = Place { since, serial: self.serial };
        let new = || Waiters { number: self.serial, by_time: BTreeMap::new() };
        let waiters = self.lines.entry(entry.line.clone()).or_insert_with(new);
        waiters.by_time.insert(place, task);
        self.clients.join(entry.client, place, waiters.number, task, entry.bytes);
        (self.len, self.bytes) = (self.len + 1, self.bytes + entry.bytes);
        place
    }

    /// Lets a task go.
    pub fn leave(&mut self, entry: Entry<'_>, place: Place) {
        let Some(waiters) = self.lines.get_mut(entry.line) else { return };
        if waiters.by_time.remove(&place).is_some() {
            self.clients.leave(entry.client, place, waiters.number, entry.bytes);
            (self.len, self.bytes) = (self.len - 1, self.bytes - entry.bytes);
        }
        if waiters.by_time.is_empty() {
            self.lines.remove(entry.line);
        }
    }

    /// A client has its turn: a task of this line goes to a node. It is at work as long as what this returns is kept.
    pub fn turn(&mut self, client: &Client, line: &Line) -> AtWork {
        self.clients.turn(client, self.lines.get(line).map(|waiters| waiters.number))
    }

    /// Forgets the clients of whom nothing waits and nothing is at work.
    pub fn forget_idle(&mut self) {
        self.clients.forget_idle();
    }

    /// Whose turn is next, as it is now.
    pub fn order(&self) -> Order<'_> {
        Order::of(&self.lines, &self.clients)
    }

    /// Who waits for what, each line by time.
    pub fn lines(&self) -> impl Iterator<Item = (&Line, &BTreeMap<Place, TaskId>)> {
        self.lines.iter().map(|(line, waiters)| (line, &waiters.by_time))
    }

    /// One line, by time.
    pub fn line(&self, line: &Line) -> impl Iterator<Item = TaskId> {
        self.lines.get(line).into_iter().flat_map(|waiters| waiters.by_time.values().copied())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Clients that are known.
    #[cfg(test)]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }
}

#[cfg(test)]
mod tests;
