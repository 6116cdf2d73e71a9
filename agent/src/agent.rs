//! The agent at work: what comes from the bus goes to the node, and what the node decides is done.

use std::sync::Arc;
use std::time::Duration;

use echo_bus::clock::Now;
use echo_bus::{Bus, Outbox};
use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::attempt::{Context, Server};
use crate::config::Config;
use crate::engine::liveness::Signs;
use crate::engine::{self, Down, Engine, Probe};
use crate::error::Error;
use crate::facts::Facts;
use crate::inbox::{self, Inbox, Subscriptions};
use crate::node::{Event, Identity, Leave, Node};
use crate::owner::Owner;
use crate::perform::Performer;
use crate::slots::Slots;
use crate::usage::{self, EnginePlace};
use crate::{http, machine, metrics};

/// How often memory and disk are read.
const SPACE: Duration = Duration::from_secs(5);

/// How long the first question to the engine may keep the agent from being ready.
const FIRST_PROBE: Duration = Duration::from_secs(5);

/// Events that wait for the node; it takes them faster than they come.
const EVENTS: usize = 4096;

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
    let server = server(&config);
    let engine = engine::connect(&config.engine)?;
    let identity = identity(&config, &bus, &listener)?;
    let (commands, wanted) = mpsc::channel(16);
    let port = CancellationToken::new();
    let _closes = port.clone().drop_guard();
    tokio::spawn(http::serve(listener, metrics::install(), commands, bus.clone(), port));
    let ready = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        ready = prepare(&identity, &bus, &engine) => ready?,
    };
    let (subscriptions, probe) = ready;
    let _inspection = bus.inspectable("an agent of the mesh: runs tasks on one engine").await;
    let (events, outcomes) = mpsc::channel(EVENTS);
    let engine_slots = identity.slots.unwrap_or(1);
    let slots = Slots::new(config.owner.offered_slots(engine_slots));
    let node_id = identity.node.clone();
    let link = *bus.link().borrow();
    let facts = Arc::new(Facts::new(engine_slots, Now::read().at));
    let owner = Owner::new(config.owner.clone(), TimeZone::system(), Now::read().unix_ms);
    let mut node = Node::new(identity, owner, slots.clone(), facts.clone(), link, Now::read());
    let context = Arc::new(Context {
        outbox: Outbox::new(bus.clone()),
        bus: bus.clone(),
        engine,
        signs: Signs::default(),
        company: Arc::default(),
        facts,
        node: node_id,
        server,
    });
    let mut performer = Performer::new(context, events.clone());
    let _usage = config.owner.watch().then(|| {
        let limits = config.owner.busy.map(|(limits, _)| limits);
        usage::watch(limits, EnginePlace::of(&config.engine.url), events.clone())
    });
    let _space = watch_space(events).await;
    let mut inbox = Inbox::new(subscriptions, outcomes, wanted, slots, bus.link(), shutdown);
    let leave = async {
        perform_all(&mut performer, node.apply(Event::Probed(probe), Now::read()))?;
        info!(node = %bus.me().id, boot = %bus.boot(), "ready");
        loop {
            let event = inbox.next(&mut performer, node.due()).await.ok_or(Ended::Closed)?;
            if let Event::CameBack(_, true) = &event {
                // What waits here already came before the round trip: it is judged as such.
                for early in inbox.waiting().await {
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
        site: config.site.clone(),
        calibrate: config.calibrate,
        agent_host: host,
        agent_port: address.port(),
    })
}

fn server(config: &Config) -> Server {
    let url = &config.engine.url;
    Server {
        kind: config.engine.kind.as_str(),
        host: url.host_str().unwrap_or_default().to_owned(),
        port: url.port_or_known_default().unwrap_or_default(),
    }
}

/// What has to be done before the agent logs `ready`: make sure that no other agent has the id, subscribe, and ask the engine
/// what it serves.
async fn prepare(
    identity: &Identity,
    bus: &Bus,
    engine: &Arc<dyn Engine>,
) -> Result<(Subscriptions, Result<Probe, Down>), Error> {
    inbox::refuse_a_duplicate(bus, &identity.node).await?;
    let subscriptions = Subscriptions::begin(bus, &identity.node).await?;
    let probe = match tokio::time::timeout(FIRST_PROBE, engine.probe()).await {
        Ok(probe) => probe,
        Err(_) => Err(Down { reason: "the engine does not answer".to_owned(), slow: false }),
    };
    Ok((subscriptions, probe))
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
