//! What a watching edge hears: the events and heartbeats that everybody may hear, and now and then an orchestrator.

use std::collections::VecDeque;
use std::time::Duration;

use echo_bus::Bus;
use echo_bus::client::{CallError, Link, SubscribeError, Subscription};
use echo_bus::message::{Empty, Event, Heartbeat, MeshStatus};
use echo_bus::subject;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often an orchestrator is asked: it knows what no event tells.
const ASK: Duration = Duration::from_secs(10);
/// How long it may take.
const WITHIN: Duration = Duration::from_secs(1);
/// What is taken at once of what waits.
const TOGETHER: usize = 256;

/// One thing that was heard.
#[derive(Debug)]
pub enum Heard {
    Beat(Box<Heartbeat>),
    Event(Box<Event>),
    /// What an orchestrator knows; `None` while none answers.
    Status(Option<Box<MeshStatus>>),
    /// Whether the broker is connected.
    Link(bool),
}

/// All that is listened to.
pub struct Ears {
    bus: Bus,
    beats: Subscription<Heartbeat>,
    nodes: Subscription<Event>,
    tasks: Subscription<Event>,
    link: watch::Receiver<Link>,
    ticker: Interval,
    asking: Option<BoxFuture<'static, Result<MeshStatus, CallError>>>,
}

impl Ears {
    /// Listens. What is missed until the subscriptions are in force is in the first answer of an orchestrator.
    ///
    /// # Errors
    /// When the bus is closed for good.
    pub async fn open(bus: &Bus) -> Result<Self, SubscribeError> {
        let mut ticker = interval(ASK);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut link = bus.link();
        link.mark_changed();
        Ok(Self {
            beats: bus.subscribe(&subject::heartbeats()).await?,
            nodes: bus.subscribe(&subject::node_events()).await?,
            tasks: bus.subscribe(&subject::task_events()).await?,
            bus: bus.clone(),
            link,
            ticker,
            asking: None,
        })
    }

    /// The next of it; `None` once the bus is closed. Cancel-safe: the question under way stays.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            tokio::select! {
                changed = self.link.changed() => {
                    changed.ok()?;
                    let link = *self.link.borrow_and_update();
                    return (!link.closed).then_some(Heard::Link(link.up));
                }
                event = self.tasks.next_readable() => return event.map(|event| Heard::Event(Box::new(event))),
                event = self.nodes.next_readable() => return event.map(|event| Heard::Event(Box::new(event))),
                beat = self.beats.next_readable() => return beat.map(|beat| Heard::Beat(Box::new(beat))),
                status = answered(&mut self.asking) => {
                    self.asking = None;
                    return Some(Heard::Status(status.ok().map(Box::new)));
                }
                _ = self.ticker.tick(), if self.asking.is_none() => {
                    let bus = self.bus.clone();
                    let ask = async move { bus.call(&subject::status(), &Empty {}, WITHIN).await };
                    self.asking = Some(ask.boxed());
                }
            }
        }
    }

    /// What is here already, so that a busy mesh costs one lock for many messages.
    pub fn ready(&mut self) -> VecDeque<Heard> {
        let mut heard = VecDeque::new();
        while heard.len() < TOGETHER {
            let event = self.tasks.ready().or_else(|| self.nodes.ready());
            let event = event.map(|event| event.message.ok().map(|event| Heard::Event(Box::new(event))));
            let next = match event {
                Some(event) => Some(event),
                None => {
                    let beat = self.beats.ready();
                    beat.map(|beat| beat.message.ok().map(|beat| Heard::Beat(Box::new(beat))))
                }
            };
            let Some(next) = next else { break };
            heard.extend(next);
        }
        heard
    }
}

async fn answered(
    asking: &mut Option<BoxFuture<'static, Result<MeshStatus, CallError>>>,
) -> Result<MeshStatus, CallError> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}
