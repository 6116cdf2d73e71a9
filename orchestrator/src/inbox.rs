//! The one place that waits: what comes from the bus, from questions that were asked, and from the clock becomes events.

use std::time::Duration;

use echo_bus::Bus;
use echo_bus::client::{Link, Received, SubscribeError, Subscription};
use echo_bus::message::{CacheDigest, Cancel, Disconnect, Empty, Heartbeat, Task};
use echo_bus::subject::{self, ORCHESTRATORS};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::event::Event;

/// How often time is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Everything that is waited for.
pub(crate) struct Inbox {
    beats: Subscription<Heartbeat>,
    /// An agent tells what an ended attempt has left in its slot before the heartbeat that frees the slot.
    caches: Subscription<CacheDigest>,
    cancels: Subscription<Cancel>,
    gone: Subscription<Disconnect>,
    pings: Subscription<Empty>,
    status: Subscription<Empty>,
    /// Left first when draining, so that others get what is new.
    tasks: Option<Tasks>,
    outcomes: mpsc::Receiver<Event>,
    link: watch::Receiver<Link>,
    tick: Interval,
}

/// What is submitted.
struct Tasks {
    of_edges: Subscription<Task>,
    by_hand: Subscription<Task>,
}

impl Inbox {
    /// Subscribes to everything; the outcomes are what the performer sends back.
    pub(crate) async fn listen(bus: &Bus, outcomes: mpsc::Receiver<Event>) -> Result<Self, SubscribeError> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            beats: bus.subscribe(&subject::heartbeats()).await?,
            caches: bus.subscribe(&subject::caches()).await?,
            cancels: bus.subscribe(&subject::cancelled_tasks()).await?,
            gone: bus.subscribe(&subject::gone()).await?,
            pings: bus.subscribe(&subject::pings(bus.me())).await?,
            status: bus.subscribe_in(&subject::status_requests(), ORCHESTRATORS).await?,
            tasks: Some(Tasks {
                of_edges: bus.subscribe_in(&subject::submissions(), ORCHESTRATORS).await?,
                by_hand: bus.subscribe_in(&subject::submissions_by_hand(), ORCHESTRATORS).await?,
            }),
            outcomes,
            // Seen first of all, whatever it is.
            link: bus.link(),
            tick,
        })
    }

    /// Takes no new tasks from now on, so that others get them; the tasks that are here already come back as events.
    pub(crate) fn leave_the_queue_group(&mut self) -> Vec<Event> {
        let mut here = Vec::new();
        if let Some(mut tasks) = self.tasks.take() {
            while let Some(received) = tasks.of_edges.ready().or_else(|| tasks.by_hand.ready()) {
                here.push(submitted(received));
            }
        }
        here
    }

    /// The next event, or `None` once a source has closed. Cancel-safe: holds nothing across the wait.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let event = tokio::select! {
                // What is known comes before what is asked: a task is placed on the news, and one that was cancelled
                // while we slept is never placed.
                biased;
                changed = self.link.changed() => {
                    changed.ok()?;
                    let link = *self.link.borrow_and_update();
                    return (!link.closed).then_some(Event::Link { up: link.up });
                }
                cancel = self.cancels.next_readable() => Some(Event::Cancelled(cancel?)),
                digest = self.caches.next_readable() => Some(Event::Caches(Box::new(digest?))),
                beat = self.beats.next_readable() => Some(Event::Beat(Box::new(beat?))),
                outcome = self.outcomes.recv() => Some(outcome?),
                gone = self.gone.next_readable() => {
                    gone?.peer().map(|(peer, boot)| Event::Gone { peer, boot })
                }
                _ = self.tick.tick() => Some(Event::Tick),
                ping = self.pings.next() => ping?.reply.map(|reply| Event::Pinged { reply }),
                status = self.status.next() => status?.reply.map(|reply| Event::StatusAsked { reply }),
                task = next_task(&mut self.tasks) => Some(submitted(task?)),
            };
            if event.is_some() {
                return event;
            }
        }
    }
}

async fn next_task(tasks: &mut Option<Tasks>) -> Option<Received<Task>> {
    match tasks {
        Some(Tasks { of_edges, by_hand }) => tokio::select! {
            task = of_edges.next() => task,
            task = by_hand.next() => task,
        },
        None => std::future::pending().await,
    }
}

fn submitted(received: Received<Task>) -> Event {
    let task = received.message.map(Box::new).map_err(|error| error.to_string());
    Event::Submitted { task, reply: received.reply }
}
