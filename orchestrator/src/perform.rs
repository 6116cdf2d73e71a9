//! Does what was decided. Questions run beside the loop, and what became of them comes back as events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_bus::client::{CallError, PublishError};
use echo_bus::holding::{GONE, PULSE_ANSWER};
use echo_bus::id::{NodeId, Peer, ProcessId};
use echo_bus::message::{Dispatch, Empty, Event as News, Pong, Pulse, Task};
use echo_bus::subject;
use echo_bus::{Bus, announcer};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use crate::event::{Action, Answer, Asked, Event};
use crate::metrics;
use crate::reason::{Reason, Reasoned};

/// An agent answers at once, so a longer silence means that nobody knows whether it has the task.
const DISPATCH: Duration = Duration::from_millis(500);

/// Events that wait to be published.
const NEWS: usize = 4_096;

/// Does things.
pub(crate) struct Performer {
    bus: Bus,
    tracker: TaskTracker,
    outcomes: mpsc::Sender<Event>,
    news: mpsc::Sender<Box<News>>,
}

impl Performer {
    /// News are told beside the loop, and dropped when nobody takes them: nothing depends on them.
    pub(crate) fn new(bus: Bus, tracker: TaskTracker, outcomes: mpsc::Sender<Event>) -> Self {
        let news = announcer(bus.clone(), NEWS, &tracker);
        Self { bus, tracker, outcomes, news }
    }

    /// What is said goes out in order: an edge hears that its task is taken before it hears where it stands.
    pub(crate) async fn perform(&self, action: Action) {
        let said = match action {
            Action::Answer { to, answer } => self.bus.answer(Some(&to), &answer).await,
            Action::Frame { to, frame } => self.bus.send_frame(&to, &frame).await,
            Action::CancelAt { node, cancel } => {
                self.bus.publish(&subject::cancel_at(&node, cancel.0.task), &cancel).await
            }
            Action::Pong { to, pong } => self.bus.answer(Some(&to), &pong).await,
            Action::Ping { node } => return self.ping(node),
            Action::Dispatch { asked, task, reason } => return self.dispatch(asked, task, reason),
            Action::Pulse { edge, pulse } => return self.pulse(edge, pulse),
            Action::Status { to, snapshot } => {
                // A thousand nodes make a long answer: not in the loop.
                let bus = self.bus.clone();
                self.tracker.spawn(async move { note(bus.answer(Some(&to), &snapshot.into_status()).await) });
                return;
            }
            Action::Announce(news) => {
                log(&news);
                metrics::news(&news);
                let _ = self.news.try_send(Box::new(news));
                return;
            }
        };
        note(said);
    }

    fn dispatch(&self, asked: Asked, task: Arc<Task>, reason: Arc<Reason>) {
        let (bus, outcomes) = (self.bus.clone(), self.outcomes.clone());
        self.tracker.spawn(async move {
            let began = Instant::now();
            let reasoned = Reasoned::new(&task, &reason);
            let answer = bus.call(&subject::dispatch(&asked.node), &reasoned, DISPATCH).await;
            let waited_ms = task.waited_ms;
            drop(task);
            if answer.is_ok() {
                metrics::round_trip(began.elapsed());
            }
            let answer = outcome(answer);
            if matches!(answer, Answer::Accepted { .. }) {
                metrics::waited(waited_ms);
            }
            // The loop has ended: then nobody needs to know.
            let _ = outcomes.send(Event::Answered { asked, answer }).await;
        });
    }

    fn ping(&self, node: NodeId) {
        let (bus, outcomes) = (self.bus.clone(), self.outcomes.clone());
        self.tracker.spawn(async move {
            match bus.call(&subject::ping(&Peer::agent(&node)), &Empty {}, GONE).await {
                Ok(Pong { boot, .. }) => {
                    let _ = outcomes.send(Event::Ponged { node, boot }).await;
                }
                Err(error) => {
                    debug!(%node, error = &error as &dyn std::error::Error, "a node did not answer a ping");
                }
            }
        });
    }

    fn pulse(&self, edge: ProcessId, pulse: Pulse) {
        let (bus, outcomes) = (self.bus.clone(), self.outcomes.clone());
        self.tracker.spawn(async move {
            let answer = bus.call(&subject::pulse(&edge, &pulse.holder), &pulse, PULSE_ANSWER).await;
            if let Err(error) = &answer {
                debug!(%edge, error = error as &dyn std::error::Error, "an edge did not answer a pulse");
            }
            let _ = outcomes.send(Event::Pulsed { edge, answer: answer.ok() }).await;
        });
    }
}

/// What the answer to a dispatch means.
fn outcome(answer: Result<Dispatch, CallError>) -> Answer {
    match answer {
        Ok(Dispatch::Accepted { heartbeat, .. }) => Answer::Accepted { heartbeat },
        Ok(Dispatch::Refused(failure)) => Answer::Refused(failure),
        // It said something, but we do not know what: it may run the task.
        Ok(Dispatch::Unknown) | Err(CallError::Undecodable(..) | CallError::Unanswered(_)) => Answer::Unclear,
        Err(CallError::NoResponders(_)) => Answer::NoResponders,
        Err(CallError::Unsent(PublishError::Disconnected)) => Answer::Disconnected,
        Err(CallError::Unsent(error)) => {
            Answer::Unsendable(format!("the task cannot be sent to a node: {error}"))
        }
    }
}

fn log(news: &News) {
    let (what, detail) = (news.what.as_str(), news.detail.as_str());
    match (news.task, &news.node) {
        (Some(task), node) => {
            let node = node.as_ref().map(tracing::field::display);
            debug!(%task, attempt = news.attempt, node, what, detail, "task");
        }
        (None, Some(node)) => info!(%node, what, detail, "node"),
        (None, None) => {}
    }
}

/// Everything said here is either said again or missed by its hearer, who then asks: a lost word is no loss.
fn note(said: Result<(), PublishError>) {
    if let Err(error) = said {
        debug!(error = &error as &dyn std::error::Error, "not said");
    }
}
