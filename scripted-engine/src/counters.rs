//! What happened at the engine: counts that undo themselves, and the latest requests as they came.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use axum::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Requests that are remembered, by number and by size.
const MOST_SEEN: usize = 256;
const MOST_BYTES: usize = 16 << 20;

/// A moment's counts. Every request that works on a model ends as finished, cancelled, failed or refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub started: u64,
    /// Not running yet: waiting for a slot or for a model.
    pub waiting: u64,
    /// Holding a slot.
    pub running: u64,
    pub max_running: u64,
    pub finished: u64,
    /// The client closed the connection first.
    pub cancelled: u64,
    /// Ended by a fault of the script or by the engine's death.
    pub failed: u64,
    /// Answered with an error status before the work began.
    pub refused: u64,
    pub tokens: u64,
    /// Requests that came with a text so far.
    pub resumed: u64,
    /// Those whose text so far is not the beginning of this engine's answer: a broken seam.
    pub misfits: u64,
    pub loads: u64,
    /// Loads that a change of load-time options caused.
    pub reloads: u64,
}

/// How often an engine was asked for one numbered task, and how often it came to the end of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    pub started: u64,
    pub finished: u64,
}

impl Times {
    pub fn add(&mut self, other: Self) {
        self.started += other.started;
        self.finished += other.finished;
    }
}

/// One request as it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    pub path: String,
    pub body: Value,
}

#[derive(Default)]
pub struct Tally {
    pub started: AtomicU64,
    pub waiting: AtomicU64,
    pub running: AtomicU64,
    pub max_running: AtomicU64,
    pub finished: AtomicU64,
    pub cancelled: AtomicU64,
    pub failed: AtomicU64,
    pub refused: AtomicU64,
    tokens: AtomicU64,
    resumed: AtomicU64,
    misfits: AtomicU64,
    loads: AtomicU64,
    reloads: AtomicU64,
    /// While set, connections end because the engine does, and nobody has cancelled anything.
    pub dead: AtomicBool,
    seen: Mutex<VecDeque<(&'static str, Bytes)>>,
    ledger: Mutex<HashMap<u64, Times>>,
}

impl Tally {
    pub fn counters(&self) -> Counters {
        Counters {
            started: self.started.load(SeqCst),
            waiting: self.waiting.load(SeqCst),
            running: self.running.load(SeqCst),
            max_running: self.max_running.load(SeqCst),
            finished: self.finished.load(SeqCst),
            cancelled: self.cancelled.load(SeqCst),
            failed: self.failed.load(SeqCst),
            refused: self.refused.load(SeqCst),
            tokens: self.tokens.load(SeqCst),
            resumed: self.resumed.load(SeqCst),
            misfits: self.misfits.load(SeqCst),
            loads: self.loads.load(SeqCst),
            reloads: self.reloads.load(SeqCst),
        }
    }

    pub fn made(&self, tokens: u64) {
        self.tokens.fetch_add(tokens, SeqCst);
    }

    pub fn resumed(&self, fits: bool) {
        self.resumed.fetch_add(1, SeqCst);
        self.misfits.fetch_add(u64::from(!fits), SeqCst);
    }

    pub fn loaded(&self, again: bool) {
        self.loads.fetch_add(1, SeqCst);
        self.reloads.fetch_add(u64::from(again), SeqCst);
    }

    /// Remembers a request; its own copy, so that no read buffer is kept alive.
    pub fn note(&self, path: &'static str, body: &[u8]) {
        if body.len() > MOST_BYTES {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push_back((path, Bytes::copy_from_slice(body)));
        let mut bytes: usize = seen.iter().map(|(_, body)| body.len()).sum();
        while seen.len() > MOST_SEEN || bytes > MOST_BYTES {
            bytes -= seen.pop_front().map_or(0, |(_, body)| body.len());
        }
    }

    /// What became of each task whose prompt gives it a number.
    pub fn ledger(&self) -> HashMap<u64, Times> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn enter(&self, task: u64, change: impl FnOnce(&mut Times)) {
        change(self.ledger.lock().unwrap_or_else(PoisonError::into_inner).entry(task).or_default());
    }

    /// The latest requests, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let parsed = seen.iter().map(|(path, body)| Seen {
            path: (*path).to_owned(),
            body: serde_json::from_slice(body).unwrap_or(Value::Null),
        });
        parsed.collect()
    }
}
