//! What came of a trace.

use super::ticket::Ticket;
use crate::sim::trace::Change;

/// A trace that was played to its end.
#[derive(Debug)]
pub struct Run {
    pub tickets: Vec<Ticket>,
    /// What changed meanwhile.
    pub changes: Vec<Change>,
    pub loads: usize,
    pub refusals: usize,
    /// Seconds until the last end.
    pub seconds: f64,
}
