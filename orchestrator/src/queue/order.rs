//! The order in which those who wait have their turn.

use std::collections::BTreeMap;

use echo_bus::id::TaskId;

use super::clients::Clients;
use super::place::{Place, Waiters};
use crate::need::Line;

/// Where a task stands among all who wait; the least is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Its client has not had a turn in this line for so long that it has one now.
    in_time: bool,
    /// How many tasks of its client are before it: at work, or waiting for longer.
    before: usize,
    /// Of those, how many wait. Each of them has a turn first, so this client's last turn is the later one.
    waiting: usize,
    last_turn: u64,
    place: Place,
}

/// Whose turn is next, as it was at one moment.
#[derive(Debug)]
pub struct Order<'a> {
    lines: &'a BTreeMap<Line, Waiters>,
    /// By line and rank; absent where all who wait are one client's: then it is the order of time waited.
    turns: Option<Vec<(u64, Rank, TaskId)>>,
}

impl<'a> Order<'a> {
    pub(super) fn of(lines: &'a BTreeMap<Line, Waiters>, clients: &Clients) -> Self {
        Self { lines, turns: clients.are_several().then(|| turns(clients)) }
    }

    /// All lines, each in its order.
    pub fn lines(&self) -> impl Iterator<Item = (&'a Line, impl Iterator<Item = (Rank, TaskId)>)> {
        self.lines.iter().map(|(line, waiters)| (line, self.of_line(waiters)))
    }

    /// One line in its order.
    pub fn line(&self, line: &Line) -> impl Iterator<Item = (Rank, TaskId)> {
        self.lines.get(line).into_iter().flat_map(|waiters| self.of_line(waiters))
    }

    /// How many of its line are served before this one, and itself: 1 is next.
    pub fn position(&self, line: &Line, place: Place) -> u32 {
        let at = match (&self.turns, self.lines.get(line)) {
            (_, None) => 0,
            (None, Some(waiters)) => waiters.by_time.range(..=place).count(),
            (Some(_), Some(_)) => self.line(line).take_while(|(rank, _)| rank.place != place).count() + 1,
        };
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    fn of_line(&self, waiters: &'a Waiters) -> impl Iterator<Item = (Rank, TaskId)> {
        let (by_time, turns) = match &self.turns {
            None => (Some(&waiters.by_time), [].as_slice()),
            Some(turns) => {
                let begins = turns.partition_point(|(line, ..)| *line < waiters.number);
                (None, &turns[begins..begins + waiters.by_time.len()])
            }
        };
        let by_time = by_time.into_iter().flatten();
        by_time
            .map(|(place, task)| (Rank::by_time(*place), *task))
            .chain(turns.iter().map(|(_, rank, task)| (*rank, *task)))
    }
}

/// What comes of it if the turn goes round: each task that waits longer has its turn before the next one of its client.
fn turns(clients: &Clients) -> Vec<(u64, Rank, TaskId)> {
    let (patience, now) = (clients.patience(), clients.turns());
    let mut all = Vec::new();
    for client in clients.who_wait() {
        let (at_work, last_turn) = (client.at_work(), client.last_turn);
        let mut lines = Vec::with_capacity(client.lines.len());
        for (waiting, (&place, &(line, task))) in client.waiting.iter().enumerate() {
            let is_first = lines.len() < client.lines.len() && !lines.contains(&line);
            if is_first {
                lines.push(line);
            }
            let since = client.lines.get(&line).map(|stay| stay.since).filter(|_| is_first);
            let rank = match since.filter(|since| now - since >= patience) {
                Some(since) => Rank { in_time: false, last_turn: since, ..Rank::by_time(place) },
                None => Rank { before: at_work + waiting, waiting, last_turn, ..Rank::by_time(place) },
            };
            all.push((line, rank, task));
        }
    }
    all.sort_unstable_by_key(|(line, rank, _)| (*line, *rank));
    all
}

impl Rank {
    fn by_time(place: Place) -> Self {
        Self { in_time: true, before: 0, waiting: 0, last_turn: 0, place }
    }
}
