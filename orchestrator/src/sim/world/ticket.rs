//! A task on paper: what was told of it, and what became of it.

use crate::sim::engine::{Ask, Job};

/// A task.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    pub ask: Ask,
    pub script: usize,
    pub turn: usize,
    pub client: Option<&'static str>,
    pub arrived: f64,
    /// Its orchestrator.
    pub owner: usize,
    pub told: Told,
    pub outcome: Outcome,
}

/// What was told of a task before it was known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Told {
    /// Until it gets a slot, when it was queued.
    pub wait: Option<Guess>,
    /// Until it is done, when it was placed.
    pub end: Option<Guess>,
}

/// So many seconds from that moment on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guess {
    pub at: f64,
    pub seconds: f64,
}

/// Where a task is, or what became of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    Waiting,
    Running {
        node: usize,
    },
    Done {
        node: usize,
        job: Job,
    },
    /// The mesh gave it up.
    Failed {
        at: f64,
    },
}
