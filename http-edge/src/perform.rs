//! Does what the edge has decided: submits, pings, publishes, wakes readers, counts.
//!
//! Questions (submissions, pings) have a tokio task each, which brings the answer back as an event. Everything else that
//! is said goes through one queue, so that what the edge says first is said first. The queue is bounded. What finds no
//! room is lost, as on the bus itself: a cancel and a pulse's answer come again with the next pulse.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use echo_bus::Bus;
use echo_bus::client::{CallError, PublishError};
use echo_bus::id::{Inbox, NodeId, TaskId};
use echo_bus::message::{AnswerPart, Cancel, Empty, Event as Announcement, PulseAnswer, Task, unix_millis};
use echo_bus::subject;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::edge::{Action, Event, Unsubmitted};
use crate::holders::{Ask, Heard};
use crate::measure;
use crate::report::Report;

/// How long an orchestrator may take to answer a submission.
const ANSWER: Duration = Duration::from_secs(2);
/// Messages that wait to be published.
const QUEUE: usize = 4096;

/// One message.
enum Said {
    Cancel { node: Option<NodeId>, cancel: Cancel },
    Pulse { to: Inbox, answer: PulseAnswer },
    Part { to: Inbox, part: Box<AnswerPart> },
    Announcement(Box<Announcement>),
}

/// The one hand of the edge.
pub struct Performer {
    bus: Bus,
    tracker: TaskTracker,
    /// What comes of questions.
    answers: mpsc::Sender<Event>,
    /// `None` once the edge stops.
    queue: Mutex<Option<mpsc::Sender<Said>>>,
}

impl Performer {
    /// Publishes until it is closed. What comes of questions goes to `answers`.
    pub fn start(bus: Bus, tracker: TaskTracker, answers: mpsc::Sender<Event>) -> Self {
        let (sender, mut queue) = mpsc::channel(QUEUE);
        let publisher = bus.clone();
        tracker.spawn(async move {
            while let Some(said) = queue.recv().await {
                if let Err(error) = publish(&publisher, said).await {
                    debug!(%error, "not said; where it matters, the next pulse says it");
                }
            }
        });
        Self { bus, tracker, answers, queue: Mutex::new(Some(sender)) }
    }

    /// What is in the queue is still said.
    pub fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Does one thing, without waiting for it.
    pub fn perform(&self, action: Action) {
        match action {
            Action::Wake(waker) => waker.wake(),
            Action::Slept(away) => warn!(away_ms = away.as_millis(), "this process slept"),
            Action::Submit(task) => self.ask(submit(self.bus.clone(), task)),
            Action::Ping(ask) => self.ask(ping(self.bus.clone(), ask)),
            Action::Cancel { node, cancel } => self.say(Said::Cancel { node, cancel }),
            Action::AnswerPulse { to, answer } => self.say(Said::Pulse { to, answer }),
            Action::Tell { to, part } => self.say(Said::Part { to, part }),
            Action::Announce(news) => self.say(Said::Announcement(news)),
            Action::Ended { task, report, first_token } => {
                log(task, &report);
                measure::ended(&report, first_token);
            }
            Action::HungUp { task, why } => {
                measure::hung_up();
                debug!(%task, why, "task cancelled");
            }
        }
    }

    /// Asks without waiting, and brings back what comes of it.
    fn ask(&self, question: impl Future<Output = Event> + Send + 'static) {
        let answers = self.answers.clone();
        self.tracker.spawn(async move {
            // Nobody listens any more once the edge has ended.
            let _ = answers.send(question.await).await;
        });
    }

    fn say(&self, said: Said) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.as_ref().is_some_and(|queue| queue.try_send(said).is_err()) {
            measure::unsaid();
        }
    }
}

async fn publish(bus: &Bus, said: Said) -> Result<(), PublishError> {
    match said {
        Said::Cancel { node: Some(node), cancel } => bus.publish(&subject::cancel_at(&node), &cancel).await,
        Said::Cancel { node: None, cancel } => {
            bus.publish(&subject::cancel_task(cancel.0.task), &cancel).await
        }
        Said::Pulse { to, answer } => bus.answer(Some(&to), &answer).await,
        Said::Part { to, part } => bus.answer(Some(&to), &*part).await,
        Said::Announcement(mut news) => {
            let Some(task) = news.task else { return Ok(()) };
            news.at = unix_millis();
            bus.publish(&subject::task_event(task, news.what), &*news).await
        }
    }
}

async fn submit(bus: Bus, submission: Box<Task>) -> Event {
    let (task, attempt) = (submission.task, submission.attempt);
    let result = bus.call(&subject::submit(), &*submission, ANSWER).await;
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
    if !matches!(heard, Heard::Pong(_)) {
        warn!(holder = %holder.peer, ?heard, "a silent holder gave no answer");
    }
    Event::Pinged { holder, heard }
}

/// One line for each task: at `info` if it did not go smoothly.
fn log(task: TaskId, report: &Report) {
    let (attempts, model) = (report.attempts, report.model.as_str());
    let nodes = || report.nodes.iter().map(NodeId::as_str).collect::<Vec<_>>().join(" ");
    let latency_ms = report.latency.as_millis();
    match &report.ending {
        Err(failure) => {
            let (code, error) = (failure.code, failure.for_log());
            info!(%task, model, attempts, nodes = nodes(), latency_ms, ?code, error, "task failed");
        }
        Ok(_) if attempts > 1 => {
            info!(%task, model, attempts, nodes = nodes(), latency_ms, "task went on elsewhere")
        }
        Ok(_) => {
            let expected_ms = report.why.as_ref().and_then(|why| why.expected_ms.whole);
            debug!(%task, model, nodes = nodes(), latency_ms, expected_ms, "task ended");
        }
    }
}
