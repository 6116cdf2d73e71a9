//! The way to stop an attempt from outside.

use std::sync::OnceLock;

use echo_bus::message::{Code, Failure};
use tokio_util::sync::CancellationToken;

/// Stops an attempt, and keeps the reason, if somebody is to hear one.
#[derive(Debug, Default)]
pub struct Halt {
    pub(super) token: CancellationToken,
    why: OnceLock<Failure>,
}

impl Halt {
    /// Stops it; `why` is what the edge is told.
    pub fn stop(&self, why: Failure) {
        let _ = self.why.set(why);
        self.token.cancel();
    }

    /// Stops what its edge does not want any more: nobody is told.
    pub fn drop_silently(&self) {
        self.token.cancel();
    }

    /// Whether nobody wants to hear of it any more.
    pub(super) fn is_unwanted(&self) -> bool {
        self.is_stopped() && self.why.get().is_none()
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(super) fn reason(&self) -> Failure {
        let cancelled = || Failure::give_up(Code::Cancelled, "the task was cancelled");
        self.why.get().cloned().unwrap_or_else(cancelled)
    }
}
