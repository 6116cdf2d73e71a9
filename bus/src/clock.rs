//! The time of an event, as what decides gets it: nothing that decides reads a clock by itself.

use std::time::Instant;

use crate::message::unix_millis;

/// One moment on both clocks of a machine. The monotonic one decides; it stands still while some machines are suspended.
/// The wall clock goes on, but people and time servers set it: it is shown to people, and compared only to find out
/// that the machine was suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub at: Instant,
    pub unix_ms: u64,
}

impl Now {
    /// This moment.
    pub fn read() -> Self {
        Self { at: Instant::now(), unix_ms: unix_millis() }
    }
}
