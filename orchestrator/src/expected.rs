//! The scheduling policy: a task goes where it is expected to be done first, what it costs others included. If that node
//! is full, the task is held for it until another one becomes better.
//!
//! Plain data without I/O and without a clock. [`Book`] is what is known, all of it told by nodes or by our own
//! placements; [`assign`] decides, the same from the same. Times are seconds since the orchestrator's start.

mod ask;
mod assign;
mod book;
mod bounds;
mod cache;
mod candidate;
mod facts;
mod free_slot;
mod judge;
mod lengths;
mod models;
mod nearest;
mod node;
mod rate;
#[cfg(test)]
mod tests;
mod verdict;
mod waiting;
mod weights;
mod why;

pub use ask::Ask;
pub use assign::{KEPT, Step, assign};
pub use book::Book;
pub use cache::Prompt;
pub use candidate::Candidate;
pub use models::Id;
pub use nearest::nearest;
pub use node::Own;
pub use waiting::{Look, Stand, Waiting};
pub use weights::Weights;
pub use why::{AT_THIS_SITE, Reason, millis};
