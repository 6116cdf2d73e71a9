//! The scheduling policy: a task goes where it is expected to be done first, what it costs others included. If that node
//! is full, the task is held for it until another one becomes better.
//!
//! Plain data without I/O and without a clock. [`Book`] is what is known, all of it told by nodes or by our own
//! placements; [`assign`] decides, the same from the same. Times are seconds since the orchestrator's start.

mod assign;
mod book;
mod cache;
mod facts;
mod judge;
mod lengths;
mod models;
mod nearest;
mod node;
mod rate;
#[cfg(test)]
mod tests;
mod weights;
mod why;

pub use assign::{Ask, Look, Stand, Step, Waiting, assign};
pub use book::Book;
pub use cache::Prompt;
pub use models::Id;
pub use nearest::{Candidate, nearest};
pub use node::Own;
pub use weights::Weights;
pub use why::millis;

/// A number that may be reckoned with: what is none, or beyond these bounds, is the nearest of them.
fn within(value: f64, least: f64, most: f64) -> f64 {
    // `max` takes the other side of a comparison with NaN.
    value.max(least).min(most)
}
