//! What a failure is charged to: the task's budget, the request itself, or nobody.

use std::time::Instant;

use echo_bus::message::{Code, Excluded, Failure, Fault, Request, Verdict};

use super::{Attempts, Step};

/// What an engine's death or stall weighs, where only this request can have caused it, and where another may have.
pub const OWN: u32 = 2;
pub const SHARED: u32 = 1;
/// Two engines that were this request's own doing.
pub const HARMFUL: u32 = 2 * OWN;

/// An engine that refuses before the first byte may be in trouble itself; a second one that does the same is not.
const REFUSALS: u32 = 2;

/// Failures that nobody is charged for are bounded all the same: so many times the budget.
const UNCHARGED: u32 = 4;

/// What a task has been through.
#[derive(Debug, Default)]
pub struct Charges {
    /// Failures that count against the budget of attempts.
    pub budget: u32,
    refusals: u32,
    /// The last refusal: the answer, if nobody says anything better.
    pub refusal: Option<Box<Failure>>,
    /// The weight of the engines that died or stalled under this task.
    harm: u32,
}

/// What a death or stall weighs against the request.
pub fn weight(fault: Fault) -> u32 {
    match fault {
        Fault::Request => OWN,
        Fault::Shared => SHARED,
        Fault::Other | Fault::Machine | Fault::Unknown => 0,
    }
}

/// The end of a request that engines do not survive.
pub fn harmful(last: &str) -> Failure {
    let message = format!(
        "engines died or stalled each time they worked on this request, and it is not tried on another one; the last: \
         {last}"
    );
    Failure::give_up(Code::Harmful, message)
}

impl Attempts {
    /// A node that had accepted the task could not do it.
    pub(super) fn charge(&mut self, node: Excluded, failure: Failure, now: Instant) -> Step {
        self.exclude(node);
        if failure.is_refusal() {
            return self.refused(failure, now);
        }
        let charges = &mut self.charges;
        charges.harm += weight(failure.fault);
        charges.budget += u32::from(!matches!(failure.fault, Fault::Shared | Fault::Other));
        if charges.harm >= HARMFUL {
            return self.fail(harmful(&failure.for_log()));
        }
        if self.is_spent() {
            return self.fail_spent(&failure);
        }
        self.resume(failure, now)
    }

    pub(super) fn is_spent(&self) -> bool {
        let most = self.limits.attempts;
        self.charges.budget >= most || self.accepts >= most.saturating_mul(UNCHARGED)
    }

    fn fail_spent(&mut self, failure: &Failure) -> Step {
        let message = format!("gave up after {} attempts; the last: {}", self.accepts, failure.message);
        self.fail(Failure { message, verdict: Verdict::GiveUp, ..failure.clone() })
    }

    /// The engine works, and answered with an error. Whose fault that is shows at another node.
    fn refused(&mut self, failure: Failure, now: Instant) -> Step {
        self.charges.refusals += 1;
        self.charges.budget += 1;
        let final_word = Failure { verdict: Verdict::GiveUp, ..failure.clone() };
        // A model's broken tool call breaks off each time, after the same text: what was read cannot be taken back.
        let settled = self.has_begun() && (self.has_tools() || !self.can_continue());
        if self.charges.refusals >= REFUSALS || self.is_spent() || (settled && self.answer.is_read()) {
            return self.fail(final_word);
        }
        if settled {
            self.forget_answer();
        }
        self.charges.refusal = Some(Box::new(final_word));
        self.resume(failure, now)
    }

    /// The refusal of a node is the answer where nobody else had another.
    pub(super) fn or_the_refusal(&mut self, failure: Failure) -> Failure {
        match self.charges.refusal.take() {
            Some(refusal) if self.accepted.is_none() => *refusal,
            _ => failure,
        }
    }

    fn has_tools(&self) -> bool {
        matches!(&self.request, Request::Chat(chat) if !chat.tools.is_empty())
    }
}

#[cfg(test)]
mod tests;
