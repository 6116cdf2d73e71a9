//! Doing what the node has decided. Nothing here waits: slow work runs beside the loop and comes back as an event.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_bus::holding::PULSE_ANSWER;
use echo_bus::id::{AttemptId, Inbox, ProcessId};
use echo_bus::message::{CacheDigest, Code, Dispatch, Failure, Frame, Heartbeat, Pulse};
use echo_bus::subject;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, debug_span, error, warn};

use crate::attempt::{Attempt, Context, End, Report};
use crate::metrics;
use crate::node::{Action, Event, Leave};

/// How long a message to oneself may take.
const ROUND: Duration = Duration::from_secs(2);

/// Heartbeats and digests that wait to be sent; a connection that takes none gets no more.
const NEWS: usize = 6;

/// How long what is being said may take at the end.
const FINISH: Duration = Duration::from_secs(1);

/// What is said in its order to whoever listens.
enum News {
    Beat(Box<Heartbeat>),
    Caches(CacheDigest),
}

/// Does things.
pub struct Performer {
    context: Arc<Context>,
    events: mpsc::Sender<Event>,
    news: mpsc::Sender<News>,
    running: JoinSet<Report>,
    known: HashMap<Id, AttemptId>,
    jobs: TaskTracker,
}

impl Performer {
    /// Speaks on the bus of `context`; what takes time comes back by `events`.
    pub fn new(context: Arc<Context>, events: mpsc::Sender<Event>) -> Self {
        let (news, waiting) = mpsc::channel(NEWS);
        tokio::spawn(send_news(context.clone(), waiting));
        Self {
            context,
            events,
            news,
            running: JoinSet::new(),
            known: HashMap::new(),
            jobs: TaskTracker::new(),
        }
    }

    /// Does one thing; or says that the agent leaves.
    pub fn perform(&mut self, action: Action) -> Option<Leave> {
        match action {
            Action::Answer { to, answer } => self.answer(to, answer),
            Action::Run(attempt) => self.run(attempt),
            Action::Beat(beat) => self.beat(beat),
            Action::Caches(digest) => self.tell(News::Caches(*digest)),
            Action::Calibrate(calibrate) => {
                let (context, events) = (self.context.clone(), self.events.clone());
                self.jobs.spawn(async move {
                    let end = calibrate.run(context.engine.clone(), context.facts.clone()).await;
                    if let Err(failure) = &end {
                        // The request is ours: its words quote nobody.
                        warn!(reason = failure.message, "the engine failed a request for its speed");
                    }
                    tell(events, Event::Calibrated { failed: end.is_err() }).await;
                });
            }
            Action::Pong { to, pong } => {
                let context = self.context.clone();
                self.jobs.spawn(async move { said(context.bus.answer(to.as_ref(), &pong).await) });
            }
            Action::Ordered { to, now } => {
                let context = self.context.clone();
                self.jobs.spawn(async move { said(context.bus.answer(to.as_ref(), &now).await) });
            }
            Action::Pulse { edge, asked, pulse } => self.pulse(edge, asked, pulse),
            Action::Resend { to, frames } => self.resend(to, frames),
            Action::Probe => {
                let (context, events) = (self.context.clone(), self.events.clone());
                self.jobs
                    .spawn(async move { tell(events, Event::Probed(context.engine.probe().await)).await });
            }
            Action::Try(trial) => {
                let (engine, events) = (self.context.engine.clone(), self.events.clone());
                self.jobs.spawn(async move {
                    let model = trial.model.clone();
                    let result = trial.run(engine).await;
                    metrics::tried(result.is_ok());
                    tell(events, Event::Tried(model, result)).await;
                });
            }
            Action::RoundTrip(gap) => {
                let (context, events) = (self.context.clone(), self.events.clone());
                self.jobs.spawn(async move {
                    let whole = context.bus.round_trip(ROUND).await.is_ok();
                    tell(events, Event::CameBack(gap, whole)).await;
                });
            }
            Action::Leave(leave) => return Some(leave),
        }
        None
    }

    fn answer(&self, to: Option<Inbox>, answer: Dispatch) {
        if let Dispatch::Refused(failure) = &answer {
            metrics::refused(failure);
        }
        let context = self.context.clone();
        self.jobs.spawn(async move { said(context.bus.answer(to.as_ref(), &answer).await) });
    }

    fn run(&mut self, attempt: Box<Attempt>) {
        let key = attempt.key;
        let AttemptId { task, attempt: number } = key;
        let span = debug_span!("task", %task, attempt = number);
        let handle = self.running.spawn(attempt.run(self.context.clone()).instrument(span));
        self.known.insert(handle.id(), key);
    }

    fn beat(&self, beat: Box<Heartbeat>) {
        metrics::beat(&beat);
        self.tell(News::Beat(beat));
    }

    fn tell(&self, news: News) {
        if self.news.try_send(news).is_err() {
            debug!("the connection takes no news now");
        }
    }

    fn pulse(&self, edge: ProcessId, asked: Vec<AttemptId>, pulse: Pulse) {
        let (context, events) = (self.context.clone(), self.events.clone());
        self.jobs.spawn(async move {
            let began = Instant::now();
            let answer = context.bus.call(&subject::pulse(&edge, &pulse.holder), &pulse, PULSE_ANSWER).await;
            match &answer {
                Ok(_) => metrics::round_trip(began.elapsed()),
                Err(error) => debug!(%edge, %error, "no answer to a pulse"),
            }
            tell(events, Event::Pulsed { edge, asked, answer: answer.ok() }).await;
        });
    }

    fn resend(&self, to: Inbox, frames: Vec<Frame>) {
        debug!(frames = frames.len(), "sending frames again");
        let context = self.context.clone();
        self.jobs.spawn(async move {
            for frame in &frames {
                if let Err(error) = context.bus.send_frame(&to, frame).await {
                    debug!(%error, "frames could not be sent again");
                    return;
                }
            }
        });
    }

    /// The next attempt that has ended; `None` while none runs. Cancel-safe.
    pub async fn ended(&mut self) -> Option<Report> {
        let joined = self.running.join_next_with_id().await?;
        let report = match joined {
            Ok((id, report)) => {
                self.known.remove(&id);
                report
            }
            Err(broken) => {
                error!(%broken, "an attempt has crashed");
                crashed(self.known.remove(&broken.id())?)
            }
        };
        metrics::ended(&report);
        Some(report)
    }

    /// Waits for what is being said, not for ever; stops what still runs.
    pub async fn finish(mut self) {
        self.jobs.close();
        let rest = async {
            while self.ended().await.is_some() {}
            self.jobs.wait().await;
            self.context.outbox.flush().await;
        };
        if tokio::time::timeout(FINISH, rest).await.is_err() {
            warn!("leaving while something is still under way");
        }
    }
}

/// What has to be said of an attempt that cannot speak for itself any more.
fn crashed(key: AttemptId) -> Report {
    let failure = Failure::elsewhere(Code::EngineError, "the agent failed while it ran the task");
    Report {
        key,
        model: String::new(),
        request: 0,
        end: End::Failed(failure),
        generates: true,
        tokens: 0,
        tokens_per_second: None,
        load: None,
        moves: false,
        first_piece: None,
    }
}

/// One after the other, so that their numbers arrive in order.
async fn send_news(context: Arc<Context>, mut waiting: mpsc::Receiver<News>) {
    let (beats, caches) = (subject::heartbeat(&context.node), subject::cache(&context.node));
    while let Some(news) = waiting.recv().await {
        said(match news {
            News::Beat(beat) => context.bus.publish(&beats, &*beat).await,
            News::Caches(digest) => context.bus.publish(&caches, &digest).await,
        });
    }
}

fn said(result: Result<(), echo_bus::client::PublishError>) {
    if let Err(error) = result {
        debug!(%error, "not said");
    }
}

/// The node hears it, unless it has left.
async fn tell(events: mpsc::Sender<Event>, event: Event) {
    let _ = events.send(event).await;
}
