//! The agent at work: what comes from the bus goes to the node, and what the node decides is done.

mod listening;
mod perform;

use std::sync::Arc;
use std::time::Duration;

use echo_bus::Bus;
use echo_bus::client::SubscribeError;
use echo_bus::clock::Now;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::attempt::Context;
use crate::config::Config;
use crate::engine::signs::Signs;
use crate::engine::{self, BuildError, Down, Engine, Probe};
use crate::facts::Facts;
use crate::node::{Event, Identity, Leave, Node};
use crate::slots::Slots;
use crate::{http, machine, metrics};
use listening::Listening;
use perform::Performer;

/// How often the node looks at its clocks.
const TICK: Duration = Duration::from_millis(50);

/// How often memory and disk are read.
const SPACE: Duration = Duration::from_secs(5);

/// How long the first question to the engine may keep the agent from being ready.
const FIRST_PROBE: Duration = Duration::from_secs(5);

/// Events that wait for the node; it takes them faster than they come.
const EVENTS: usize = 4096;

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another agent has the same node id.
    #[error("{0}")]
    DuplicateNode(String),
    /// The engine's address or key is unusable.
    #[error("cannot use the engine")]
    Engine(#[from] BuildError),
    /// The connection is closed for good.
    #[error("cannot listen on the bus")]
    Subscribe(#[from] SubscribeError),
    /// The bus has ended by itself.
    #[error("the connection to the bus was closed")]
    Closed,
    /// The listener is broken.
    #[error("cannot tell the address of the agent's own port")]
    Listener(#[source] std::io::Error),
}

/// Runs an agent until `shutdown` is cancelled and its tasks are done or handed over.
///
/// # Errors
/// See [`Error`]; [`Error::DuplicateNode`] and [`Error::Engine`] are for the operator to mend.
pub async fn run(
    config: Config,
    listener: TcpListener,
    bus: Bus,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let engine = engine::connect(&config.engine)?;
    let identity = identity(&config, &bus, &listener)?;
    let (commands, mut wanted) = mpsc::channel(16);
    let port = CancellationToken::new();
    let _closes = port.clone().drop_guard();
    tokio::spawn(http::serve(listener, metrics::install(), commands, port));
    let ready = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        ready = prepare(&identity, &bus, &engine) => ready?,
    };
    let (listening, probe) = ready;
    let _inspection = bus.inspectable("an agent of the mesh: runs tasks on one engine").await;
    let (events, mut inbox) = mpsc::channel(EVENTS);
    let slots = Slots::new(identity.slots.unwrap_or(1));
    let node_id = identity.node.clone();
    let link = *bus.link().borrow();
    let facts = Arc::new(Facts::new(slots.limit(), Now::read().at));
    let mut node = Node::new(identity, slots.clone(), facts.clone(), link, Now::read());
    let context = Arc::new(Context {
        bus: bus.clone(),
        engine,
        signs: Signs::default(),
        company: Arc::default(),
        facts,
        node: node_id,
    });
    let mut performer = Performer::new(context, events.clone());
    let _space = watch_space(events).await;
    let mut sources = Sources { listening, slots, shutdown, stopping: false, link: bus.link() };
    let leave = async {
        perform_all(&mut performer, node.apply(Event::Probed(probe), Now::read()))?;
        info!(node = %bus.me().id, boot = %bus.boot(), "ready");
        loop {
            let event = sources.next(&mut inbox, &mut wanted, &mut performer, node.due()).await?;
            if let Event::CameBack(_, true) = &event {
                // What waits here already came before the round trip: it is judged as such.
                for early in sources.waiting().await {
                    perform_all(&mut performer, node.apply(early, Now::read()))?;
                }
            }
            perform_all(&mut performer, node.apply(event, Now::read()))?;
        }
    };
    let ended: Result<std::convert::Infallible, Ended> = leave.await;
    let Err(ended) = ended;
    performer.finish().await;
    bus.close().await;
    match ended {
        Ended::Leave(Leave::Drained) => {
            info!("stopped");
            Ok(())
        }
        Ended::Leave(Leave::DuplicateNode(message)) => Err(Error::DuplicateNode(message)),
        Ended::Closed => Err(Error::Closed),
    }
}

/// Why the loop is over.
enum Ended {
    Leave(Leave),
    Closed,
}

fn perform_all(performer: &mut Performer, actions: Vec<crate::node::Action>) -> Result<(), Ended> {
    for action in actions {
        if let Some(leave) = performer.perform(action) {
            return Err(Ended::Leave(leave));
        }
    }
    Ok(())
}

fn identity(config: &Config, bus: &Bus, listener: &TcpListener) -> Result<Identity, Error> {
    let address = listener.local_addr().map_err(Error::Listener)?;
    let host = match address.ip() {
        ip if ip.is_unspecified() => sysinfo::System::host_name().unwrap_or_else(|| ip.to_string()),
        ip => ip.to_string(),
    };
    Ok(Identity {
        node: config.node.clone(),
        boot: bus.boot().clone(),
        kind: config.engine.kind,
        slots: config.slots,
        heartbeat: config.heartbeat,
        load_timeout: config.engine.load_timeout,
        drain_timeout: config.drain_timeout,
        model_management: config.model_management,
        calibrate: config.calibrate,
        agent_host: host,
        agent_port: address.port(),
    })
}

/// All that stands before the word `ready`: nobody else has the id, the ears are open, the engine was asked.
async fn prepare(
    identity: &Identity,
    bus: &Bus,
    engine: &Arc<dyn Engine>,
) -> Result<(Listening, Result<Probe, Down>), Error> {
    listening::refuse_a_duplicate(bus, &identity.node).await?;
    let listening = Listening::begin(bus, &identity.node).await?;
    let probe = match tokio::time::timeout(FIRST_PROBE, engine.probe()).await {
        Ok(probe) => probe,
        Err(_) => Err(Down { reason: "the engine does not answer".to_owned(), slow: false }),
    };
    Ok((listening, probe))
}

/// Reads memory and disk now and then, until the returned guard is dropped.
async fn watch_space(events: mpsc::Sender<Event>) -> tokio_util::sync::DropGuard {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let read = async move {
        let mut every = tokio::time::interval(SPACE);
        loop {
            every.tick().await;
            let Ok((memory, disk)) = tokio::task::spawn_blocking(machine::space).await else {
                warn!("memory and disk cannot be read");
                return;
            };
            if events.send(Event::Space { memory, disk }).await.is_err() {
                return;
            }
        }
    };
    tokio::spawn(async move { stop.run_until_cancelled(read).await });
    guard
}

/// Where events come from.
struct Sources {
    listening: Listening,
    slots: Slots,
    shutdown: CancellationToken,
    stopping: bool,
    link: tokio::sync::watch::Receiver<echo_bus::client::Link>,
}

impl Sources {
    /// The next event. Cancel-safe: holds nothing across the wait.
    async fn next(
        &mut self,
        inbox: &mut mpsc::Receiver<Event>,
        wanted: &mut mpsc::Receiver<http::Command>,
        performer: &mut Performer,
        due: Option<std::time::Instant>,
    ) -> Result<Event, Ended> {
        let tick = std::time::Instant::now() + TICK;
        let tick = due.map_or(tick, |due| due.min(tick));
        tokio::select! {
            biased;
            changed = self.link.changed() => match changed {
                Ok(()) if !self.link.borrow().closed => Ok(Event::Link(*self.link.borrow_and_update())),
                _ => Err(Ended::Closed),
            },
            () = self.shutdown.cancelled(), if !self.stopping => {
                self.stopping = true;
                Ok(Event::Stop)
            }
            // Before all that can be a flood.
            () = tokio::time::sleep_until(tick.into()) => Ok(Event::Tick),
            () = self.slots.freed() => Ok(Event::Freed),
            Some(report) = performer.ended() => Ok(Event::Ended(Box::new(report))),
            Some(event) = inbox.recv() => Ok(event),
            Some(command) = wanted.recv() => Ok(match command {
                http::Command::Drain => Event::Drain,
                http::Command::Resume => Event::Resume,
            }),
            heard = self.listening.next() => heard.ok_or(Ended::Closed),
        }
    }

    /// Cancels and tasks that are here already, without waiting and without leaving one behind.
    async fn waiting(&mut self) -> Vec<Event> {
        tokio::task::unconstrained(async { self.listening.waiting() }).await
    }
}
