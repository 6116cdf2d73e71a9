//! Requests that engines do not survive: what this edge's tasks tell of each other.

use std::time::Instant;

use echo_bus::id::TaskId;
use echo_bus::message::{Code, Failure, Frame};

use super::Edge;
use super::event::Action;
use crate::attempts::charge;

impl Edge {
    /// What an engine suffered may have been this request's doing; an answer proves that it harms nobody.
    pub(super) fn note_harm(&mut self, id: TaskId, frame: &Frame, now: Instant, out: &mut Vec<Action>) {
        let Some(task) = self.tasks.get(&id) else { return };
        match (frame, task.attempts.holding()) {
            (Frame::Failed { failure, .. }, Some(node)) if charge::weight(failure.fault) > 0 => {
                // An answer that was being made speaks for its request, though not much.
                let most = if task.attempts.gives() { charge::SHARED } else { charge::OWN };
                let (request, weight) =
                    (task.attempts.fingerprint(), charge::weight(failure.fault).min(most));
                let before = self.suspects.barred(request, now);
                self.suspects.note(request, node, failure.harm, weight, now);
                if before.is_none() && self.suspects.barred(request, now).is_some() {
                    self.stop_barred(request, id, now, out);
                }
            }
            (Frame::Done { .. }, _) if !self.suspects.is_empty() => {
                self.suspects.clear(task.attempts.fingerprint());
            }
            _ => {}
        }
    }

    /// Other tasks that ask the same, so that those in line do not go on to the next engine. An answer that is being
    /// made proves the contrary.
    fn stop_barred(&mut self, request: u64, but: TaskId, now: Instant, out: &mut Vec<Action>) {
        let same = self.tasks.iter().filter(|(id, task)| {
            let attempts = &task.attempts;
            **id != but && !attempts.has_begun() && !attempts.has_ended() && attempts.fingerprint() == request
        });
        let same: Vec<TaskId> = same.map(|(id, _)| *id).collect();
        for id in same {
            if let Some(failure) = self.barred(id, now) {
                self.withdraw(id, None, out);
                self.fail(id, failure, now, out);
            }
        }
    }

    /// The refusal of a request that engines did not survive a moment ago. An answer that has begun is judged by what
    /// happens to it.
    pub(super) fn barred(&self, id: TaskId, now: Instant) -> Option<Failure> {
        let task =
            self.tasks.get(&id).filter(|task| !self.suspects.is_empty() && !task.attempts.has_begun())?;
        let left = self.suspects.barred(task.attempts.fingerprint(), now)?;
        let message = format!(
            "engines died or stalled each time they worked on this request; the same request is not tried for another {} s",
            left.as_secs() + 1
        );
        let retry_after_ms = u64::try_from(left.as_millis()).ok();
        Some(Failure { retry_after_ms, ..Failure::give_up(Code::Harmful, message) })
    }
}
