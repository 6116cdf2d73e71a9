//! The contract of the mesh: what can be said (ids, subjects, messages), the typed client that says it, and what every
//! program does at its start and end.

pub mod client;
pub mod discover;
pub mod id;
pub mod message;
pub mod process;
pub mod secret;
pub mod subject;

pub use client::Bus;
