//! What runs for as long as the edge does: frames, pulses, pings and the link, from the bus onto the desk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_bus::client::{CallError, SubscribeError, Subscription};
use echo_bus::holding::LATE_TICK;
use echo_bus::message::{Disconnect, Empty, Frame, Pong, Pulse, PulseAnswer};
use echo_bus::subject;
use tracing::{debug, info, warn};

use crate::desk::{Ask, Heard};
use crate::owner::Owner;

/// How often silence is looked for.
const TICK: Duration = Duration::from_millis(50);

/// All subscriptions of an edge, in force once a round trip has come back.
pub struct Pumps {
    frames: Subscription<Frame>,
    pulses: Subscription<Pulse>,
    gone: Subscription<Disconnect>,
    pings: Subscription<Empty>,
}

impl Pumps {
    /// Subscribes.
    ///
    /// # Errors
    /// When the bus is closed for good.
    pub async fn subscribe(owner: &Owner) -> Result<Self, SubscribeError> {
        let (bus, me) = (&owner.bus, &owner.bus.me().id);
        Ok(Self {
            frames: bus.subscribe(&subject::frames_of(me)).await?,
            pulses: bus.subscribe(&subject::pulses(me)).await?,
            gone: bus.subscribe(&subject::gone()).await?,
            pings: bus.subscribe(&subject::pings(bus.me())).await?,
        })
    }

    /// Runs until the bus is closed.
    pub async fn run(self, owner: Arc<Owner>) {
        let Self { frames, pulses, gone, pings } = self;
        tokio::join!(
            pump_frames(&owner, frames),
            answer_pulses(&owner, pulses),
            watch_gone(&owner, gone),
            answer_pings(&owner, pings, Instant::now()),
            watch_link(&owner),
            tick(&owner),
        );
    }
}

async fn pump_frames(owner: &Owner, mut frames: Subscription<Frame>) {
    while let Some(received) = frames.next().await {
        match received.message {
            Ok(frame) => owner.frame(&received.subject, frame),
            Err(error) => warn!(%error, "passed over an unreadable frame"),
        }
    }
}

async fn answer_pulses(owner: &Owner, mut pulses: Subscription<Pulse>) {
    while let Some(received) = pulses.next().await {
        let answer = match received.message {
            Ok(pulse) => {
                let (answer, lost) = owner.desk(|desk| desk.pulse(&pulse, Instant::now()));
                owner.lost(lost);
                answer
            }
            Err(error) => {
                warn!(%error, "an unreadable pulse");
                PulseAnswer::default()
            }
        };
        if let Err(error) = owner.bus.answer(received.reply.as_ref(), &answer).await {
            debug!(%error, "could not answer a pulse");
        }
    }
}

async fn watch_gone(owner: &Arc<Owner>, mut gone: Subscription<Disconnect>) {
    while let Some(disconnect) = gone.next_readable().await {
        if let Some((peer, boot)) = disconnect.peer() {
            let ask = owner.desk(|desk| desk.gone(peer, boot, Instant::now()));
            ask.into_iter().for_each(|ask| spawn_ping(owner, ask));
        }
    }
}

async fn answer_pings(owner: &Owner, mut pings: Subscription<Empty>, began: Instant) {
    while let Some(ping) = pings.next().await {
        let uptime_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let pong = Pong { boot: owner.bus.boot().clone(), uptime_ms, held: Vec::new() };
        if let Err(error) = owner.bus.answer(ping.reply.as_ref(), &pong).await {
            debug!(%error, "could not answer a ping");
        }
    }
}

/// Silence is nobody's fault while we are cut off ourselves.
async fn watch_link(owner: &Owner) {
    let mut link = owner.bus.link();
    let mut epoch = link.borrow_and_update().epoch;
    while link.changed().await.is_ok() {
        let now = *link.borrow_and_update();
        if now.closed {
            return;
        }
        if !now.up {
            owner.desk(crate::desk::Desk::disconnected);
        } else if now.epoch != epoch {
            epoch = now.epoch;
            // Our subscriptions are in force again once this is back; if it fails, the link changes again.
            if owner.bus.round_trip(Duration::from_secs(5)).await.is_ok() {
                info!("listening again");
            }
            owner.desk(|desk| desk.reconnected(Instant::now()));
        }
    }
}

async fn tick(owner: &Arc<Owner>) {
    let mut ticker = tokio::time::interval(TICK);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut link = owner.bus.link();
    loop {
        tokio::select! {
            _ = ticker.tick() => {}
            _ = link.wait_for(|link| link.closed) => return,
        }
        let now = Instant::now();
        if now.duration_since(last) > LATE_TICK {
            warn!(late_ms = now.duration_since(last).as_millis(), "this process slept");
            owner.desk(|desk| desk.slept(now));
        }
        last = now;
        for ask in owner.desk(|desk| desk.tick(now)) {
            spawn_ping(owner, ask);
        }
    }
}

fn spawn_ping(owner: &Arc<Owner>, ask: Ask) {
    let asker = owner.clone();
    tokio::spawn(async move {
        let Ask { holder, within } = ask;
        let pong = asker.bus.call(&subject::ping(&holder.peer), &Empty {}, within).await;
        let heard = match pong {
            Ok(pong) => Heard::Pong(pong),
            Err(CallError::NoResponders(_)) => Heard::NobodyThere,
            Err(CallError::Unsent(_)) => Heard::CutOff,
            Err(_) => Heard::Nothing,
        };
        debug!(holder = %holder.peer, ?heard, "pinged a silent holder");
        let lost = asker.desk(|desk| desk.heard(&holder, heard, Instant::now()));
        if !lost.is_empty() {
            warn!(holder = %holder.peer, tasks = lost.len(), why = lost[0].loss.as_str(), "lost a holder");
        }
        asker.lost(lost);
    });
}
