//! Who is alive, who is next, and who waits: places tasks on nodes, and is never in the path of their tokens.
//!
//! What decides (`State` and below) is plain data without I/O and without a clock; what acts is `run`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod config;
pub mod event;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod state;

mod distance;
mod expected;
mod facts;
mod fit;
mod holding;
mod inbox;
pub mod metrics;
mod need;
mod node;
mod perform;
pub mod program;
mod queue;
mod reason;
mod recent;
mod registry;
mod run;
mod scheduler;
mod snapshot;
mod submission;
mod trace;

#[cfg(test)]
mod testkit;

pub use config::{Config, Limits};
pub use run::{Error, run};
pub use state::State;
