//! What is known of each client: what it has at work, what of it waits, and when it had its last turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use echo_bus::id::TaskId;

use super::place::{Client, Place};

/// A client has so many tasks at work as there are of these; each is kept with what is known of the task's node.
#[derive(Debug, Default)]
pub struct AtWork(#[expect(dead_code, reason = "it counts by being there")] Arc<()>);

/// All clients of whom something waits or is at work.
#[derive(Debug, Default)]
pub(super) struct Clients {
    known: BTreeMap<Client, Account>,
    /// Of how many something waits.
    waiting: usize,
    /// Counts the turns of all.
    turns: u64,
}

/// What is known of one client.
#[derive(Debug)]
pub(super) struct Account {
    at_work: Arc<()>,
    /// By time, each with the number of its line.
    pub(super) waiting: BTreeMap<Place, (u64, TaskId)>,
    bytes: usize,
    /// When it had its last turn; comparable among clients.
    pub(super) last_turn: u64,
    /// The lines in which it waits.
    pub(super) lines: BTreeMap<u64, Stay>,
}

/// A client in one line.
#[derive(Debug)]
pub(super) struct Stay {
    tasks: usize,
    /// How many turns all had had when it came, or had its last turn here.
    pub(super) since: u64,
}

impl Clients {
    /// Tasks of a client that wait, and their bytes.
    pub(super) fn waiting(&self, client: &Client) -> (usize, usize) {
        self.known.get(client).map_or((0, 0), |account| (account.waiting.len(), account.bytes))
    }

    fn account(&mut self, client: &Client) -> &mut Account {
        // Behind all who wait for their turn, and before who had the last one.
        let last_turn = self.turns * 2;
        let new = || Account {
            at_work: Arc::new(()),
            waiting: BTreeMap::new(),
            bytes: 0,
            last_turn,
            lines: BTreeMap::new(),
        };
        self.known.entry(client.clone()).or_insert_with(new)
    }

    pub(super) fn join(&mut self, client: &Client, place: Place, line: u64, task: TaskId, bytes: usize) {
        let since = self.turns;
        let account = self.account(client);
        let is_first = account.waiting.is_empty();
        account.waiting.insert(place, (line, task));
        account.bytes += bytes;
        account.lines.entry(line).or_insert(Stay { tasks: 0, since }).tasks += 1;
        self.waiting += usize::from(is_first);
    }

    pub(super) fn leave(&mut self, client: &Client, place: Place, line: u64, bytes: usize) {
        let Some(account) = self.known.get_mut(client) else { return };
        if account.waiting.remove(&place).is_none() {
            return;
        }
        account.bytes -= bytes;
        if let Some(stay) = account.lines.get_mut(&line) {
            stay.tasks -= 1;
            if stay.tasks == 0 {
                account.lines.remove(&line);
            }
        }
        self.waiting -= usize::from(account.waiting.is_empty());
    }

    pub(super) fn turn(&mut self, client: &Client, line: Option<u64>) -> AtWork {
        self.turns += 1;
        let turns = self.turns;
        let account = self.account(client);
        account.last_turn = turns * 2 + 1;
        if let Some(stay) = line.and_then(|line| account.lines.get_mut(&line)) {
            stay.since = turns;
        }
        AtWork(account.at_work.clone())
    }

    pub(super) fn forget_idle(&mut self) {
        self.known.retain(|_, account| account.at_work() > 0 || !account.waiting.is_empty());
    }

    /// Those of whom something waits.
    pub(super) fn who_wait(&self) -> impl Iterator<Item = &Account> {
        self.known.values().filter(|account| !account.waiting.is_empty())
    }

    /// Something waits of more than one.
    pub(super) fn are_several(&self) -> bool {
        self.waiting > 1
    }

    /// How many turns of others end anybody's patience: each slot that is known to be in use has changed hands several times.
    pub(super) fn patience(&self) -> u64 {
        let at_work: usize = self.known.values().map(Account::at_work).sum();
        PATIENCE * (at_work + self.waiting) as u64
    }

    pub(super) fn turns(&self) -> u64 {
        self.turns
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

/// Times that the turn goes round before a client has one in a line, whatever else it has at work. Less would take from those
/// with short tasks what their share of slots is; see the test of starvation for why there has to be a bound.
const PATIENCE: u64 = 8;

impl Account {
    pub(super) fn at_work(&self) -> usize {
        Arc::strong_count(&self.at_work) - 1
    }
}
