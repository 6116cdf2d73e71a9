//! A request that is counted: waiting, running, and ended in one of four ways.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use tokio::sync::OwnedSemaphorePermit;

use super::{counters::Tally, models::Loan};

enum Outcome {
    Open,
    Finished,
    Failed,
    Refused,
}

/// One request from its arrival to its end. Dropped without an outcome it was cancelled.
pub struct Run {
    tally: Arc<Tally>,
    task: Option<u64>,
    running: bool,
    outcome: Outcome,
    // Dropped after the counts are down, so that no count ever exceeds the slots.
    hold: Option<(OwnedSemaphorePermit, Option<Loan>)>,
}

impl Run {
    pub fn begin(tally: &Arc<Tally>) -> Self {
        tally.started.fetch_add(1, SeqCst);
        tally.waiting.fetch_add(1, SeqCst);
        Self { tally: tally.clone(), task: None, running: false, outcome: Outcome::Open, hold: None }
    }

    /// Enters the task into the ledger, if its prompt numbers it.
    pub fn is_of(&mut self, task: Option<u64>) {
        self.task = task;
        if let Some(task) = task {
            self.tally.enter(task, |times| times.started += 1);
        }
    }

    /// From waiting to running, once.
    pub fn runs(&mut self, slot: OwnedSemaphorePermit, loan: Option<Loan>) {
        self.hold = Some((slot, loan));
        self.works();
    }

    /// The same where a machine keeps the slots.
    pub fn works(&mut self) {
        self.running = true;
        self.tally.waiting.fetch_sub(1, SeqCst);
        let now = self.tally.running.fetch_add(1, SeqCst) + 1;
        self.tally.max_running.fetch_max(now, SeqCst);
    }

    pub fn finish(mut self) {
        self.outcome = Outcome::Finished;
    }

    pub fn fail(mut self) {
        self.outcome = Outcome::Failed;
    }

    pub fn refuse(mut self) {
        self.outcome = Outcome::Refused;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let place = if self.running { &self.tally.running } else { &self.tally.waiting };
        place.fetch_sub(1, SeqCst);
        if let (Some(task), Outcome::Finished) = (self.task, &self.outcome) {
            self.tally.enter(task, |times| times.finished += 1);
        }
        let end = match self.outcome {
            Outcome::Finished => &self.tally.finished,
            Outcome::Refused => &self.tally.refused,
            Outcome::Failed => &self.tally.failed,
            Outcome::Open if self.tally.dead.load(SeqCst) => &self.tally.failed,
            Outcome::Open => &self.tally.cancelled,
        };
        end.fetch_add(1, SeqCst);
    }
}
