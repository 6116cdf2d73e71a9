//! The simulator's traces on real processes: a real broker, the real programs, engines that are as slow as the
//! simulator's. What is measured stands beside what the simulator says of the same trace.
//!
//! A trace is compressed: engines, loads, arrivals and pauses are so many times faster, for the simulator too. What the
//! programs wait for (heartbeats, probes, the policy's own times) is not, on either side.

mod figures;
mod fleet;
mod plan;
mod play;
mod script;

pub use figures::{Sheet, Side, markdown};
pub use plan::Plan;
pub use play::play;
