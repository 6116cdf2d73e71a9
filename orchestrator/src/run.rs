//! The loop: the bus's messages become events, the state decides, and what it decides is done.

use std::time::Duration;

use echo_bus::Bus;
use echo_bus::client::SubscribeError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::Limits;
use crate::event::Event;
use crate::inbox::Inbox;
use crate::metrics;
use crate::perform::Performer;
use crate::state::State;
use echo_bus::clock::Now;

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

/// Orchestrates until `shutdown`, then hands back what waits and leaves.
///
/// # Errors
/// When the bus is of no use; never because a broker is away for a while.
pub async fn run(limits: Limits, bus: Bus, shutdown: CancellationToken) -> Result<(), Error> {
    let (outcomes, waiting) = mpsc::channel(4_096);
    let mut inbox = Inbox::listen(&bus, waiting).await?;
    if shutdown.run_until_cancelled(in_force(&bus)).await.is_none() {
        bus.close().await;
        return Ok(());
    }
    let tracker = TaskTracker::new();
    let performer = Performer::new(bus.clone(), tracker.clone(), outcomes);
    let mut state = State::new(bus.me().id.clone(), bus.boot().clone(), limits, Now::read());
    let _inspection = bus.inspectable("places tasks on the nodes of the mesh").await;
    info!(orchestrator = %bus.me().id, boot = %bus.boot(), "ready");
    loop {
        match shutdown.run_until_cancelled(inbox.next()).await {
            None => break,
            Some(None) => return Err(Error::Closed),
            Some(Some(event)) => act(&mut state, &performer, event).await,
        }
    }
    drain(&mut state, &mut inbox, &performer).await;
    drop((inbox, performer));
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

async fn act(state: &mut State, performer: &Performer, event: Event) {
    let is_tick = matches!(event, Event::Tick);
    for action in state.apply(event, Now::read()) {
        performer.perform(action).await;
    }
    if is_tick {
        metrics::standing(state.held(), state.queued(), state.nodes());
    }
}

/// Leaves the queue group, hands back what waits, and hears the nodes that were asked, for a second at most.
async fn drain(state: &mut State, inbox: &mut Inbox, performer: &Performer) {
    act(state, performer, Event::Drain).await;
    for event in inbox.leave_the_queue_group() {
        act(state, performer, event).await;
    }
    let rest = async {
        while state.held() > 0 {
            match inbox.next().await {
                Some(event) => act(state, performer, event).await,
                None => return,
            }
        }
    };
    if tokio::time::timeout(DRAIN, rest).await.is_err() {
        warn!(held = state.held(), "left before every node had answered; the edges submit these tasks again");
    }
}
