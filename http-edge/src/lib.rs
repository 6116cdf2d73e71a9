//! The HTTP edge: owns every task that a client is waiting for, and speaks HTTP to the clients.

mod answer;
mod attempts;
pub mod config;
mod edge;
mod feed;
mod holders;
mod http;
mod inbox;
pub mod keys;
mod limits;
pub mod measure;
mod perform;
pub mod program;
mod report;
mod resequencer;
pub mod run;
mod serve;
mod suspects;
mod tasks;
mod watch;

pub use config::Config;
pub use run::{run, starting};
