//! All tasks of an edge: plain data, and one function that decides. [`Edge::apply`] takes an event and the time, and
//! hands back what is to be done; nothing here waits, sends or looks at a clock.
//!
//! A task is its attempts, its answer and its readers. Frames come through the resequencer, losses from the holders; what
//! they mean is decided in `attempts`. Readers fetch by themselves ([`Edge::read`]), so a slow one costs nobody else.
//! A task that nobody reads is cancelled, at once or after its `keep`.
//!
//! What may never happen: a reader sees a piece twice, out of order or not at all; a task has two ends or none; something
//! of a task that is gone is still held. `world.rs` tries it with every fault of the bus, the nodes and the clients.

mod event;
mod harm;
mod kept;
mod news;
mod owner;
mod readers;
mod remote;
mod time;

use std::sync::Arc;
use std::time::Instant;

use echo_bus::clock::Now;
use echo_bus::id::{AttemptId, IdMap, ProcessId, TaskId};
use echo_bus::message::{
    Cancel, Code, Event as Announcement, Failure, Frame, Frames, Pulse, PulseAnswer, ReadAnswer, Submission,
    What,
};
use echo_bus::subject;

pub use self::event::{Action, Asked, Event, Keep, New, ReaderId, Reads, Unsubmitted};
use self::kept::Kept;
pub use self::kept::{Absent, Gone};
use self::news::{announcement, ended, node_of, report};
pub use self::owner::Owner;
use self::readers::Reader;
pub use self::readers::Unjoined;
use self::remote::Parked;
use crate::answer::LARGEST;
use crate::attempts::{Attempts, Ending, Step};
use crate::holders::{Holder, Holders, Lost};
use crate::resequencer::{Resequencer, key};
use crate::suspects::Suspects;

/// All that an edge decides with.
pub struct Edge {
    me: ProcessId,
    tasks: IdMap<Task>,
    resequencer: Resequencer,
    holders: Holders,
    suspects: Suspects,
    kept: Kept,
}

/// One task, from the client's request until nobody wants its answer any more.
struct Task {
    /// In a box: the map of tasks keeps room for more than it has, and moves all of them when it grows.
    attempts: Box<Attempts>,
    owner: Owner,
    /// Part of the inboxes' names.
    secret: u128,
    resubmit_at: Option<Instant>,
    /// The place in line that was told last, and how often one was told.
    line: Option<(u32, Option<u64>)>,
    lines: u32,
    readers: Vec<Reader>,
    next_reader: u32,
    parked: Vec<Parked>,
    /// Another edge has read for a client not long ago: until then somebody counts as reading.
    read_elsewhere: Option<Instant>,
    keep: Option<Keep>,
    asked: Option<Asked>,
    /// What was read is dropped, so nobody can join.
    trimmed: bool,
    /// How many accepted attempts were told to be followed by another.
    retried: u32,
    /// Of the request, while a kept task runs.
    request_bytes: usize,
    /// Since when nobody reads.
    alone_since: Option<Instant>,
}

impl Edge {
    /// An edge without tasks, which keeps so many bytes of answers that nobody reads.
    pub fn new(me: ProcessId, keep_memory: usize, now: Now) -> Self {
        Self {
            me,
            tasks: IdMap::default(),
            resequencer: Resequencer::default(),
            holders: Holders::new(now),
            suspects: Suspects::default(),
            kept: Kept::new(keep_memory),
        }
    }

    /// Whether somebody reads an answer here, by way of this edge or of another.
    pub fn is_read(&self, now: Instant) -> bool {
        self.tasks.values().any(|task| task.is_read(now))
    }

    /// How many tasks have not ended.
    pub fn running(&self) -> usize {
        self.tasks.values().filter(|task| !task.attempts.has_ended()).count()
    }

    /// Begins a task, with its first reader.
    pub fn begin(&mut self, new: New, now: Instant, out: &mut Vec<Action>) -> ReaderId {
        let id = new.task;
        let attempts = Box::new(Attempts::new(id, new.request, new.traceparent, new.limits, now));
        let mut task = Task {
            attempts,
            owner: new.owner,
            secret: new.secret,
            resubmit_at: None,
            line: None,
            lines: 0,
            readers: Vec::with_capacity(1),
            next_reader: 0,
            parked: Vec::new(),
            read_elsewhere: None,
            keep: new.keep,
            asked: new.asked,
            trimmed: !new.joins && new.keep.is_none(),
            retried: 0,
            request_bytes: new.request_bytes,
            alone_since: None,
        };
        if new.keep.is_some() {
            self.kept.begin(id);
        }
        let reader = task.reader(id, new.reads, Default::default(), now);
        self.tasks.insert(id, task);
        self.submit(id, now, out);
        reader
    }

    /// The one function that decides.
    pub fn apply(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        match event {
            Event::Frames { inbox, frames: Frames::One(frame) } => self.frame(key(&inbox), frame, now, out),
            Event::Frames { frames: Frames::Several(frames), .. } => {
                frames.into_iter().for_each(|(key, frame)| self.frame(&key, frame, now, out));
            }
            Event::Submitted { task, attempt, result } => self.submitted(task, attempt, result, now, out),
            Event::Pulse { pulse, reply } => {
                let answer = self.pulse(&pulse, now, out);
                out.extend(reply.map(|to| Action::AnswerPulse { to, answer }));
            }
            Event::Gone { peer, boot } => out.extend(self.holders.gone(peer, boot, now).map(Action::Ping)),
            Event::Pinged { holder, heard } => {
                let lost = self.holders.heard(&holder, heard, now);
                self.lost(lost, now, out);
            }
            Event::Disconnected => self.holders.health().disconnected(),
            Event::Reconnected => self.holders.health().reconnected(now),
            Event::Tick { unix_ms } => {
                out.extend(self.holders.health().tick(Now { at: now, unix_ms }).map(Action::Slept));
                self.tick(now, out);
            }
            Event::Left(reader) => self.left(reader, "the client is gone", now, out),
            Event::Asked { question, reply } => self.asked(&question, reply, now, out),
            Event::Abort => self.abort(now, out),
        }
    }

    /// Submits the next attempt. An answer that has begun is judged by what happens to it, and not by its request.
    fn submit(&mut self, id: TaskId, now: Instant, out: &mut Vec<Action>) {
        if let Some(failure) = self.barred(id, now) {
            return self.fail(id, failure, now, out);
        }
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.resubmit_at = None;
        let attempt = task.attempts.attempt() + 1;
        let key = format!("{:032x}-{attempt}", task.secret);
        let inbox = subject::frames_inbox(&self.me, &key);
        task.owner.waits(true);
        let submission = task.attempts.submit(&self.me, task.owner.name(), inbox, now);
        self.resequencer.begin(id, attempt, key);
        self.holders.begin(id, attempt, now);
        out.push(Action::Submit(Box::new(submission)));
    }

    fn submitted(
        &mut self,
        id: TaskId,
        attempt: u32,
        result: Result<Submission, Unsubmitted>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let listens = |task: &&mut Task| task.listens_to(attempt) && !task.attempts.is_given_up();
        let Some(task) = self.tasks.get_mut(&id).filter(listens) else { return };
        let step = match result {
            Ok(submission) => {
                if let Some(holder) = Holder::of(&submission) {
                    self.holders.taken(id, attempt, holder, now);
                }
                task.attempts.submitted(submission, now)
            }
            Err(Unsubmitted::TooLarge { size, limit }) => {
                let message = format!("the request has {size} bytes on the bus, which takes {limit}");
                let failure = Failure::give_up(Code::BadRequest, message);
                task.attempts.submitted(Submission::Refused(failure), now)
            }
            // An agent was quicker than the answer, which was lost on its way.
            Err(Unsubmitted::Unanswered) if task.attempts.holder().is_some() => Step::Wait,
            Err(_) => task.attempts.untaken(now),
        };
        self.step(id, step, None, now, out);
    }

    fn frame(&mut self, key: &str, frame: Frame, now: Instant, out: &mut Vec<Action>) {
        let Some((id, attempt)) = self.resequencer.owner(key) else {
            let late = self.resequencer.late(key, &frame);
            out.extend(late.map(|(node, cancel)| Action::Cancel { node: Some(node), cancel }));
            return;
        };
        if let Frame::Accepted(accepted) = &frame {
            // Also one that is out of order: whoever says so holds the attempt.
            let peer = echo_bus::id::Peer::agent(&accepted.node);
            self.holders.hold(id, Holder { peer, boot: accepted.boot.clone() }, now);
        }
        for frame in self.resequencer.frame(id, frame) {
            if !matches!(frame, Frame::Token { .. }) {
                self.note_harm(id, &frame, now, out);
            }
            // A frame may end the attempt; what came behind it belongs to no other.
            let listens = |task: &&mut Task| task.listens_to(attempt);
            let Some(task) = self.tasks.get_mut(&id).filter(listens) else { return };
            match task.attempts.frame(frame, now) {
                // By far the most frequent one.
                Step::Grew if task.parked.is_empty() && !task.is_too_large() => task.wake_readers(now, out),
                step => self.step(id, step, None, now, out),
            }
        }
    }

    fn pulse(&mut self, pulse: &Pulse, now: Instant, out: &mut Vec<Action>) -> PulseAnswer {
        let mut answer = PulseAnswer::default();
        for held in &pulse.held {
            if self.resequencer.wants(held) {
                if self.holders.may_hold(held, &pulse.holder) {
                    answer.missing.extend(self.resequencer.missing(held));
                }
            } else {
                answer.unwanted.push(echo_bus::message::Held { seq: None, ended: false, ..*held });
            }
        }
        let lost = self.holders.pulse(pulse, now);
        self.lost(lost, now, out);
        answer
    }

    fn lost(&mut self, lost: Vec<Lost>, now: Instant, out: &mut Vec<Action>) {
        if let Some(first) = lost.first() {
            let (holder, loss, attempts) = (first.holder.clone(), first.loss, lost.len());
            out.push(Action::Lost { holder, loss, attempts });
        }
        for lost in lost {
            let Some(task) = self.tasks.get_mut(&lost.task).filter(|task| task.listens_to(lost.attempt))
            else {
                continue;
            };
            let step = task.attempts.lost(&lost, now);
            self.step(lost.task, step, Some(&lost), now, out);
        }
    }

    fn step(&mut self, id: TaskId, step: Step, lost: Option<&Lost>, now: Instant, out: &mut Vec<Action>) {
        match step {
            Step::Wait => {}
            Step::Again(pause) => {
                self.withdraw(id, lost, out);
                self.retried(id, out);
                if pause.is_zero() {
                    self.submit(id, now, out);
                } else if let Some(task) = self.tasks.get_mut(&id) {
                    task.resubmit_at = Some(now + pause);
                }
            }
            Step::TooLate(node) => {
                let cancel = self.tasks.get(&id).map(|task| task.cancel());
                out.extend(cancel.map(|cancel| Action::Cancel { node: Some(node), cancel }));
            }
            Step::Queued { position, expected_wait_ms } => {
                if let Some(task) = self.tasks.get_mut(&id) {
                    (task.line, task.lines) = (Some((position, expected_wait_ms)), task.lines + 1);
                    task.wake_readers(now, out);
                }
            }
            Step::Accepted => {
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.line = None;
                    task.owner.waits(false);
                }
                self.grew(id, now, out);
            }
            Step::Grew => {
                self.grew(id, now, out);
                self.end_if_too_large(id, now, out);
            }
            Step::End(ending) => self.end(id, *ending, now, out),
        }
    }

    fn end_if_too_large(&mut self, id: TaskId, now: Instant, out: &mut Vec<Action>) {
        if self.tasks.get(&id).is_some_and(Task::is_too_large) {
            let message = format!("the answer is longer than {} MiB, which no answer may be", LARGEST >> 20);
            self.withdraw(id, None, out);
            self.fail(id, Failure::give_up(Code::EngineError, message), now, out);
        }
    }

    /// Ends a task whose attempt has been withdrawn, or has not begun.
    fn fail(&mut self, id: TaskId, failure: Failure, now: Instant, out: &mut Vec<Action>) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.attempts.stop();
            self.end(id, Ending::Failed(failure), now, out);
        }
    }

    /// The one end of a task. Its answer stays for those who have not read it yet.
    fn end(&mut self, id: TaskId, mut ending: Ending, now: Instant, out: &mut Vec<Action>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        (task.resubmit_at, task.line) = (None, None);
        let attempts = &mut task.attempts;
        if let Ending::Failed(failure) = &mut ending {
            attempts.trace.failed(failure.code);
            task.owner.hide_models(failure);
        }
        let report = Arc::new(report(attempts, ending, now));
        let generates = attempts.generates();
        let first_token = attempts.first_token_at.map(|at| at.duration_since(attempts.began()));
        let client = task.owner.name().cloned();
        task.owner.charge(attempts, Some(&report));
        attempts.answer.end(report.clone());
        attempts.forget_request();
        task.request_bytes = 0;
        out.push(Action::Announce(Box::new(Announcement { client: client.clone(), ..ended(id, &report) })));
        out.push(Action::Ended { task: id, client, report, generates, first_token });
        self.resequencer.end(id);
        self.holders.end(id);
        self.grew(id, now, out);
        self.keep_or_drop(id, now, out);
    }

    /// Ends the current attempt wherever it is.
    fn withdraw(&mut self, id: TaskId, lost: Option<&Lost>, out: &mut Vec<Action>) {
        let Some(task) = self.tasks.get(&id) else { return };
        let lost_node = lost.and_then(node_of);
        let node = lost_node.clone().or_else(|| task.attempts.holder().cloned());
        out.push(Action::Cancel { node, cancel: task.cancel() });
        if let Some(lost) = lost {
            let detail = lost.loss.as_str().to_owned();
            let news = task.news(What::Lost);
            let news = Announcement { node: lost_node, attempt: Some(lost.attempt), detail, ..news };
            out.push(Action::Announce(Box::new(news)));
        }
    }

    /// An attempt that a node had accepted is followed by another.
    fn retried(&mut self, id: TaskId, out: &mut Vec<Action>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let accepted = task.attempts.attempts_made();
        if std::mem::replace(&mut task.retried, accepted) < accepted {
            out.push(Action::Announce(Box::new(task.news(What::Retried))));
        }
    }
}

impl Task {
    /// Whether what this attempt says still counts.
    fn listens_to(&self, attempt: u32) -> bool {
        !self.attempts.has_ended() && self.attempts.attempt() == attempt
    }

    /// Whether somebody who says this key may know of the task, in the name of this client.
    fn opens(&self, question: &ReadAnswer) -> bool {
        self.owner.name() == question.client.as_ref()
            && self.asked.as_ref().is_none_or(|asked| question.key == Some(asked.key))
    }

    fn is_too_large(&self) -> bool {
        self.attempts.answer.bytes() > LARGEST
    }

    /// What ends the current attempt and all before it.
    fn cancel(&self) -> Cancel {
        Cancel(AttemptId { task: self.attempts.task, attempt: self.attempts.attempt() })
    }

    fn news(&self, what: What) -> Announcement {
        let (attempt, model) = (Some(self.attempts.attempt()), self.attempts.model.clone());
        let client = self.owner.name().cloned();
        Announcement { attempt, client, model, ..announcement(self.attempts.task, what) }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
