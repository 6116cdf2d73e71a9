//! The edge from its first subscription to its drained end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use echo_bus::Bus;
use echo_bus::client::{CallError, SubscribeError};
use echo_bus::process;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;
use crate::edge::Event;
use crate::http;
use crate::inbox::Inbox;
use crate::keys::Keys;
use crate::serve::{Doors, Refusals, Tls, refuse_until, serve};
use crate::tasks::Tasks;
use crate::watch::Watch;

/// Answers to the edge's questions that wait to be heard; whoever brings one more waits.
const ANSWERS: usize = 1024;

/// How often a stopping edge looks whether its answers are still read elsewhere. Only a tick can end such a reading, so
/// looking as often as it ticks is no later than being told.
const LOOK: Duration = Duration::from_millis(50);

/// Why the edge cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on the bus")]
    Subscribe(#[from] SubscribeError),
    #[error("the broker does not bring back what this edge says to itself")]
    RoundTrip(#[from] CallError),
    #[error("the edge hears nothing from the bus any more")]
    Deaf,
    #[error("cannot serve HTTP")]
    Serve(#[source] io::Error),
}

/// Tells whoever asks that the edge starts, until its bus is there.
pub async fn starting<T>(
    listener: &mut TcpListener,
    tls: Option<Arc<Tls>>,
    connects: impl Future<Output = T>,
) -> T {
    refuse_until(http::starting(), tls, listener, connects).await
}

/// Serves until `shutdown`, then finishes what runs, for `--drain-timeout` at most.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    config: Config,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    bus: Bus,
    metrics: PrometheusHandle,
    keys: Option<Arc<Keys>>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(Error::Serve)?;
    let (answers, answered) = mpsc::channel(ANSWERS);
    let limits = config.limits(bus.max_payload());
    let tasks = Tasks::new(bus.clone(), limits, config.keep_memory, answers);
    let inbox = Inbox::subscribe(&tasks, answered).await?;
    bus.round_trip(Duration::from_secs(5)).await?;
    let mut listening = tokio::spawn(inbox.run(tasks.clone()));
    let _inspection = bus.inspectable("HTTP API of the mesh").await;
    let connections = config.places(process::open_files());
    let scheme = if tls.is_some() { "https" } else { "http" };
    info!(%address, url = format!("{scheme}://{address}"), connections, "listening");
    info!(edge = %bus.me().id, "ready");

    let keeping = keys.as_ref().map(|keys| tokio::spawn(keys.usage().clone().keep()));
    let watch = Watch::new(bus.clone(), shutdown.clone());
    let routes = http::router(&config, keys.clone(), tasks.clone(), watch, metrics, address);
    let per_address = usize::try_from(config.connections_per_address).unwrap_or(usize::MAX);
    let refusals = Refusals { crowded: http::crowded(), greedy: http::greedy() };
    let doors = Doors { routes, refusals, connections, per_address, patience: config.patience(), tls };
    let served = async {
        serve(doors, listener, shutdown.clone()).await;
        // Clients of other edges read here, too.
        while tasks.is_read() {
            tokio::time::sleep(LOOK).await;
        }
    };
    let drained = async {
        shutdown.cancelled().await;
        info!(running = tasks.running(), "finishing what runs");
        tokio::time::sleep(config.drain_timeout).await;
        warn!(running = tasks.running(), "the time to finish is over");
        tasks.apply(Event::Abort);
        // The aborted tasks' last words still go out.
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let ended = tokio::select! {
        () = served => Ok(()),
        () = drained => Ok(()),
        // An edge that hears nothing would keep its clients waiting for ever.
        _ = &mut listening => Err(Error::Deaf),
    };
    leave(&tasks, &bus, address).await;
    keeping.into_iter().for_each(|keeping| keeping.abort());
    keys.iter().for_each(|keys| keys.usage().write());
    listening.abort();
    ended
}

async fn leave(tasks: &Arc<Tasks>, bus: &Bus, address: SocketAddr) {
    // What is kept for nobody ends with the edge that keeps it.
    tasks.apply(Event::Abort);
    let _ = tokio::time::timeout(Duration::from_secs(2), tasks.finish()).await;
    bus.close().await;
    info!(%address, "stopped");
}
