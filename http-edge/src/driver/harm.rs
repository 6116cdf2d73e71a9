//! Requests that engines do not survive: what a task's failures say of its request, and when it is not tried any more.

use std::time::Instant;

use echo_bus::message::{Code, Failure, Frame};

use super::Driver;
use crate::life::{Ending, charge};
use crate::suspects::Suspects;

impl Driver {
    /// What an engine suffered may have been this request's doing; an answer proves that it harms nobody.
    pub(super) fn note_harm(&self, frame: &Frame) {
        match (frame, self.life.holder()) {
            (Frame::Failed { failure, .. }, Some(node)) if charge::weight(failure.fault) > 0 => {
                // An answer that was being made speaks for its request, though not much.
                let most = if self.life.gives() { charge::SHARED } else { charge::OWN };
                let weight = charge::weight(failure.fault).min(most);
                self.owner.note_harm(self.life.fingerprint(), node, weight);
            }
            (Frame::Done { .. }, _) => self.owner.suspects(|suspects| {
                if !suspects.is_empty() {
                    suspects.clear(self.life.fingerprint());
                }
            }),
            _ => {}
        }
    }

    /// Engines do not survive this request: another task has shown it. An answer that is being made proves the contrary.
    pub(super) async fn stop_if_barred(&mut self, request: u64) {
        if self.life.has_begun() || self.life.has_ended() || self.life.fingerprint() != request {
            return;
        }
        if let Some(failure) = self.barred(Instant::now()) {
            self.withdraw(None).await;
            self.life.stop();
            self.end(Ending::Failed(failure));
        }
    }

    /// The refusal of a request that engines did not survive a moment ago.
    pub(super) fn barred(&self, now: Instant) -> Option<Failure> {
        let barred = |suspects: &mut Suspects| {
            if suspects.is_empty() { None } else { suspects.barred(self.life.fingerprint(), now) }
        };
        let left = self.owner.suspects(barred)?;
        let message = format!(
            "engines died or stalled each time they worked on this request; the same request is not tried for another {} s",
            left.as_secs() + 1
        );
        let retry_after_ms = Some(left.as_millis() as u64);
        Some(Failure { retry_after_ms, ..Failure::give_up(Code::Harmful, message) })
    }
}
