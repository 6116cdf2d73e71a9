//! The nats-server underneath the mesh: found or fetched, checked, supervised and announced.

pub mod machines;
pub mod program;
pub mod server;
pub mod trust;
