//! Being told to stop.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::os;

/// SIGINT, SIGTERM, and SIGHUP, which comes when the terminal is closed.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Absent where it is ignored, as under `nohup`.
    hangup: Option<Signal>,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if os::ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    /// Comes back with the next one. Cancel-safe.
    pub async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}
