//! One attempt at one task: from the engine's steps to frames on the edge's inbox.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use echo_bus::Bus;
use echo_bus::client::PublishError;
use echo_bus::id::{AttemptId, Inbox, NodeId};
use echo_bus::message::{
    Accepted, Code, Dispatch, Done, Failure, Frame, Piece, Reason, Relayed, Request, Timings, Verdict,
};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::company::{Company, Seat};
use crate::engine::liveness::Signs;
use crate::engine::{Engine, Order, Sign, Step};
use crate::facts::{About, Facts, Run};
use crate::replay::{self, ReplayBuffer};
use crate::slots::Slot;
use crate::watchdog::{Limits, Watchdog};

/// Pieces that were already waiting travel in one frame, up to so many and so many bytes.
const PIECES: usize = 64;
const BYTES: usize = 32 << 10;

/// The way to stop an attempt from outside.
#[derive(Debug, Default)]
pub struct Halt {
    token: CancellationToken,
    why: OnceLock<Failure>,
}

impl Halt {
    /// Stops it; `why` is what the edge is told.
    pub fn stop(&self, why: Failure) {
        let _ = self.why.set(why);
        self.token.cancel();
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    fn reason(&self) -> Failure {
        let cancelled = || Failure::give_up(Code::Cancelled, "the task was cancelled");
        self.why.get().cloned().unwrap_or_else(cancelled)
    }
}

/// What all attempts share.
pub struct Context {
    pub bus: Bus,
    pub engine: Arc<dyn Engine>,
    pub signs: Signs,
    pub company: Arc<Company>,
    pub facts: Arc<Facts>,
    pub node: NodeId,
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
    /// Whoever reads the inbox takes pieces together with the end.
    pub joins_end: bool,
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

/// How an attempt ended, for the node's own books.
#[derive(Debug)]
pub struct Report {
    pub key: AttemptId,
    pub model: String,
    /// The fingerprint of what was asked.
    pub request: u64,
    pub end: End,
    /// Of requests that generate; others say nothing of the engine's health.
    pub generates: bool,
    pub tokens: u64,
    pub tokens_per_second: Option<f64>,
    pub load: Option<Duration>,
    /// It was about which models are there, or in memory.
    pub moves: bool,
    pub first_piece: Option<Duration>,
}

/// The end of an attempt.
#[derive(Debug)]
pub enum End {
    Done,
    Failed(Failure),
    Halted,
}

/// What was measured on the way.
#[derive(Debug, Default)]
struct Progress {
    /// When the engine was asked.
    asked: Option<Instant>,
    first: Option<Instant>,
    last: Option<Instant>,
    pieces: u64,
    /// By the engine's count, once its last chunk is here.
    done: Option<Counts>,
    /// For the node's measurements; absent for requests aside.
    run: Option<Run>,
}

/// What the engine's last chunk counts.
#[derive(Debug)]
struct Counts {
    tokens: Option<u64>,
    timings: Timings,
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
        let started = self.received;
        let request = self.order.request.fingerprint();
        let mut progress = Progress::default();
        let end = match self.start().await {
            true => {
                let seat = context.company.join(request, Instant::now());
                progress.asked = Some(Instant::now());
                progress.run = self.slot.is_some().then(|| context.facts.begin(self.about(), Instant::now()));
                let end = self.stream(&context, &seat, &mut progress).await;
                end.map_err(|failure| seat.judge(failure, Instant::now()))
            }
            false => Err(self.halt.reason()),
        };
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

    async fn stream(&self, context: &Context, seat: &Seat, progress: &mut Progress) -> Result<Last, Failure> {
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
        self.send(context, accepted).await?;
        let now = Instant::now();
        let whole = self.remaining.saturating_sub(now.saturating_duration_since(self.received));
        let mut watchdog = Watchdog::new(self.limits, self.loaded, whole, now);
        let mut steps = context.engine.run(self.order.clone());
        let mut asking = None;
        let mut sleep = std::pin::pin!(tokio::time::sleep_until(watchdog.next(false).into()));
        loop {
            // One that is due too early looks in vain and is set anew: cheaper than to set it at each step.
            let look = watchdog.next(asking.is_some()).into();
            if sleep.is_elapsed() || sleep.deadline() > look {
                sleep.as_mut().reset(look);
            }
            let next = tokio::select! {
                biased;
                () = self.halt.token.cancelled() => Next::Halted,
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
                    let last = self.take(context, step, &mut steps, progress).await;
                    if progress.pieces > before {
                        seat.gave(now);
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
                    if asking.is_none() && watchdog.asks(now) {
                        watchdog.asked(now);
                        asking =
                            Some(context.signs.ask(&*context.engine, &self.order.model, watchdog.since()));
                    }
                    watchdog.check(now)
                }
            };
            if let Some(failure) = failure {
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
        let Some(done) = end.transpose()? else { return Ok(None) };
        progress.done = Some(progress.counts(&done));
        Ok(Some(Last { pieces, done }))
    }

    /// Sends a frame. An edge that misses one while the broker is away asks for it again.
    async fn send(&self, context: &Context, frame: Frame) -> Result<(), Failure> {
        match context.bus.send_frame(&self.inbox, &frame).await {
            Ok(()) | Err(PublishError::Disconnected) => Ok(()),
            Err(PublishError::TooLarge { size, limit }) => {
                self.replay().take_back();
                let message =
                    format!("a part of the answer has {size} bytes and the broker takes {limit} at most");
                Err(Failure::give_up(Code::EngineRefused, message))
            }
            Err(error @ PublishError::Encode(_)) => {
                self.replay().take_back();
                warn!(error = &error as &dyn std::error::Error, "a frame cannot be sent");
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

impl Progress {
    fn counts(&self, done: &Done) -> Counts {
        let mut timings = done.timings;
        // Ollama does not say how long a load took for which it was asked alone.
        if let Some(asked) = self.asked.filter(|_| done.reason == Reason::Load && timings.load_ns == 0) {
            timings.load_ns = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
        }
        Counts { tokens: done.tokens, timings }
    }

    fn note(&mut self, pieces: &[Piece]) {
        let now = Instant::now();
        if let Some(run) = &mut self.run {
            run.heard(pieces, now);
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.pieces += pieces.len() as u64;
    }

    /// From the first piece to the last; too few say nothing.
    fn speed(&self) -> Option<f64> {
        let time = self.last?.duration_since(self.first?).as_secs_f64();
        (self.pieces >= 8 && time > 0.0).then(|| (self.pieces - 1) as f64 / time)
    }
}

impl End {
    /// The word in the metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Halted => "cancelled",
            Self::Failed(failure) if failure.verdict == Verdict::Elsewhere => "elsewhere",
            Self::Failed(_) => "failed",
        }
    }
}

type Steps = BoxStream<'static, Result<Step, Failure>>;

/// The next step, if it is here already. The connection hands over what it has read one by one, each time it is its
/// turn: so it gets one.
async fn waiting(steps: &mut Steps) -> Option<Option<Result<Step, Failure>>> {
    if let Some(step) = steps.next().now_or_never() {
        return Some(step);
    }
    let mut passed = false;
    std::future::poll_fn(|cx| match std::mem::replace(&mut passed, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
    steps.next().now_or_never()
}

async fn answer(asking: &mut Option<impl Future<Output = Sign> + Unpin>) -> Sign {
    let Some(question) = asking else { return std::future::pending().await };
    let sign = question.await;
    *asking = None;
    sign
}

/// What fits the bus alone must not be too much together.
fn fit_together(pieces: &[Piece], done: &Done) -> bool {
    const MOST: usize = 256 << 10;
    let extra = || done.extra.values().map(replay::json).sum::<usize>();
    done.body.is_none() && done.vectors.is_none() && replay::weight(pieces) + extra() < MOST
}

fn weight(piece: &Piece) -> usize {
    let calls: usize = piece.tool_calls.iter().map(|call| call.name.len() + 64).sum();
    piece.content.len() + piece.thinking.len() + calls + 16
}

fn too_long() -> Failure {
    Failure::give_up(
        Code::EngineRefused,
        "the answer has grown longer than a node may keep; ask for less at once",
    )
}
