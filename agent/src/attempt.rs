//! One attempt at one task: from the engine's steps to frames on the edge's inbox.

mod batch;
mod halt;
mod progress;
mod report;
mod trace;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use echo_bus::client::PublishError;
use echo_bus::id::{AttemptId, Inbox, NodeId};
use echo_bus::message::{Accepted, Code, Dispatch, Done, Failure, Frame, Piece, Relayed, Request};
use echo_bus::{Bus, Outbox};
use futures::StreamExt;
use tokio::sync::oneshot;
use tracing::{debug, warn};

use crate::company::{Company, Seat};
use crate::engine::liveness::Signs;
use crate::engine::{Engine, Order, Sign, Step};
use crate::facts::{About, Facts, Run};
use crate::replay::ReplayBuffer;
use crate::slots::Slot;
use crate::watchdog::{Limits, Watchdog};
use batch::{BYTES, PIECES, Steps, fit_together, waiting, weight};
pub use halt::Halt;
use progress::Progress;
pub use report::{End, Report};
pub use trace::Server;
use trace::Trace;

/// So long `accepted` may wait for the first piece, to travel together: the orchestrator has told the edge already.
const QUICK: Duration = Duration::from_millis(10);

/// What all attempts share.
pub struct Context {
    pub bus: Bus,
    pub outbox: Outbox,
    pub engine: Arc<dyn Engine>,
    pub signs: Signs,
    pub company: Arc<Company>,
    pub facts: Arc<Facts>,
    pub node: NodeId,
    pub server: Server,
}

/// An attempt that was accepted.
pub struct Attempt {
    pub key: AttemptId,
    pub order: Order,
    /// The model in the mesh's words; empty for requests about no model of this node.
    pub model: String,
    /// Whether the model is in memory as this task needs it.
    pub loaded: bool,
    /// The engine loads it for this attempt: what it calls the load's time is one.
    pub loads: bool,
    pub limits: Limits,
    pub received: Instant,
    pub remaining: Duration,
    pub waited_ms: u64,
    pub chosen: String,
    pub why: Option<Relayed>,
    /// What the spans of this attempt are below.
    pub traceparent: Option<String>,
    /// Whoever reads the inbox takes pieces together with the end.
    pub joins_end: bool,
    /// Whoever reads the inbox takes several frames in one message.
    pub takes_several: bool,
    pub inbox: Inbox,
    /// Where the answer to the dispatch goes, and which.
    pub reply: Option<Inbox>,
    pub answer: Dispatch,
    pub slot: Option<Slot>,
    pub replay: Arc<Mutex<ReplayBuffer>>,
    pub halt: Arc<Halt>,
    /// Comes when the edge has confirmed the attempt; absent where that is not needed.
    pub confirmed: Option<oneshot::Receiver<()>>,
}

/// The end of a whole answer, and what came together with it.
#[derive(Debug)]
struct Last {
    pieces: Vec<Piece>,
    done: Box<Done>,
}

/// What came first.
enum Next {
    Step(Option<Result<Step, Failure>>),
    Sign(Sign),
    Look,
    Halted,
}

impl Attempt {
    /// Runs it to its end. The engine is let go and the slot is free before the end is told.
    pub async fn run(mut self: Box<Self>, context: Arc<Context>) -> Report {
        if let Err(error) = context.bus.answer(self.reply.as_ref(), &self.answer).await {
            debug!(%error, "the dispatch got no answer");
        }
        let mut trace = Trace::begin(self.traceparent.as_deref(), self.key, &context.node, self.loaded);
        let started = self.received;
        let request = self.order.request.fingerprint();
        let mut progress = Progress::default();
        let end = match self.start().await {
            true => {
                let seat = context.company.join(request, Instant::now());
                progress.asked = Some(Instant::now());
                progress.run = self.slot.is_some().then(|| context.facts.begin(self.about(), Instant::now()));
                trace.asks(&context.server, &self.model, &self.order);
                let end = self.stream(&context, &seat, &mut progress, &mut trace).await;
                end.map_err(|failure| seat.judge(failure, Instant::now()))
            }
            false => Err(self.halt.reason()),
        };
        match &end {
            Ok(last) => trace.answered(&last.done),
            Err(failure) => trace.failed(failure),
        }
        let halted = self.halt.is_stopped() && end.is_err();
        self.measured(&context, &end, progress.run.take());
        drop(self.slot.take());
        let end = match end {
            Ok(last) => self.finish(&context, last).await,
            Err(failure) => {
                self.fail(&context, failure.clone()).await;
                if halted { End::Halted } else { End::Failed(failure) }
            }
        };
        (*self).report(end, request, &progress, started)
    }

    /// Waits for the edge where that is needed; false if the attempt was stopped meanwhile.
    async fn start(&mut self) -> bool {
        let Some(confirmed) = self.confirmed.take() else { return !self.halt.is_stopped() };
        tokio::select! {
            biased;
            () = self.halt.token.cancelled() => false,
            confirmed = confirmed => confirmed.is_ok(),
        }
    }

    fn about(&self) -> About<'_> {
        let Order { request, so_far, .. } = &self.order;
        About {
            key: Some(self.key),
            model: &self.model,
            request,
            so_far: so_far.as_ref(),
            loaded: self.loaded,
        }
    }

    /// The engine is done with it; known before its slot is free.
    fn measured(&self, context: &Context, end: &Result<Last, Failure>, run: Option<Run>) {
        match end {
            Ok(last) => {
                run.into_iter().for_each(|run| run.done(&self.order.request, &last.done, Instant::now()))
            }
            Err(failure) => {
                drop(run);
                if failure.code == Code::EngineUnreachable {
                    context.facts.forget_cache(&self.model);
                }
            }
        }
    }

    async fn stream(
        &self,
        context: &Context,
        seat: &Seat,
        progress: &mut Progress,
        trace: &mut Trace,
    ) -> Result<Last, Failure> {
        let accepted = self.replay().accepted(|seq| {
            Frame::Accepted(Box::new(Accepted {
                seq,
                node: context.node.clone(),
                boot: context.bus.boot().clone(),
                model: self.model.clone(),
                waited_ms: self.waited_ms,
                chosen: self.chosen.clone(),
                why: self.why.clone(),
            }))
        });
        let mut early = Some(accepted);
        let now = Instant::now();
        let quick = now + QUICK;
        if !self.takes_several {
            self.greet(context, &mut early).await?;
        }
        let whole = self.remaining.saturating_sub(now.saturating_duration_since(self.received));
        let mut watchdog = Watchdog::new(self.limits, self.loaded, whole, now);
        let mut steps = context.engine.run(self.order.clone());
        let mut asking = None;
        // One for all steps: each makes an entry in the token's list.
        let mut halted = std::pin::pin!(self.halt.token.cancelled());
        let mut sleep = std::pin::pin!(tokio::time::sleep_until(watchdog.next(false).into()));
        loop {
            // One that is due too early looks in vain and is set anew: cheaper than to set it at each step.
            let look = watchdog.next(asking.is_some());
            let look = if early.is_some() { look.min(quick) } else { look }.into();
            if sleep.is_elapsed() || sleep.deadline() > look {
                sleep.as_mut().reset(look);
            }
            let next = tokio::select! {
                biased;
                () = &mut halted => Next::Halted,
                step = steps.next() => Next::Step(step),
                sign = answer(&mut asking) => Next::Sign(sign),
                () = &mut sleep => Next::Look,
            };
            let now = Instant::now();
            let failure = match next {
                Next::Halted => Some(self.halt.reason()),
                Next::Step(Some(Ok(step))) => {
                    watchdog.heard(now);
                    asking = None;
                    let before = progress.pieces;
                    self.greet(context, &mut early).await?;
                    let last = self.take(context, step, &mut steps, progress).await;
                    if progress.pieces > before {
                        seat.gave(now);
                        trace.gave();
                    }
                    match last? {
                        Some(last) => return Ok(last),
                        None => watchdog.check(now),
                    }
                }
                Next::Step(Some(Err(failure))) => Some(failure),
                Next::Step(None) => Some(crate::engine::unfinished()),
                Next::Sign(sign) => watchdog.sign(sign, now),
                Next::Look => {
                    if now >= quick {
                        self.greet(context, &mut early).await?;
                    }
                    if asking.is_none() && watchdog.asks(now) {
                        watchdog.asked(now);
                        asking =
                            Some(context.signs.ask(&*context.engine, &self.order.model, watchdog.since()));
                    }
                    watchdog.check(now)
                }
            };
            if let Some(failure) = failure {
                self.greet(context, &mut early).await?;
                return Err(failure);
            }
        }
    }

    /// Sends a step, together with what was already waiting behind it. What comes with the end is handed back with it.
    async fn take(
        &self,
        context: &Context,
        step: Step,
        steps: &mut Steps,
        progress: &mut Progress,
    ) -> Result<Option<Last>, Failure> {
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        let mut next = Some(Ok(step));
        // Bounded in steps, not in pieces: signs of life without end must not keep a cancel waiting.
        let mut taken = 0;
        let end = loop {
            taken += 1;
            match next {
                Some(Ok(Step::Piece(piece))) => {
                    bytes += weight(&piece);
                    pieces.push(piece);
                }
                Some(Ok(Step::Alive)) => {}
                Some(Ok(Step::Done(done))) => break Some(Ok(done)),
                Some(Err(failure)) => break Some(Err(failure)),
                None => break Some(Err(crate::engine::unfinished())),
            }
            if taken >= PIECES || bytes >= BYTES {
                break None;
            }
            match waiting(steps).await {
                Some(step) => next = step,
                None => break None,
            }
        };
        let joined = matches!(&end, Some(Ok(done)) if self.joins_end && fit_together(&pieces, done));
        if !pieces.is_empty() {
            progress.note(&pieces);
            if !joined {
                let frame = self.replay().token(std::mem::take(&mut pieces)).map_err(|_| too_long())?;
                self.send(context, frame).await?;
            }
        }
        let Some(mut done) = end.transpose()? else { return Ok(None) };
        if let (request @ Request::Count(_), None) = (&self.order.request, done.prompt_tokens) {
            (done.prompt_tokens, done.estimated) = (Some(context.facts.estimate(&self.model, request)), true);
        }
        progress.done = Some(progress.counts(&done));
        Ok(Some(Last { pieces, done }))
    }

    /// Sends the first frame, if nobody has.
    async fn greet(&self, context: &Context, first: &mut Option<Frame>) -> Result<(), Failure> {
        match first.take() {
            Some(frame) => self.send(context, frame).await,
            None => Ok(()),
        }
    }

    /// Sends a frame. An edge that misses one while the broker is away asks for it again. What was cancelled says nothing
    /// more: its edge would only read that to find that it has forgotten the task.
    async fn send(&self, context: &Context, frame: Frame) -> Result<(), Failure> {
        if self.halt.is_unwanted() {
            return Ok(());
        }
        match context.outbox.send(&self.inbox, &frame, self.takes_several).await {
            Ok(()) | Err(PublishError::Disconnected) => Ok(()),
            Err(PublishError::TooLarge { size, limit }) => {
                self.replay().take_back();
                let message =
                    format!("a part of the answer has {size} bytes and the broker takes {limit} at most");
                Err(Failure::give_up(Code::EngineRefused, message))
            }
            Err(error @ PublishError::Encode(_)) => {
                self.replay().take_back();
                warn!(task = %self.key.task, error = &error as &dyn std::error::Error, "a frame cannot be sent");
                Err(Failure::elsewhere(Code::EngineError, "a part of the answer cannot be sent"))
            }
        }
    }

    async fn finish(&self, context: &Context, Last { pieces, done }: Last) -> End {
        let frame = self.replay().done(pieces, done).map_err(|_| too_long());
        let sent = match frame {
            Ok(frame) => self.send(context, frame).await,
            Err(failure) => Err(failure),
        };
        match sent {
            Ok(()) => End::Done,
            Err(failure) => {
                self.fail(context, failure.clone()).await;
                End::Failed(failure)
            }
        }
    }

    async fn fail(&self, context: &Context, failure: Failure) {
        let frame = self.replay().failed(failure);
        if let Err(failure) = self.send(context, frame).await {
            debug!(reason = failure.message, "the end of an attempt could not be told");
        }
    }

    fn replay(&self) -> MutexGuard<'_, ReplayBuffer> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(self, end: End, request: u64, progress: &Progress, started: Instant) -> Report {
        let done = progress.done.as_ref();
        let tokens = done.and_then(|done| done.tokens).unwrap_or(progress.pieces);
        let by_engine = done.filter(|done| done.timings.eval_ns > 0 && done.tokens.is_some());
        let generates =
            matches!(self.order.request, Request::Generate(_) | Request::Chat(_) | Request::Embed(_));
        let moves = matches!(self.order.request, Request::Pull(_) | Request::Delete(_) | Request::Unload(_));
        let load = done.map_or(0, |done| done.timings.load_ns);
        Report {
            key: self.key,
            model: self.model,
            request,
            end,
            generates,
            tokens,
            tokens_per_second: match by_engine {
                Some(done) => Some(tokens as f64 / (done.timings.eval_ns as f64 / 1e9)),
                None => progress.speed(),
            },
            moves,
            load: (self.loads && load > 0).then(|| Duration::from_nanos(load)),
            first_piece: progress.first.map(|first| first.saturating_duration_since(started)),
        }
    }
}

async fn answer(asking: &mut Option<impl Future<Output = Sign> + Unpin>) -> Sign {
    let Some(question) = asking else { return std::future::pending().await };
    let sign = question.await;
    *asking = None;
    sign
}

fn too_long() -> Failure {
    Failure::give_up(
        Code::EngineRefused,
        "the answer has grown longer than a node may keep; ask for less at once",
    )
}
