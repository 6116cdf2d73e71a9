//! The loop: the bus's messages become events, the state decides, and what it decides is done.

use std::time::Duration;

use echo_bus::Bus;
use echo_bus::client::{Link, Received, SubscribeError, Subscription};
use echo_bus::message::{CacheDigest, Cancel, Disconnect, Empty, Heartbeat, Task};
use echo_bus::subject::{self, ORCHESTRATORS};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::Limits;
use crate::event::{Event, Now};
use crate::perform::Hands;
use crate::state::State;

/// How often time is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long the nodes that were asked may take to answer, at the end.
const DRAIN: Duration = Duration::from_secs(1);

/// Why an orchestrator stops unasked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on the bus")]
    Subscribe(#[from] SubscribeError),
    #[error("the connection to the broker is closed for good")]
    Closed,
}

/// Everything that is waited for.
struct Inbox {
    beats: Subscription<Heartbeat>,
    /// An agent tells what an ended attempt has left in its slot before the heartbeat that frees the slot.
    caches: Subscription<CacheDigest>,
    cancels: Subscription<Cancel>,
    gone: Subscription<Disconnect>,
    pings: Subscription<Empty>,
    status: Subscription<Empty>,
    /// Left first when draining, so that others get what is new.
    tasks: Option<Subscription<Task>>,
    outcomes: mpsc::Receiver<Event>,
    link: watch::Receiver<Link>,
    tick: Interval,
}

/// Orchestrates until `shutdown`, then hands back what waits and leaves.
///
/// # Errors
/// When the bus is of no use; never because a broker is away for a while.
pub async fn run(limits: Limits, bus: Bus, shutdown: CancellationToken) -> Result<(), Error> {
    let (outcomes, inbox) = mpsc::channel(4_096);
    let mut inbox = Inbox::listen(&bus, inbox).await?;
    if shutdown.run_until_cancelled(in_force(&bus)).await.is_none() {
        bus.close().await;
        return Ok(());
    }
    let tracker = TaskTracker::new();
    let hands = Hands::new(bus.clone(), tracker.clone(), outcomes);
    let mut state = State::new(bus.me().id.clone(), bus.boot().clone(), limits, Now::read());
    let _inspection = bus.inspectable("places tasks on the nodes of the mesh").await;
    info!(orchestrator = %bus.me().id, boot = %bus.boot(), "ready");
    loop {
        match shutdown.run_until_cancelled(inbox.next()).await {
            None => break,
            Some(None) => return Err(Error::Closed),
            Some(Some(event)) => act(&mut state, &hands, event).await,
        }
    }
    drain(&mut state, &mut inbox, &hands).await;
    drop((inbox, hands));
    tracker.close();
    let _ = tokio::time::timeout(DRAIN, tracker.wait()).await;
    bus.close().await;
    info!("stopped");
    Ok(())
}

/// Waits until the subscriptions are in force; a broker that is away meanwhile is waited for.
async fn in_force(bus: &Bus) {
    let mut link = bus.link();
    while let Err(error) = bus.round_trip(Duration::from_secs(2)).await {
        warn!(error = &error as &dyn std::error::Error, "the bus does not answer yet; still trying");
        let up = link.wait_for(|link| link.up || link.closed);
        let _ = tokio::time::timeout(Duration::from_secs(5), up).await;
    }
}

async fn act(state: &mut State, hands: &Hands, event: Event) {
    for action in state.apply(event, Now::read()) {
        hands.perform(action).await;
    }
}

/// Leaves the queue group, hands back what waits, and hears the nodes that were asked, for a second at most.
async fn drain(state: &mut State, inbox: &mut Inbox, hands: &Hands) {
    act(state, hands, Event::Drain).await;
    if let Some(mut tasks) = inbox.tasks.take() {
        while let Some(received) = tasks.ready() {
            act(state, hands, submitted(received)).await;
        }
    }
    let rest = async {
        while state.held() > 0 {
            match inbox.next().await {
                Some(event) => act(state, hands, event).await,
                None => return,
            }
        }
    };
    if tokio::time::timeout(DRAIN, rest).await.is_err() {
        warn!(held = state.held(), "left before every node had answered; the edges submit these tasks again");
    }
}

impl Inbox {
    async fn listen(bus: &Bus, outcomes: mpsc::Receiver<Event>) -> Result<Self, SubscribeError> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            beats: bus.subscribe(&subject::heartbeats()).await?,
            caches: bus.subscribe(&subject::caches()).await?,
            cancels: bus.subscribe(&subject::cancelled_tasks()).await?,
            gone: bus.subscribe(&subject::gone()).await?,
            pings: bus.subscribe(&subject::pings(bus.me())).await?,
            status: bus.subscribe_in(&subject::status_requests(), ORCHESTRATORS).await?,
            tasks: Some(bus.subscribe_in(&subject::submissions(), ORCHESTRATORS).await?),
            outcomes,
            // Seen first of all, whatever it is.
            link: bus.link(),
            tick,
        })
    }

    /// The next event, or `None` once a source has closed. Cancel-safe: holds nothing across the wait.
    async fn next(&mut self) -> Option<Event> {
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

async fn next_task(tasks: &mut Option<Subscription<Task>>) -> Option<Received<Task>> {
    match tasks {
        Some(tasks) => tasks.next().await,
        None => std::future::pending().await,
    }
}

fn submitted(received: Received<Task>) -> Event {
    let task = received.message.map(Box::new).map_err(|error| error.to_string());
    Event::Submitted { task, reply: received.reply }
}
