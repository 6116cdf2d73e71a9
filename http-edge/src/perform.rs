//! Does what the edge has decided: submits, pings, publishes, wakes readers, counts.
//!
//! Questions (submissions, pings) have a tokio task each, which brings the answer back as an event. What a holder waits for
//! goes through one queue, and news for whoever watches through another, so that of each what the edge says first is said
//! first; news are published a few at a time. The queues are bounded. What finds no room is lost, as on the bus itself: a cancel and a pulse's answer come again with the
//! next pulse.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use echo_bus::client::{CallError, PublishError};
use echo_bus::id::{ClientName, Inbox, NodeId, TaskId};
use echo_bus::message::{
    AnswerPart, Cancel, Code, Empty, Event as Announcement, PulseAnswer, Task, unix_millis,
};
use echo_bus::subject;
use echo_bus::{Bus, announcer};
use futures::FutureExt;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::edge::{Action, Event, Unsubmitted};
use crate::holders::{Ask, Heard};
use crate::measure;
use crate::report::Report;

/// How long an orchestrator may take to answer a submission.
const ANSWER: Duration = Duration::from_secs(2);
/// The same while a client waits for the next piece of its answer. An orchestrator asks a node for half a second at most; a
/// longer silence is one that cannot be heard, and another may be.
const ANSWER_IN_MID_ANSWER: Duration = Duration::from_secs(1);
/// Messages that wait to be published: when ten thousand clients leave at once, each is a cancel and an event.
const QUEUE: usize = 65_536;
/// Parts of answers that do; each has 128 KiB, about. What was asked is larger, and shared with the edge until it is
/// sent.
const PARTS: usize = 128;

/// One message.
enum Said {
    Cancel { node: Option<NodeId>, cancel: Cancel },
    Pulse { to: Inbox, answer: PulseAnswer },
}

/// The one hand of the edge.
pub struct Performer {
    bus: Bus,
    tracker: TaskTracker,
    /// What comes of questions.
    answers: mpsc::Sender<Event>,
    /// `None` once the edge stops.
    queues: Mutex<Option<Queues>>,
}

struct Queues {
    short: mpsc::Sender<Said>,
    news: mpsc::Sender<Box<Announcement>>,
    /// Parts of answers for other edges are long: they keep no pulse's answer waiting.
    parts: mpsc::Sender<(Inbox, Box<AnswerPart>)>,
}

impl Performer {
    /// Publishes until it is closed. What comes of questions goes to `answers`.
    pub fn start(bus: Bus, tracker: TaskTracker, answers: mpsc::Sender<Event>) -> Self {
        let (short, mut queue) = mpsc::channel(QUEUE);
        let news = announcer(bus.clone(), QUEUE, &tracker);
        let (parts, mut long) = mpsc::channel::<(Inbox, Box<AnswerPart>)>(PARTS);
        let (publisher, teller) = (bus.clone(), bus.clone());
        tracker.spawn(async move {
            while let Some(said) = queue.recv().await {
                if let Err(error) = publish(&publisher, said).await {
                    debug!(%error, "not said; where it matters, the next pulse says it");
                }
            }
        });
        tracker.spawn(async move {
            while let Some((to, part)) = long.recv().await {
                tell(&teller, &to, &part).await;
            }
        });
        Self { bus, tracker, answers, queues: Mutex::new(Some(Queues { short, news, parts })) }
    }

    /// What is queued is still said.
    pub fn close(&self) {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Queues what is only to be said; to be called while nobody else decides, so that what the edge decides first is
    /// said first. What is more than words is given back.
    pub fn say_or_return(&self, action: Action) -> Option<Action> {
        match action {
            Action::Cancel { node, cancel } => {
                self.queue(|queues| &queues.short, Said::Cancel { node, cancel })
            }
            Action::AnswerPulse { to, answer } => {
                self.queue(|queues| &queues.short, Said::Pulse { to, answer })
            }
            Action::Announce(mut news) => {
                news.at = unix_millis();
                self.queue(|queues| &queues.news, news);
            }
            Action::Tell { to, part } => self.queue(|queues| &queues.parts, (to, part)),
            other => return Some(other),
        }
        None
    }

    /// Does one thing, without waiting for it.
    pub fn perform(&self, action: Action) {
        match action {
            Action::Wake(waker) => waker.wake(),
            Action::Slept(away) => warn!(away_ms = away.as_millis(), "this process slept"),
            Action::Submit(task) => self.ask(submit(self.bus.clone(), task)),
            Action::Ping(ask) => self.ask(ping(self.bus.clone(), ask)),
            Action::Lost { holder, loss, attempts } => {
                warn!(holder = %holder.peer, attempts, why = loss.as_str(), "lost a holder");
            }
            Action::Ended { task, client, report, generates, first_token } => {
                log(task, client.as_ref(), &report);
                measure::ended(&report, generates, first_token);
                measure::of_client(client.as_ref(), Some(&report));
            }
            Action::HungUp { task, client, why } => {
                measure::hung_up();
                measure::of_client(client.as_ref(), None);
                let client = client.as_ref().map(ClientName::as_str);
                debug!(%task, client, why, "task cancelled");
            }
            // Said already, under the lock.
            Action::Cancel { .. }
            | Action::AnswerPulse { .. }
            | Action::Tell { .. }
            | Action::Announce(_) => {}
        }
    }

    /// Asks without waiting, and brings back what comes of it.
    fn ask(&self, question: impl Future<Output = Event> + Send + 'static) {
        let answers = self.answers.clone();
        // An async block would keep the question twice: as it was given, and where it is waited for.
        self.tracker.spawn(question.then(async move |event| {
            // Nobody listens any more once the edge has ended.
            let _ = answers.send(event).await;
        }));
    }

    fn queue<T>(&self, of: impl FnOnce(&Queues) -> &mpsc::Sender<T>, said: T) {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if queues.as_ref().is_some_and(|queues| of(queues).try_send(said).is_err()) {
            measure::unsaid();
        }
    }
}

/// A part that no message takes is told, too: whoever asks would ask for ever, and every time in vain.
async fn tell(bus: &Bus, to: &Inbox, part: &AnswerPart) {
    let mut told = bus.answer(Some(to), part).await;
    if let Err(PublishError::TooLarge { size, limit }) = told {
        warn!(size, limit, "an answer is not told to another edge: no message takes it");
        told = bus.answer(Some(to), &AnswerPart::TooLarge).await;
    }
    if let Err(error) = told {
        debug!(%error, "a part of an answer was not told; it is asked for again");
    }
}

async fn publish(bus: &Bus, said: Said) -> Result<(), PublishError> {
    match said {
        Said::Cancel { node: Some(node), cancel } => {
            bus.publish(&subject::cancel_at(&node, cancel.0.task), &cancel).await
        }
        Said::Cancel { node: None, cancel } => {
            bus.publish(&subject::cancel_task(cancel.0.task), &cancel).await
        }
        Said::Pulse { to, answer } => bus.answer(Some(&to), &answer).await,
    }
}

async fn submit(bus: Bus, submission: Box<Task>) -> Event {
    let (task, attempt) = (submission.task, submission.attempt);
    let asked = Instant::now();
    let patience = if submission.so_far.is_some() { ANSWER_IN_MID_ANSWER } else { ANSWER };
    let result = bus.call(&subject::submit(task), &*submission, patience).await;
    if result.is_ok() {
        measure::round_trip(asked.elapsed());
    }
    let result = result.map_err(|error| {
        debug!(%task, %error, "nobody took the task yet");
        match error {
            CallError::Unsent(PublishError::TooLarge { size, limit }) => {
                Unsubmitted::TooLarge { size, limit }
            }
            CallError::Unanswered(_) => Unsubmitted::Unanswered,
            _ => Unsubmitted::Unsent,
        }
    });
    Event::Submitted { task, attempt, result }
}

async fn ping(bus: Bus, ask: Ask) -> Event {
    let Ask { holder, within } = ask;
    let heard = match bus.call(&subject::ping(&holder.peer), &Empty {}, within).await {
        Ok(pong) => Heard::Pong(pong),
        Err(CallError::NoResponders(_)) => Heard::NobodyThere,
        Err(CallError::Unsent(_)) => Heard::CutOff,
        Err(_) => Heard::Nothing,
    };
    debug!(holder = %holder.peer, ?heard, "pinged a silent holder");
    Event::Pinged { holder, heard }
}

/// One line for each task: at `info` if it did not go smoothly.
fn log(task: TaskId, client: Option<&ClientName>, report: &Report) {
    let client = client.map(ClientName::as_str);
    let (attempts, model) = (report.attempts, report.model.as_str());
    let nodes = || report.nodes.iter().map(NodeId::as_str).collect::<Vec<_>>().join(" ");
    let latency_ms = report.latency.as_millis();
    match &report.ending {
        Err(failure) if failure.code == Code::Cancelled => {
            debug!(%task, client, model, "task cancelled by its id")
        }
        Err(failure) => {
            let (code, error) = (failure.code, failure.for_log());
            info!(%task, client, model, attempts, nodes = nodes(), latency_ms, ?code, error, "task failed");
        }
        Ok(_) if attempts > 1 => {
            info!(%task, client, model, attempts, nodes = nodes(), latency_ms, "task went on elsewhere")
        }
        Ok(_) => {
            let expected_ms = report.why.as_ref().and_then(|why| why.expected_ms.whole);
            debug!(%task, client, model, nodes = nodes(), latency_ms, expected_ms, "task ended");
        }
    }
}
