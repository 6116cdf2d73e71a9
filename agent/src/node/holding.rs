//! The attempts that this node holds: those that run, and those whose end the edge may not have yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use echo_bus::holding::KEPT_AFTER_END;
use echo_bus::id::{AttemptId, Inbox, ProcessId, TaskId};
use echo_bus::message::{Code, Failure, Frame, Held};
use tokio::sync::oneshot;

use crate::attempt::Halt;
use crate::replay::ReplayBuffer;

/// The memory that ended attempts may use together, in bytes; the oldest go first.
const MOST: usize = 64 << 20;

/// One attempt.
pub struct Holding {
    pub edge: Option<ProcessId>,
    pub inbox: Inbox,
    pub replay: Arc<Mutex<ReplayBuffer>>,
    pub halt: Arc<Halt>,
    /// Lets it start, where it waits for the edge's word.
    pub confirm: Option<oneshot::Sender<()>>,
    pub has_slot: bool,
    /// The model that it runs on.
    pub model: String,
    pub ended: Option<Instant>,
}

/// All attempts, by task and attempt.
#[derive(Default)]
pub struct Holdings {
    all: BTreeMap<AttemptId, Holding>,
    /// No less than the memory of those that have ended, in bytes; counted anew where it passes the bound.
    used: usize,
}

impl Holdings {
    pub fn insert(&mut self, key: AttemptId, holding: Holding) {
        self.all.insert(key, holding);
    }

    pub fn contains(&self, key: AttemptId) -> bool {
        self.all.contains_key(&key)
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn any_running(&self) -> bool {
        self.all.values().any(|holding| holding.ended.is_none())
    }

    /// Whether one with a slot runs on this model.
    pub fn use_model(&self, model: &str) -> bool {
        self.all.values().any(|holding| holding.ended.is_none() && holding.has_slot && holding.model == model)
    }

    /// The model that an attempt runs on.
    pub fn model_of(&self, key: AttemptId) -> Option<&str> {
        self.all.get(&key).map(|holding| holding.model.as_str())
    }

    /// The number of those that run without a slot.
    pub fn aside(&self) -> usize {
        self.all.values().filter(|holding| holding.ended.is_none() && !holding.has_slot).count()
    }

    /// The highest attempt of a task that is held.
    pub fn highest(&self, task: TaskId) -> Option<u32> {
        self.of(task).next_back()
    }

    pub fn edge_of(&self, key: AttemptId) -> Option<&ProcessId> {
        self.all.get(&key).and_then(|holding| holding.edge.as_ref())
    }

    /// The edges that something is held for.
    pub fn edges(&self) -> impl Iterator<Item = &ProcessId> {
        self.all.values().filter_map(|holding| holding.edge.as_ref())
    }

    fn of(&self, task: TaskId) -> impl DoubleEndedIterator<Item = u32> + use<'_> {
        let (first, last) = (AttemptId { task, attempt: 0 }, AttemptId { task, attempt: u32::MAX });
        self.all.range(first..=last).map(|(key, _)| key.attempt)
    }

    /// Stops and forgets an attempt and all lower ones of its task.
    pub fn drop_up_to(&mut self, id: AttemptId) {
        let task = id.task;
        let lower: Vec<u32> = self.of(task).filter(|held| *held <= id.attempt).collect();
        for attempt in lower {
            self.drop_one(AttemptId { task, attempt });
        }
    }

    fn drop_one(&mut self, key: AttemptId) {
        if let Some(holding) = self.all.remove(&key) {
            match holding.edge {
                Some(_) => holding.halt.drop_silently(),
                // Somebody who asks by hand, and may wait for a word.
                None => holding.halt.stop(Failure::give_up(Code::Cancelled, "the task was cancelled")),
            }
        }
    }

    /// Stops and forgets all that one edge owns; how many those were.
    pub fn drop_edge(&mut self, edge: &ProcessId) -> usize {
        let theirs = self.all.iter().filter(|(_, holding)| holding.edge.as_ref() == Some(edge));
        let keys: Vec<AttemptId> = theirs.map(|(key, _)| *key).collect();
        for key in &keys {
            self.drop_one(*key);
        }
        keys.len()
    }

    /// Stops all that run, and tells their edges why.
    pub fn stop_all(&self, why: &Failure) {
        for holding in self.all.values().filter(|holding| holding.ended.is_none()) {
            holding.halt.stop(why.clone());
        }
    }

    /// The edge wants it: it may start, if it waits for that.
    pub fn confirm(&mut self, key: AttemptId) {
        if let Some(confirm) = self.all.get_mut(&key).and_then(|holding| holding.confirm.take()) {
            let _ = confirm.send(());
        }
    }

    /// An attempt has ended. Where nobody will ask for its frames again, it is forgotten. The end is given back to be
    /// sent if the attempt could not send one.
    pub fn ended(&mut self, key: AttemptId, why: &Failure, now: Instant) -> Option<(Inbox, Frame)> {
        let holding = self.all.get_mut(&key)?;
        holding.ended = Some(now);
        let end = holding.end_silently(why).map(|frame| (holding.inbox.clone(), frame));
        self.used += holding.cost();
        if holding.edge.is_none() {
            self.all.remove(&key);
        }
        if self.used > MOST {
            self.stay_small();
        }
        end
    }

    /// Forgets what ended long ago.
    pub fn forget_old(&mut self, now: Instant) {
        self.all.retain(|_, holding| holding.ended.is_none_or(|at| now.duration_since(at) < KEPT_AFTER_END));
    }

    fn stay_small(&mut self) {
        let ended = self.all.iter().filter_map(|(key, holding)| Some((holding.ended?, *key, holding.cost())));
        let mut ended: Vec<(Instant, AttemptId, usize)> = ended.collect();
        self.used = ended.iter().map(|(_, _, cost)| cost).sum();
        if self.used <= MOST {
            return;
        }
        ended.sort_unstable();
        // A little more room than is needed: to count all is not for every attempt.
        for (_, key, cost) in ended {
            if self.used <= MOST / 8 * 7 {
                return;
            }
            self.all.remove(&key);
            self.used -= cost;
        }
    }

    /// What is held, for a pong.
    pub fn all(&self) -> Vec<Held> {
        self.all.iter().map(|(key, holding)| holding.held(*key)).collect()
    }

    /// What is held of one edge's, for a pulse.
    pub fn of_edge(&self, edge: &ProcessId) -> Vec<Held> {
        let theirs = self.all.iter().filter(|(_, holding)| holding.edge.as_ref() == Some(edge));
        theirs.map(|(key, holding)| holding.held(*key)).collect()
    }

    /// These attempts, for a heartbeat.
    pub fn named(&self, keys: Vec<AttemptId>) -> Vec<Held> {
        let held = |key: AttemptId| {
            let gone = Held { id: key, seq: None, ended: false };
            self.all.get(&key).map_or(gone, |holding| Held { ended: false, ..holding.held(key) })
        };
        keys.into_iter().map(held).collect()
    }

    /// Frames to be sent again, and where to.
    pub fn frames(&self, key: AttemptId, from: u64, to: u64) -> Option<(Inbox, Vec<Frame>)> {
        let holding = self.all.get(&key)?;
        let frames = holding.replay.lock().unwrap_or_else(PoisonError::into_inner).range(from, to);
        Some((holding.inbox.clone(), frames))
    }
}

impl Holding {
    fn held(&self, key: AttemptId) -> Held {
        let replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        Held { id: key, seq: replay.last(), ended: replay.ended() }
    }

    fn end_silently(&self, why: &Failure) -> Option<Frame> {
        let mut replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        if replay.ended() { None } else { Some(replay.failed(why.clone())) }
    }

    fn cost(&self) -> usize {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner).cost()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use echo_bus::message::Piece;

    fn ended(holdings: &mut Holdings, task: u128, bytes: usize, now: Instant) -> AttemptId {
        let key = AttemptId { task: TaskId::from_u128(task), attempt: 1 };
        let mut replay = ReplayBuffer::new(true);
        replay.token(vec![Piece::text("x".repeat(bytes))]).unwrap();
        replay.done(Vec::new(), Box::default()).unwrap();
        let holding = Holding {
            edge: Some("e".parse().unwrap()),
            inbox: Inbox::try_from("_INBOX.edge.e.k".to_owned()).unwrap(),
            replay: Arc::new(Mutex::new(replay)),
            halt: Arc::default(),
            confirm: None,
            has_slot: true,
            model: String::new(),
            ended: None,
        };
        holdings.insert(key, holding);
        holdings.ended(key, &Failure::give_up(Code::Cancelled, ""), now);
        key
    }

    #[test]
    fn ended_answers_are_kept_within_a_bound_and_the_oldest_go_first() {
        let (mut holdings, start) = (Holdings::default(), Instant::now());
        let keys: Vec<_> = (0..10)
            .map(|n| ended(&mut holdings, n, MOST / 8, start + Duration::from_millis(n as u64)))
            .collect();
        let kept: Vec<_> = keys.iter().map(|key| holdings.contains(*key)).collect();
        let used: usize = holdings.all.values().map(Holding::cost).sum();
        assert!((MOST / 2..=MOST).contains(&used), "{used} bytes");
        assert!(kept.is_sorted() && kept[9], "{kept:?}");
    }

    #[test]
    fn what_was_forgotten_in_time_makes_room() {
        let (mut holdings, mut now) = (Holdings::default(), Instant::now());
        for n in 0..20 {
            now += KEPT_AFTER_END;
            holdings.forget_old(now);
            let key = ended(&mut holdings, n, MOST / 8, now);
            assert!(holdings.contains(key) && holdings.all.len() == 1);
        }
        let one_more = ended(&mut holdings, 20, MOST / 8, now);
        assert_eq!((holdings.contains(one_more), holdings.all.len()), (true, 2));
    }
}
