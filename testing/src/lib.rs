//! The test harness: an engine that does as it is told, a proxy that misbehaves, a client that notes everything, and
//! the whole mesh that is built on them.

pub mod client;
pub mod engine;
pub mod mesh;
pub mod proxy;
