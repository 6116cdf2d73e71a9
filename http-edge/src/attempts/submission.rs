//! The next attempt, as it is submitted, and the answer to that.

use std::time::{Duration, Instant};

use echo_bus::id::{ClientName, Inbox, ProcessId};
use echo_bus::message::{SoFar, Submission, Task, Verdict};

use super::course::millis;
use super::{Attempts, Step};

/// Between two submissions that nobody took.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Attempts {
    /// The next attempt, ready to be submitted.
    pub fn submit(
        &mut self,
        edge: &ProcessId,
        client: Option<&ClientName>,
        inbox: Inbox,
        now: Instant,
    ) -> Task {
        self.attempt += 1;
        self.given_up = false;
        self.gives = false;
        self.accepted = None;
        self.tally.next();
        self.queued_since.get_or_insert(now);
        let left = self.limits.total.saturating_sub(now.duration_since(self.began));
        let mut task = Task {
            client: client.cloned(),
            site: self.limits.site.clone(),
            task: self.task,
            attempt: self.attempt,
            boot: None,
            inbox: Some(inbox),
            edge: Some(edge.clone()),
            remaining_ms: millis(left),
            first_token_ms: millis(self.limits.first_token),
            token_ms: millis(self.limits.token),
            waited_ms: millis(self.waited_until(now)),
            excluded: self.excluded.clone(),
            so_far: self.so_far(),
            second_opinion: self.charges.refusal.is_some(),
            joins_end: true,
            takes_several: true,
            chosen: String::new(),
            why: None,
            request: self.request.clone(),
            traceparent: None,
        };
        self.trace.begin(&mut task);
        task
    }

    /// The answer to a submission.
    pub fn submitted(&mut self, submission: Submission, now: Instant) -> Step {
        match submission {
            Submission::Taken { by, .. } => {
                (self.untaken_since, self.pauses) = (None, 0);
                // The node's own word may have been quicker, and is about to come if not.
                if let Some(by) = by {
                    self.held_by(by);
                }
                Step::Wait
            }
            // Nor has it a say here: the node did not answer it, and has answered us.
            Submission::Refused(_) | Submission::Unknown if self.accepted.is_some() => Step::Wait,
            Submission::Refused(failure) if failure.verdict == Verdict::GiveUp => self.give_up(failure),
            Submission::Refused(_) | Submission::Unknown => self.untaken(now),
        }
    }

    /// Nobody took the submission, or nobody knows: the next one is another attempt.
    pub fn untaken(&mut self, now: Instant) -> Step {
        self.untaken_since.get_or_insert(now);
        self.pause()
    }

    fn pause(&mut self) -> Step {
        let pause = PAUSE.saturating_mul(1 << self.pauses.min(5)).min(LONGEST_PAUSE);
        self.pauses += 1;
        self.again(pause)
    }

    pub(super) fn waited_until(&self, now: Instant) -> Duration {
        self.waited + self.queued_since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    fn so_far(&self) -> Option<SoFar> {
        let (tokens, exact) = self.tally.so_far();
        self.has_begun().then(|| SoFar {
            content: self.answer.content().to_owned(),
            thinking: self.answer.thinking().to_owned(),
            tokens,
            exact,
        })
    }
}
