//! The one place of the edge that waits for what comes from the bus unasked: frames, pulses, pings, ended connections,
//! other edges' questions, the link; and for time. What comes of the edge's own questions arrives here too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_bus::client::{self, Link, SubscribeError, Subscription};
use echo_bus::id::Inbox as Reply;
use echo_bus::message::{
    AnswerPart, Disconnect, Empty, Frames, Payload, Pong, Pulse, PulseAnswer, ReadAnswer, unix_millis,
};
use echo_bus::subject;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

use crate::edge::Event;
use crate::tasks::Tasks;

/// How often silence is looked for.
const TICK: Duration = Duration::from_millis(50);
/// How long our subscriptions may take to be in force again after a reconnect.
const AGAIN: Duration = Duration::from_secs(5);

/// After one that did not come back; a link that is down again ends the attempts.
const AGAIN_SOON: Duration = Duration::from_millis(200);

/// All subscriptions of an edge, in force once a round trip has come back.
pub struct Inbox {
    frames: Subscription<Frames>,
    rest: Rest,
}

struct Rest {
    pulses: Subscription<Pulse>,
    gone: Subscription<Disconnect>,
    pings: Subscription<Empty>,
    questions: Subscription<ReadAnswer>,
    /// What has come of our own questions.
    answers: mpsc::Receiver<Event>,
    link: watch::Receiver<Link>,
    ticker: Interval,
    /// The connection that was heard of last.
    epoch: u64,
    began: Instant,
    /// The round trip after a reconnect.
    coming_back: Option<BoxFuture<'static, ()>>,
}

impl Inbox {
    /// Subscribes.
    ///
    /// # Errors
    /// When the bus is closed for good.
    pub async fn subscribe(tasks: &Tasks, answers: mpsc::Receiver<Event>) -> Result<Self, SubscribeError> {
        let (bus, me) = (&tasks.bus, &tasks.bus.me().id);
        let mut ticker = interval(TICK);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut link = bus.link();
        let epoch = link.borrow_and_update().epoch;
        let frames = bus.subscribe(&subject::frames_of(me)).await?;
        let rest = Rest {
            pulses: bus.subscribe(&subject::pulses(me)).await?,
            gone: bus.subscribe(&subject::gone()).await?,
            pings: bus.subscribe(&subject::pings(bus.me())).await?,
            questions: bus.subscribe(&subject::answers_of(me)).await?,
            answers,
            link,
            ticker,
            epoch,
            began: Instant::now(),
            coming_back: None,
        };
        Ok(Self { frames, rest })
    }

    /// Runs until the bus is closed. Each subscription ends with it, so the first that ends is the end.
    pub async fn run(self, tasks: Arc<Tasks>) {
        let Self { frames, rest } = self;
        let frames = AbortOnDropHandle::new(tokio::spawn(hear(frames, tasks.clone())));
        tokio::select! {
            () = rest.run(tasks) => {}
            // An edge that hears no frames must not go on as if it did.
            broken = frames => broken.expect("who hears the frames does not panic"),
        }
    }
}

/// Frames come ten thousand times as often as all the rest, and who waits for one of many looks at each of them. In a
/// task of their own they keep no pulse waiting either.
async fn hear(mut frames: Subscription<Frames>, tasks: Arc<Tasks>) {
    while let Some(received) = frames.next().await {
        match received.message {
            Ok(frames) => tasks.apply(Event::Frames { inbox: received.subject, frames }),
            Err(error) => client::passed_over("frame", &error),
        }
    }
}

impl Rest {
    async fn run(mut self, tasks: Arc<Tasks>) {
        loop {
            let event = tokio::select! {
                pulse = self.pulses.next() => match pulse {
                    None => return,
                    Some(received) => match received.message {
                        Ok(pulse) => Some(Event::Pulse { pulse, reply: received.reply }),
                        Err(error) => {
                            answer(&tasks, received.reply, PulseAnswer::default());
                            passed_over("pulse", &error)
                        }
                    },
                },
                gone = self.gone.next_readable() => match gone {
                    None => return,
                    // Its silence will tell, should it not come back.
                    Some(gone) if gone.is_servers_end() => None,
                    Some(gone) => gone.peer().map(|(peer, boot)| Event::Gone { peer, boot }),
                },
                question = self.questions.next() => match question {
                    None => return,
                    Some(received) => match received.message {
                        Ok(question) => Some(Event::Asked { question, reply: received.reply }),
                        Err(error) => {
                            answer(&tasks, received.reply, AnswerPart::Unknown);
                            passed_over("question", &error)
                        }
                    },
                },
                Some(answer) = self.answers.recv() => Some(answer),
                ping = self.pings.next() => match ping {
                    None => return,
                    Some(received) => { self.pong(&tasks, received.reply); None }
                },
                changed = self.link.changed() => {
                    if changed.is_err() || self.link.borrow().closed {
                        return;
                    }
                    self.link_changed(&tasks)
                }
                () = back(&mut self.coming_back) => {
                    self.coming_back = None;
                    Some(Event::Reconnected)
                }
                _ = self.ticker.tick() => Some(Event::Tick { unix_ms: unix_millis() }),
            };
            if let Some(event) = event {
                tasks.apply(event);
            }
        }
    }

    /// Says that this process lives. It holds no attempt itself.
    fn pong(&self, tasks: &Arc<Tasks>, reply: Option<Reply>) {
        let uptime_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let pong = Pong { boot: tasks.bus.boot().clone(), uptime_ms, held: Vec::new() };
        answer(tasks, reply, pong);
    }

    /// Silence is nobody's fault while we are cut off ourselves. After a reconnect our subscriptions are in force again
    /// once a round trip has come back, unless the link changes before.
    fn link_changed(&mut self, tasks: &Arc<Tasks>) -> Option<Event> {
        let link = *self.link.borrow_and_update();
        if !link.up {
            self.coming_back = None;
            return Some(Event::Disconnected);
        }
        if std::mem::replace(&mut self.epoch, link.epoch) != link.epoch {
            let bus = tasks.bus.clone();
            self.coming_back = Some(Box::pin(async move {
                while bus.round_trip(AGAIN).await.is_err() {
                    tokio::time::sleep(AGAIN_SOON).await;
                }
                info!("listening again");
            }));
        }
        None
    }
}

/// Waits for what is under way, if something is.
async fn back(coming_back: &mut Option<BoxFuture<'static, ()>>) {
    match coming_back {
        Some(coming) => coming.await,
        None => std::future::pending().await,
    }
}

/// Answers what needs no decision.
fn answer(tasks: &Tasks, reply: Option<Reply>, answer: impl Payload + Send + Sync + 'static) {
    let bus = tasks.bus.clone();
    tasks.tracker.spawn(async move {
        if let Err(error) = bus.answer(reply.as_ref(), &answer).await {
            debug!(%error, "could not answer");
        }
    });
}

fn passed_over(what: &str, error: &serde_json::Error) -> Option<Event> {
    client::passed_over(what, error);
    None
}
