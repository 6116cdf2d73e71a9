//! Whether an answer that has begun can go on elsewhere honestly, as far as the edge can say; how its engine takes it is
//! the agent's to decide (`agent/src/engine/decision.rs`). What cannot go on begins anew while nobody has read it.

use std::time::Instant;

use echo_bus::message::{Code, Failure, Request, Said, Settings, Verdict};

use super::{Attempts, Step};

const ASK_AGAIN: &str = "ask again, or without streaming: what nobody has read yet begins anew by itself";

impl Attempts {
    pub(super) fn can_continue(&self) -> bool {
        self.why_not().is_none()
    }

    /// What was going on, and why the answer cannot go on from there.
    fn why_not(&self) -> Option<&'static str> {
        if !self.limits.continues {
            Some(
                "the answer broke off, and answers are not continued elsewhere on this mesh (--continue never)",
            )
        } else if self.answer.calls_tools() {
            Some(
                "the answer broke off after a tool call was sent, and cannot go on at another node: no engine takes \
                 up an answer behind a call",
            )
        } else if self.has_format() {
            Some(
                "the answer broke off under a JSON format, and cannot go on at another node: it has to be valid as a \
                 whole",
            )
        } else if !self.fits() {
            Some("the answer broke off, and is too long to go on at another node")
        } else if !self.is_text() {
            Some("the answer broke off, and this kind of request cannot go on at another node")
        } else {
            None
        }
    }

    /// Goes on elsewhere where that is honest.
    pub(super) fn resume(&mut self, failure: Failure, now: Instant) -> Step {
        if self.has_begun() {
            // A node that gave nothing of the answer has not broken it off.
            if self.gives || self.broke_off.is_none() {
                self.broke_off = Some(Box::new(failure));
            }
            if let Some(why) = self.why_not() {
                let refusal = Failure::give_up(Code::CannotContinue, format!("{why}; {ASK_AGAIN}"));
                return self.cannot_continue(refusal, now);
            }
        }
        self.untaken_at_once(now)
    }

    /// Begins anew where nobody has read. Else it is for another node, where only this one's engine cannot go on; or it ends
    /// with what broke the answer off.
    pub(super) fn cannot_continue(&mut self, refusal: Failure, now: Instant) -> Step {
        if !self.answer.is_read() {
            self.forget_answer();
            return self.untaken_at_once(now);
        }
        let is_the_engines = refusal.verdict == Verdict::Elsewhere && !self.gives && !self.is_spent();
        let final_word = self.with_cause(refusal);
        match self.accepted.take_if(|_| is_the_engines) {
            Some(node) => {
                self.exclude(node);
                self.charges.refusal = Some(Box::new(final_word));
                self.untaken_at_once(now)
            }
            None => self.fail(final_word),
        }
    }

    /// The refusal as it is told at the end.
    fn with_cause(&self, refusal: Failure) -> Failure {
        let mut told = Failure { verdict: Verdict::GiveUp, ..refusal };
        if let Some(cause) = &self.broke_off {
            told.message = format!("{}; what broke it off: {}", told.message, cause.message);
            // An engine's words are for the client, and for no log.
            let said = || Box::new(Said { words: told.message.clone(), ..Said::default() });
            told.said = cause.said.as_ref().map(|_| said());
        }
        told
    }

    fn fits(&self) -> bool {
        self.answer.content().len() + self.answer.thinking().len() <= self.limits.longest
    }

    fn is_text(&self) -> bool {
        matches!(self.request, Request::Generate(_) | Request::Chat(_))
    }

    fn has_format(&self) -> bool {
        settings(&self.request).is_some_and(Settings::has_format)
    }
}

/// Whether an engine may hold back text until it is sure that it is no stop word and no tool call.
pub(super) fn holds_back(request: &Request) -> bool {
    let calls = matches!(request, Request::Chat(chat) if !chat.tools.is_empty());
    calls || settings(request).is_some_and(|settings| !settings.stop.is_empty())
}

fn settings(request: &Request) -> Option<&Settings> {
    match request {
        Request::Generate(it) => Some(&it.settings),
        Request::Chat(it) => Some(&it.settings),
        _ => None,
    }
}
