//! How an attempt ended, for the node's own books.

use std::time::Duration;

use echo_bus::id::AttemptId;
use echo_bus::message::{Failure, Verdict};

/// What is told of an attempt that is over.
#[derive(Debug)]
pub struct Report {
    pub key: AttemptId,
    pub model: String,
    /// The fingerprint of what was asked.
    pub request: u64,
    pub end: End,
    /// Of requests that generate; others say nothing of the engine's health.
    pub generates: bool,
    pub tokens: u64,
    pub tokens_per_second: Option<f64>,
    pub load: Option<Duration>,
    /// It was about which models are there, or in memory.
    pub moves: bool,
    pub first_piece: Option<Duration>,
}

/// The end of an attempt.
#[derive(Debug)]
pub enum End {
    Done,
    Failed(Failure),
    Halted,
}

impl End {
    /// The word in the metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Halted => "cancelled",
            Self::Failed(failure) if failure.verdict == Verdict::Elsewhere => "elsewhere",
            Self::Failed(_) => "failed",
        }
    }
}
