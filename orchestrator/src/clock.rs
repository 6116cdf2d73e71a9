//! One moment on both clocks.

use std::time::Instant;

use echo_bus::message::unix_millis;

/// The time of an event: one clock to decide by, one to show to people.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub at: Instant,
    /// Unix milliseconds; never compared.
    pub unix_ms: u64,
}

impl Now {
    /// This moment.
    pub fn read() -> Self {
        Self { at: Instant::now(), unix_ms: unix_millis() }
    }
}
