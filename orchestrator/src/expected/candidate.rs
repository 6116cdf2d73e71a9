//! A node that a task may go to.

use crate::distance::Distance;
use crate::facts::AtBest;
use crate::fit::Fit;
use crate::registry::Key;

/// Costs that differ by less are the same, in seconds.
pub(super) const SAME: f64 = 1e-6;

/// What is known of it at first sight.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    pub key: Key,
    pub fit: Fit,
    /// It is known to do what the task needs.
    pub says: bool,
    /// Nothing is to be heard of it before a task can go there.
    pub is_heard: bool,
    pub at_best: AtBest,
    pub distance: Distance,
    /// Slots in use, and when it was used last: between equal nodes the least decides.
    pub used: u32,
    pub slots: u32,
    pub last_used: u64,
    /// When a slot becomes free, as far as was known when that changed last; 0 if one is.
    pub free_at: f64,
    /// What the task costs there at first sight. Nodes that are worse by this than another one's true cost are not judged.
    pub estimate: f64,
}

impl Candidate {
    /// The better one by what a task costs there, then by how busy it is, then by when it was used last.
    pub fn is_before(&self, cost: f64, other: &Self, its_cost: f64) -> bool {
        let gap = cost - its_cost;
        gap < -SAME || (gap <= SAME && (self.used, self.last_used) < (other.used, other.last_used))
    }
}
