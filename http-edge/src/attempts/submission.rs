//! The next attempt, as it is submitted.

use std::time::{Duration, Instant};

use echo_bus::id::{ClientName, Inbox, ProcessId};
use echo_bus::message::{SoFar, Task};

use super::Attempts;
use super::course::millis;

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
