//! The test harness: a proxy that misbehaves, a client that notes everything, and the whole mesh that is built on them
//! and on scripted engines; and the faults that are made on it, row by row.

pub mod chats;
pub mod client;
pub mod faults;
pub mod mesh;
pub mod mistakes;
pub mod proxy;
#[cfg(feature = "sim")]
pub mod schedule;
pub mod skip;
