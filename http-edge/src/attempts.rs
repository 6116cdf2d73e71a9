//! The attempts at one task: their budget, the nodes that are excluded, failover to another node by continuation, and the
//! one end. Plain data; the clock is passed in, and what to do is handed back.
//!
//! Only what the current attempt says counts: a number that rises with each attempt is the fencing token, and an attempt
//! that was given up is not heard. What an attempt gives is appended to the [`Answer`]. After a failure the next attempt
//! goes on from there, where that is honest ([`honesty`]); it begins anew only while nobody has read, in
//! [`Attempts::forget_answer`]. `tests.rs` has the promises one by one, `edge/world.rs` all of them together.

pub mod charge;
mod course;
mod honesty;
mod step;
mod submission;
mod tally;
mod trace;

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use echo_bus::id::{BootId, NodeId, Role, TaskId};
use echo_bus::message::{Code, Done, Excluded, Failure, Fault, Frame, Piece, Relayed, Request, Verdict, Why};

use self::charge::Charges;
use self::course::Course;
pub use self::step::{Ending, Step};
use self::tally::Tally;
use self::trace::Trace;
use crate::answer::Answer;
use crate::holders::{Loss, Lost};
use crate::limits::Limits;
use crate::report::AnsweredBy;

/// Starts of nodes that a task remembers having failed.
const EXCLUDED: usize = 64;

/// All attempts at one task.
#[derive(Debug)]
pub struct Attempts {
    pub task: TaskId,
    request: Request,
    pub trace: Trace,
    limits: Limits,
    began: Instant,
    /// Since when nobody has taken the task.
    untaken_since: Option<Instant>,
    attempt: u32,
    /// The current attempt has been given up: what it still says is not heard.
    given_up: bool,
    accepts: u32,
    /// The current attempt has given something.
    gives: bool,
    charges: Charges,
    /// What broke off the answer that goes on now: the last failure of a node that gave a part of it.
    broke_off: Option<Box<Failure>>,
    /// Of the request; worked out where something went wrong.
    fingerprint: OnceCell<u64>,
    pauses: u32,
    excluded: Vec<Excluded>,
    /// The answer so far, over all attempts.
    pub answer: Answer,
    tally: Tally,
    waited: Duration,
    queued_since: Option<Instant>,
    /// The agent that accepted the current attempt.
    accepted: Option<Excluded>,
    /// Nodes that gave a piece of the answer, or accepted last, in order.
    pub nodes: Vec<NodeId>,
    pub model: String,
    pub chosen: String,
    course: Course,
    pub first_token_at: Option<Instant>,
    ended: bool,
}

impl Attempts {
    /// A task that has not been submitted yet.
    pub fn new(
        task: TaskId,
        request: Request,
        traceparent: Option<String>,
        limits: Limits,
        now: Instant,
    ) -> Self {
        Self {
            task,
            tally: Tally::new(honesty::holds_back(&request)),
            request,
            trace: Trace::below(traceparent),
            limits,
            began: now,
            untaken_since: Some(now),
            attempt: 0,
            given_up: false,
            accepts: 0,
            gives: false,
            charges: Charges::default(),
            broke_off: None,
            fingerprint: OnceCell::new(),
            pauses: 0,
            excluded: Vec::new(),
            answer: Answer::default(),
            waited: Duration::ZERO,
            queued_since: None,
            accepted: None,
            nodes: Vec::new(),
            model: String::new(),
            chosen: String::new(),
            course: Course::default(),
            first_token_at: None,
            ended: false,
        }
    }

    /// The current attempt's number.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The same for tasks that ask the same.
    pub fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(|| self.request.fingerprint())
    }

    /// Attempts that an agent accepted.
    pub fn attempts_made(&self) -> u32 {
        self.accepts
    }

    /// Whether there is anything of the answer.
    pub fn has_begun(&self) -> bool {
        self.tally.has_begun()
    }

    /// Whether the current attempt has given anything.
    pub fn gives(&self) -> bool {
        self.gives
    }

    /// Lets go of the request, once nobody is asked any more.
    pub fn forget_request(&mut self) {
        self.request = Request::Unknown;
    }

    /// Whether the current attempt has been given up, and the next one not begun.
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// When the client asked.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Time spent waiting in queues.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Whether it is work for a model; other tasks are about models.
    pub fn generates(&self) -> bool {
        matches!(self.request, Request::Generate(_) | Request::Chat(_) | Request::Embed(_))
    }

    /// What the task has taken in tokens, prompt and answer; `done` of an answer that is whole.
    pub fn taken(&self, done: Option<&Done>) -> u64 {
        let (prompt, made) = self.tally.taken();
        let prompt = done.and_then(|done| done.prompt_tokens).or(prompt);
        done.and_then(|done| done.tokens).unwrap_or(made).saturating_add(prompt.unwrap_or_default())
    }

    /// How often the answer went on, and how long nothing came then, in all.
    pub fn continued(&self) -> (u32, Duration) {
        self.tally.continued
    }

    /// Why the attempt that was accepted last is where it is, and what came of that so far.
    pub fn why(&self) -> Option<&Why> {
        self.course.why()
    }

    /// When something must happen at the latest.
    pub fn deadline(&self) -> Instant {
        let whole = self.began + self.limits.total;
        match self.untaken_since {
            Some(since) => whole.min(since + self.limits.untaken),
            None => whole,
        }
    }

    /// A frame of the current attempt, in order.
    pub fn frame(&mut self, frame: Frame, now: Instant) -> Step {
        match frame {
            Frame::Accepted(accepted) if self.given_up => Step::TooLate(accepted.node),
            // Be it the end of our own cancel, or part of an answer that begins anew.
            _ if self.given_up => Step::Wait,
            Frame::Queued { position, expected_wait_ms, .. } => {
                self.untaken_since = None;
                Step::Queued { position, expected_wait_ms }
            }
            Frame::Accepted(accepted) => {
                let waited = self.queued_since.map_or(Duration::ZERO, |since| now.duration_since(since));
                let why = accepted.why.and_then(Relayed::read);
                self.course.accepted(&accepted.node, why, waited, now);
                self.trace.accepted(&accepted.node, &accepted.chosen);
                self.accept(accepted.node, accepted.boot, now);
                (self.model, self.chosen) = (accepted.model, accepted.chosen);
                self.answer.turn(Box::new(self.now_at()));
                Step::Accepted
            }
            Frame::Token { pieces, .. } => self.take(pieces, now),
            Frame::Done { done, .. } => {
                self.ended = true;
                self.course.ended(&done.timings, now);
                let done = self.tally.whole(*done);
                self.trace.answered(&done);
                Step::End(Box::new(Ending::Answered(done)))
            }
            // An orchestrator has no say any more: it did not hear the node's answer, and we did.
            Frame::Failed { seq: None, .. } if self.accepted.is_some() => Step::Wait,
            Frame::Failed { failure, .. } => self.failed(*failure, now),
            Frame::Unknown => Step::Wait,
        }
    }

    fn accept(&mut self, node: NodeId, boot: BootId, now: Instant) {
        (self.untaken_since, self.pauses) = (None, 0);
        self.tally.accepted(now);
        self.waited = self.waited_until(now);
        self.queued_since = None;
        if self.nodes.last() != Some(&node) {
            self.nodes.push(node.clone());
        }
        self.held_by(Excluded { node, boot });
    }

    /// A node has accepted the current attempt, by its own word or the orchestrator's.
    fn held_by(&mut self, node: Excluded) {
        self.accepts += u32::from(self.accepted.is_none());
        self.accepted = Some(node);
    }

    fn now_at(&self) -> AnsweredBy {
        AnsweredBy {
            node: self.nodes.last().cloned().expect("accepted by a node"),
            model: self.model.clone(),
            attempts: self.accepts,
            waited: self.waited,
            chosen: self.chosen.clone(),
        }
    }

    fn take(&mut self, pieces: Vec<Piece>, now: Instant) -> Step {
        self.first_token_at.get_or_insert(now);
        self.course.gave(now);
        self.trace.gave();
        self.gives = true;
        // It works on this node, whatever another has said.
        self.charges.refusal = None;
        for mut piece in pieces {
            self.tally.take(&mut piece, now);
            self.answer.push(piece);
        }
        Step::Grew
    }

    fn failed(&mut self, failure: Failure, now: Instant) -> Step {
        self.trace.failed(failure.code);
        // Not by us, who would not hear it: somebody took this attempt for one that nobody wants.
        let cancelled = failure.code == Code::Cancelled;
        if failure.code == Code::CannotContinue && self.has_begun() {
            return self.cannot_continue(failure, now);
        }
        if failure.verdict == Verdict::GiveUp && !cancelled {
            return self.give_up(failure);
        }
        let accepted = self.accepted.take();
        match (accepted, failure.verdict) {
            (Some(node), Verdict::Elsewhere) if failure.code != Code::Draining => {
                self.charge(node, failure, now)
            }
            // A node that leaves on purpose is not at fault.
            (Some(node), Verdict::Elsewhere) => {
                self.exclude(node);
                self.resume(failure, now)
            }
            (Some(_), _) => self.resume(failure, now),
            (None, _) => self.untaken(now),
        }
    }

    /// The holder is gone.
    pub fn lost(&mut self, lost: &Lost, now: Instant) -> Step {
        if self.given_up {
            return Step::Wait;
        }
        let Some(node) = self.accepted.take().filter(|_| lost.holder.peer.role == Role::Agent) else {
            // An orchestrator: it had the task only in its queue, and nobody is at fault.
            return self.untaken_at_once(now);
        };
        self.trace.lost();
        let message = format!("node {} was lost: {}", node.node, lost.loss.as_str());
        let failure = Failure::elsewhere(Code::EngineError, message);
        // A way that is cut is neither the task's doing nor the node's.
        let fault = if lost.loss == Loss::Unreachable { Fault::Other } else { failure.fault };
        self.charge(node, Failure { fault, ..failure }, now)
    }

    fn untaken_at_once(&mut self, now: Instant) -> Step {
        self.untaken_since.get_or_insert(now);
        self.again(Duration::ZERO)
    }

    fn again(&mut self, pause: Duration) -> Step {
        self.given_up = true;
        Step::Again(pause)
    }

    fn exclude(&mut self, node: Excluded) {
        if self.excluded.len() < EXCLUDED && !self.excluded.contains(&node) {
            self.excluded.push(node);
        }
    }

    /// Nobody has seen the partial answer: begin anew.
    fn forget_answer(&mut self) {
        self.answer.forget();
        self.tally.forget();
        self.broke_off = None;
    }

    /// The deadline has passed.
    pub fn expired(&mut self, now: Instant) -> Step {
        if now < self.deadline() {
            return Step::Wait;
        }
        if now >= self.began + self.limits.total {
            let seconds = self.limits.total.as_secs();
            let message = format!("the task was not finished within {seconds} s (--task-timeout)");
            return self.give_up(Failure::give_up(Code::Expired, message));
        }
        let message = "no orchestrator takes tasks now; start one (`echo-mesh orchestrator`), or try again";
        self.fail(Failure::give_up(Code::Unavailable, message))
    }

    fn give_up(&mut self, failure: Failure) -> Step {
        let failure = self.or_the_refusal(failure);
        self.fail(failure)
    }

    fn fail(&mut self, failure: Failure) -> Step {
        self.ended = true;
        Step::End(Box::new(Ending::Failed(failure)))
    }

    /// Ends without a word: whoever stops it says why.
    pub fn stop(&mut self) {
        self.ended = true;
    }

    /// Whether the end has been said.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The node that holds the task now, for a cancel.
    pub fn holder(&self) -> Option<&NodeId> {
        self.holding().map(|holding| &holding.node)
    }

    /// That node and its start.
    pub fn holding(&self) -> Option<&Excluded> {
        self.accepted.as_ref()
    }
}

#[cfg(test)]
mod tests;
