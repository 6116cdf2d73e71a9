//! The one place that waits: what comes from the bus, from running tasks, from the agent's own port and from the clock becomes
//! events.

use std::time::{Duration, Instant};

use echo_bus::Bus;
use echo_bus::client::{CallError, Link, Received, Subscription, passed_over};
use echo_bus::id::{NodeId, Peer};
use echo_bus::message::{Cancel, Empty, Namesake, Order, Task};
use echo_bus::subject;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::error::Error;
use crate::http::Command;
use crate::node::Event;
use crate::perform::Performer;
use crate::slots::Slots;

/// How often the node looks at its clocks.
const TICK: Duration = Duration::from_millis(50);

/// Agents under one id share its tasks: a task never reaches two of them, whatever else goes wrong.
const GROUP: &str = "agent";

/// How long another agent under the same id may take to say that it is there.
const ANOTHER: Duration = Duration::from_secs(1);

/// How long a message to oneself may take before it is sent again.
const ROUND: Duration = Duration::from_secs(2);

/// Everything that is waited for.
pub struct Inbox {
    bus: Subscriptions,
    /// What the performer sends back.
    outcomes: mpsc::Receiver<Event>,
    commands: mpsc::Receiver<Command>,
    slots: Slots,
    link: watch::Receiver<Link>,
    shutdown: CancellationToken,
    stopping: bool,
}

impl Inbox {
    pub fn new(
        bus: Subscriptions,
        outcomes: mpsc::Receiver<Event>,
        commands: mpsc::Receiver<Command>,
        slots: Slots,
        link: watch::Receiver<Link>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { bus, outcomes, commands, slots, link, shutdown, stopping: false }
    }

    /// The next event, or `None` once the connection is closed. Cancel-safe: holds nothing across the wait.
    pub async fn next(&mut self, performer: &mut Performer, due: Option<Instant>) -> Option<Event> {
        let tick = Instant::now() + TICK;
        let tick = due.map_or(tick, |due| due.min(tick));
        tokio::select! {
            biased;
            changed = self.link.changed() => {
                changed.ok()?;
                let link = *self.link.borrow_and_update();
                (!link.closed).then_some(Event::Link(link))
            }
            () = self.shutdown.cancelled(), if !self.stopping => {
                self.stopping = true;
                Some(Event::Stop)
            }
            // Before all that can be a flood.
            () = tokio::time::sleep_until(tick.into()) => Some(Event::Tick),
            () = self.slots.freed() => Some(Event::Freed),
            Some(report) = performer.ended() => Some(Event::Ended(Box::new(report))),
            Some(event) = self.outcomes.recv() => Some(event),
            Some(command) = self.commands.recv() => Some(match command {
                Command::Drain => Event::Drain,
                Command::Resume => Event::Resume,
            }),
            heard = self.bus.next() => heard,
        }
    }

    /// Cancels and tasks that are here already, without waiting and without leaving one behind.
    pub async fn waiting(&mut self) -> Vec<Event> {
        tokio::task::unconstrained(async { self.bus.waiting() }).await
    }
}

/// What an agent hears on the bus.
pub struct Subscriptions {
    cancels: Subscription<Cancel>,
    pings: Subscription<Empty>,
    beats: Subscription<Namesake>,
    orders: Subscription<Order>,
    tasks: Subscription<Task>,
}

/// Ends the start if another agent answers under this id.
pub async fn refuse_a_duplicate(bus: &Bus, node: &NodeId) -> Result<(), Error> {
    let mut link = bus.link();
    loop {
        if link.wait_for(|link| link.up || link.closed).await.is_err() || bus.link().borrow().closed {
            return Err(Error::Closed);
        }
        match bus.call(&subject::ping(&Peer::agent(node)), &Empty {}, ANOTHER).await {
            Ok(pong) if pong.boot != *bus.boot() => {
                let message = format!(
                    "another agent runs under the node id {node} already; stop it, or give this one another id with \
                     --node"
                );
                return Err(Error::DuplicateNode(message));
            }
            Err(CallError::Unsent(_)) => {}
            Err(error @ CallError::Unanswered(_)) => {
                debug!(%error, "somebody listens under this node id and says nothing");
                return Ok(());
            }
            _ => return Ok(()),
        }
    }
}

impl Subscriptions {
    /// Listens; in force when this comes back.
    pub async fn begin(bus: &Bus, node: &NodeId) -> Result<Self, Error> {
        let subscriptions = Self {
            beats: bus.subscribe(&subject::namesakes(node)).await?,
            cancels: bus.subscribe(&subject::cancels_at(node)).await?,
            pings: bus.subscribe(&subject::pings(&Peer::agent(node))).await?,
            orders: bus.subscribe(&subject::orders(node)).await?,
            tasks: bus.subscribe_in(&subject::dispatched(node), GROUP).await?,
        };
        let mut link = bus.link();
        loop {
            if link.wait_for(|link| link.up || link.closed).await.is_err() || bus.link().borrow().closed {
                return Err(Error::Closed);
            }
            match bus.round_trip(ROUND).await {
                Ok(()) => return Ok(subscriptions),
                Err(error) => debug!(%error, "not listening yet"),
            }
        }
    }

    /// The next message; `None` once the connection is closed. A cancel goes before the task that it may be meant for.
    /// Cancel-safe.
    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            biased;
            cancel = self.cancels.next_readable() => cancel.map(Event::Cancel),
            beat = self.beats.next_readable() => beat.map(Event::Beat),
            ping = self.pings.next() => ping.map(|ping| Event::Ping(ping.reply)),
            order = self.orders.next() => order.map(|order| {
                Event::Ordered { wish: order.message.ok().map(|order| order.wish), reply: order.reply }
            }),
            received = self.tasks.next() => received.map(task),
        }
    }

    /// Cancels and tasks that are here already.
    fn waiting(&mut self) -> Vec<Event> {
        let mut waiting = Vec::new();
        while let Some(cancel) = self.cancels.ready() {
            match cancel.message {
                Ok(cancel) => waiting.push(Event::Cancel(cancel)),
                Err(error) => passed_over("cancel", &error),
            }
        }
        while let Some(received) = self.tasks.ready() {
            waiting.push(task(received));
        }
        waiting
    }
}

fn task(received: Received<Task>) -> Event {
    let message = received.message.map(Box::new).map_err(|error| format!("the task cannot be read: {error}"));
    Event::Task { message, reply: received.reply }
}
