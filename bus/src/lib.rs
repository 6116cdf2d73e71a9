//! The contract of the mesh: what can be said (ids, subjects, messages), by which rules attempts are held, the typed client
//! that says it, and what every program does at its start and end.

mod announcer;
pub mod client;
pub mod clock;
pub mod discover;
pub mod holding;
pub mod host;
pub mod id;
pub mod key;
pub mod message;
pub mod model_name;
pub mod model_pattern;
mod outbox;
pub mod permission;
pub mod private_file;
pub mod process;
pub mod rarely;
pub mod subject;
pub mod threads;
pub mod time;

pub use announcer::announcer;
pub use client::Bus;
pub use outbox::Outbox;
