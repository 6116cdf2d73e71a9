//! Drives one task from its first submission to its one end, and gives the client's side the news.

mod backlog;
mod harm;
mod news;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_bus::client::{CallError, PublishError};
use echo_bus::id::{AttemptId, NodeId, Role, TaskId};
use echo_bus::message::{Cancel, Code, Failure, Piece, Request, Submission, What};
use echo_bus::subject;
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tracing::debug;
use uuid::Uuid;

use self::backlog::{gather, hold_back};
pub use self::news::{Holder, News, Report};
use crate::desk::Lost;
use crate::life::{Ending, Life, Limits, Step, orchestrator};
use crate::owner::{Owner, Signal};

/// How long an orchestrator may take to answer a submission.
const ANSWER: Duration = Duration::from_secs(2);
/// News that wait for a client before they are gathered here.
const NEWS: usize = 16;

/// A running task. Dropping it cancels the task down to its engine.
pub struct Running {
    pub task: TaskId,
    pub news: mpsc::Receiver<News>,
    /// See [`Limits::idle_sign`].
    pub idle_sign: Duration,
}

/// Starts a task. With `streams`, pieces are among the news as they come.
pub fn start(owner: &Arc<Owner>, request: Request, traceparent: Option<String>, streams: bool) -> Running {
    start_within(owner.limits.clone(), owner, request, traceparent, streams)
}

/// The same within other limits than the edge's own.
pub fn start_within(
    limits: Limits,
    owner: &Arc<Owner>,
    request: Request,
    traceparent: Option<String>,
    streams: bool,
) -> Running {
    let (client_limit, idle_sign) = (limits.client, limits.idle_sign);
    let life = Life::new(request, traceparent, limits, streams, Instant::now());
    let (out, news) = mpsc::channel(NEWS);
    let task = life.task;
    let (registration, mailbox) = owner.register(task);
    let driver = Box::new(Driver {
        owner: owner.clone(),
        life,
        began: Instant::now(),
        out,
        streams,
        held_back: Vec::new(),
        ended: None,
        tool_calls: Vec::new(),
        logprobs: Vec::new(),
        extra: Map::new(),
        submission: None,
        resubmit_at: Some(Instant::now()),
        client_limit,
        progress: Instant::now(),
    });
    owner.tracker.spawn(async move {
        driver.run(mailbox).await;
        drop(registration);
    });
    Running { task, news, idle_sign }
}

struct Driver {
    owner: Arc<Owner>,
    life: Life,
    began: Instant,
    out: mpsc::Sender<News>,
    streams: bool,
    /// Pieces that the client has had no room for.
    held_back: Vec<Piece>,
    ended: Option<Box<Report>>,
    tool_calls: Vec<echo_bus::message::ToolCall>,
    logprobs: Vec<Value>,
    extra: Map<String, Value>,
    submission: Option<BoxFuture<'static, Result<Submission, CallError>>>,
    resubmit_at: Option<Instant>,
    /// A client that takes nothing for this long is gone.
    client_limit: Duration,
    /// When the client last took something, while something waits for it.
    progress: Instant,
}

enum Wake {
    ClientGone,
    Aborted,
    Room,
    Signal(Signal),
    Submitted(Result<Submission, CallError>),
    Time,
}

impl Driver {
    async fn run(mut self: Box<Self>, mut mailbox: mpsc::Receiver<Signal>) {
        let mut sleep = Box::pin(tokio::time::sleep_until(self.next_time().into()));
        loop {
            self.give();
            if self.ended.is_none() && self.life.has_ended() {
                return;
            }
            let wake = self.wait(&mut mailbox, sleep.as_mut()).await;
            match wake {
                Wake::ClientGone => return self.cancel("the client is gone").await,
                Wake::Aborted => self.abort().await,
                Wake::Room => {}
                Wake::Signal(Signal::Frames { attempt, frames }) if attempt == self.life.attempt() => {
                    for frame in frames {
                        self.note_harm(&frame);
                        let step = self.life.frame(frame, Instant::now());
                        self.step(step, None).await;
                    }
                }
                Wake::Signal(Signal::Lost(lost)) if lost.attempt == self.life.attempt() => {
                    let step = self.life.lost(&lost, Instant::now());
                    self.step(step, Some(&lost)).await;
                }
                Wake::Signal(Signal::Barred(request)) => self.stop_if_barred(request).await,
                Wake::Signal(_) => {}
                Wake::Submitted(result) => self.submitted(result).await,
                Wake::Time => {
                    if self.on_time().await {
                        return;
                    }
                }
            }
        }
    }

    async fn wait(&mut self, mailbox: &mut mpsc::Receiver<Signal>, mut sleep: Pin<&mut Sleep>) -> Wake {
        let time = tokio::time::Instant::from_std(self.next_time());
        if sleep.deadline() != time {
            sleep.as_mut().reset(time);
        }
        // A timer is due in whole milliseconds: what is due already does not wait for the next one.
        let due = async {
            if time > tokio::time::Instant::now() {
                sleep.await;
            }
        };
        let waits = !self.held_back.is_empty() || self.ended.is_some();
        let ended = self.life.has_ended();
        let submission = async {
            match self.submission.as_mut() {
                Some(submission) => submission.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.out.closed() => Wake::ClientGone,
            Some(signal) = mailbox.recv(), if !ended => Wake::Signal(signal),
            result = submission => { self.submission = None; Wake::Submitted(result) }
            // The permit is given back: `give` takes it again, with all that waits by then.
            _ = self.out.reserve(), if waits => Wake::Room,
            () = self.owner.abort.cancelled(), if !ended => Wake::Aborted,
            () = due => Wake::Time,
        }
    }

    fn next_time(&self) -> Instant {
        let waits = !self.held_back.is_empty() || self.ended.is_some();
        let slow = waits.then(|| self.progress + self.client_limit);
        if self.life.has_ended() {
            return slow.unwrap_or_else(|| self.life.deadline());
        }
        let times = [Some(self.life.deadline()), self.resubmit_at, slow];
        times.into_iter().flatten().min().expect("a task has a deadline")
    }

    /// Returns whether the client counts as gone.
    async fn on_time(&mut self) -> bool {
        let now = Instant::now();
        let waits = !self.held_back.is_empty() || self.ended.is_some();
        if waits && now >= self.progress + self.client_limit {
            self.cancel("the client took nothing of its answer for too long").await;
            return true;
        }
        if self.life.has_ended() {
            return false;
        }
        if now >= self.life.deadline() {
            self.withdraw(None).await;
            let step = self.life.expired(now);
            self.step(step, None).await;
        } else if self.resubmit_at.is_some_and(|at| now >= at) {
            self.submit(now);
        }
        false
    }

    fn submit(&mut self, now: Instant) {
        self.resubmit_at = None;
        // An answer that has begun is judged by what happens to it.
        if !self.life.has_begun()
            && let Some(failure) = self.barred(now)
        {
            self.life.stop();
            return self.end(Ending::Failed(failure));
        }
        let owner = self.owner.clone();
        let edge = owner.bus.me().id.clone();
        let inbox = subject::frames_inbox(&edge, &Uuid::new_v4().simple().to_string());
        let task = self.life.submit(&edge, inbox.clone(), now);
        owner.desk(|desk| desk.begin(task.task, task.attempt, inbox.into(), now));
        self.submission =
            Some(Box::pin(async move { owner.bus.call(&subject::submit(), &task, ANSWER).await }));
    }

    async fn submitted(&mut self, result: Result<Submission, CallError>) {
        let now = Instant::now();
        let step = match result {
            Ok(submission) => {
                if let Some(holder) = orchestrator(&submission) {
                    let (task, attempt) = (self.life.task, self.life.attempt());
                    self.owner.desk(|desk| desk.taken(task, attempt, holder, now));
                }
                self.life.submitted(submission, now)
            }
            Err(CallError::Unsent(PublishError::TooLarge { size, limit })) => {
                let message = format!("the request has {size} bytes on the bus, which takes {limit}");
                let failure = Failure::give_up(Code::BadRequest, message);
                self.life.submitted(Submission::Refused(failure), now)
            }
            // An agent was quicker than the answer, which was lost on its way.
            Err(CallError::Unanswered(_)) if self.life.holder().is_some() => Step::Wait,
            Err(error) => {
                debug!(task = %self.life.task, %error, "nobody took the task yet");
                self.life.untaken(now)
            }
        };
        self.step(step, None).await;
    }

    async fn step(&mut self, step: Step, lost: Option<&Lost>) {
        match step {
            Step::Wait => {}
            Step::Again(pause) => {
                self.withdraw(lost).await;
                self.submission = None;
                self.resubmit_at = Some(Instant::now() + pause);
                if !self.life.has_begun() {
                    // The answer begins anew: what was gathered of it is not said twice.
                    self.tool_calls.clear();
                    self.logprobs.clear();
                    self.extra.clear();
                }
            }
            Step::TooLate(node) => self.owner.cancel_late(node, self.current()),
            Step::Queued { position, expected_wait_ms } => {
                // Only the newest position matters: without room the client is not told.
                let _ = self.out.try_send(News::Queued { position, expected_wait_ms });
            }
            Step::Accepted => {
                let node = self.life.nodes.last().cloned().expect("accepted by a node");
                let model = self.life.model.clone();
                let (attempts, waited) = (self.life.attempts_made(), self.life.waited());
                let chosen = self.life.chosen.clone();
                let holder = Box::new(Holder { node, model, attempts, waited, chosen });
                let _ = self.out.try_send(News::Accepted(holder));
            }
            Step::Pieces(pieces) => self.take(pieces),
            Step::End(ending) => self.end(*ending),
        }
    }

    fn take(&mut self, pieces: Vec<Piece>) {
        if !self.streams {
            for piece in pieces {
                self.tool_calls.extend(piece.tool_calls);
                self.logprobs.extend(piece.logprobs.map(|it| *it));
                piece.extra.into_iter().for_each(|extra| gather(&mut self.extra, *extra));
            }
            return;
        }
        if self.held_back.is_empty() {
            self.progress = Instant::now();
        }
        for piece in pieces {
            hold_back(&mut self.held_back, piece);
        }
    }

    /// Gives the client what there is room for.
    fn give(&mut self) {
        if !self.held_back.is_empty() {
            let Ok(permit) = self.out.try_reserve() else { return };
            permit.send(News::Pieces(std::mem::take(&mut self.held_back)));
            self.progress = Instant::now();
        }
        if self.ended.is_some() {
            let Ok(permit) = self.out.try_reserve() else { return };
            permit.send(News::End(self.ended.take().expect("checked")));
        }
    }

    fn end(&mut self, ending: Ending) {
        let life = &mut self.life;
        let ending = match ending {
            Ending::Answered(done) => Ok(done),
            Ending::Failed(failure) => Err(failure),
        };
        let report = Report {
            ending,
            content: life.content().to_owned(),
            thinking: life.thinking().to_owned(),
            tool_calls: std::mem::take(&mut self.tool_calls),
            logprobs: std::mem::take(&mut self.logprobs),
            extra: std::mem::take(&mut self.extra),
            nodes: life.nodes.clone(),
            model: life.model.clone(),
            chosen: life.chosen.clone(),
            why: life.why().cloned(),
            attempts: life.attempts_made(),
            latency: self.began.elapsed(),
            waited: life.waited(),
        };
        crate::events::log(life.task, &report);
        crate::measure::ended(&report, life.first_token_at.map(|at| at.duration_since(self.began)));
        crate::events::ended(&self.owner, life.task, &report);
        self.progress = Instant::now();
        self.ended = Some(Box::new(report));
    }

    async fn abort(&mut self) {
        self.withdraw(None).await;
        let message = "the edge is stopping; ask again";
        self.end(Ending::Failed(Failure::give_up(Code::Draining, message)));
        self.life.stop();
    }

    /// Ends the current attempt wherever it is. In a box: it is rare, and every task would keep room for it.
    fn withdraw<'a>(&'a mut self, lost: Option<&'a Lost>) -> BoxFuture<'a, ()> {
        Box::pin(self.say_withdrawn(lost))
    }

    async fn say_withdrawn(&mut self, lost: Option<&Lost>) {
        let cancel = self.current();
        let lost_node = lost
            .filter(|lost| lost.holder.peer.role == Role::Agent)
            .and_then(|lost| lost.holder.peer.id.as_str().parse::<NodeId>().ok());
        let node = lost_node.or_else(|| self.life.holder().cloned());
        let sent = match &node {
            Some(node) => self.owner.bus.publish(&subject::cancel_at(node), &cancel).await,
            None => self.owner.bus.publish(&subject::cancel_task(cancel.0.task), &cancel).await,
        };
        if let Err(error) = sent {
            debug!(task = %cancel.0.task, %error, "could not cancel; the pulse will");
        }
        if let Some(lost) = lost {
            crate::events::lost(&self.owner, lost);
        }
    }

    /// What ends the current attempt and all before it.
    fn current(&self) -> Cancel {
        Cancel(AttemptId { task: self.life.task, attempt: self.life.attempt() })
    }

    async fn cancel(&mut self, why: &str) {
        if !self.life.has_ended() {
            self.withdraw(None).await;
            crate::measure::hung_up();
            crate::events::task(&self.owner, self.life.task, What::Cancelled, why.to_owned());
            debug!(task = %self.life.task, why, "task cancelled");
        }
    }
}
