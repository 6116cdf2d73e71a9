//! A node's agent: its heartbeats, its slots, its running tasks, and the engine that does the work.
//!
//! Events go into `node`, which is plain data and decides; `agent` waits and acts; one `attempt` runs one task.

pub mod agent;
mod attempt;
mod calibrate;
mod catalog;
mod company;
pub mod config;
mod duplicate_node;
mod engine;
mod error;
mod facts;
mod gap;
mod health;
mod heartbeat_schedule;
mod http;
mod inbox;
mod loads;
mod machine;
pub mod metrics;
mod node;
mod owner;
mod perform;
pub mod program;
mod replay;
mod room;
mod slots;
mod trial;
mod usage;
mod watchdog;

pub use agent::run;
pub use config::{Args, Config};
pub use error::Error;
pub use owner::OwnerArgs;
