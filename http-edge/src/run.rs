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
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;
use crate::http;
use crate::owner::Owner;
use crate::pumps::Pumps;
use crate::serve::{Doors, serve};

/// Why the edge cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on the bus")]
    Subscribe(#[from] SubscribeError),
    #[error("the broker does not bring back what this edge says to itself")]
    RoundTrip(#[from] CallError),
    #[error("cannot serve HTTP")]
    Serve(#[source] io::Error),
}

/// Serves until `shutdown`, then finishes what runs, for `--drain-timeout` at most.
///
/// # Errors
/// See [`Error`].
pub async fn run(
    config: Config,
    listener: TcpListener,
    bus: Bus,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(Error::Serve)?;
    let abort = CancellationToken::new();
    let owner = Owner::new(bus.clone(), config.limits(bus.max_payload()), abort.clone());
    let pumps = Pumps::subscribe(&owner).await?;
    bus.round_trip(Duration::from_secs(5)).await?;
    let pumping = tokio::spawn(pumps.run(owner.clone()));
    let _inspection = bus.inspectable("HTTP API of the mesh").await;
    let connections = config.places(process::open_files());
    info!(%address, connections, "listening");
    info!(edge = %bus.me().id, "ready");

    let routes = http::router(&config, owner.clone(), metrics, address);
    let doors = Doors { routes, refusal: http::refusal(), connections, patience: config.patience() };
    let served = serve(doors, listener, shutdown.clone());
    let drained = async {
        shutdown.cancelled().await;
        info!(running = owner.running(), "finishing what runs");
        tokio::time::sleep(config.drain_timeout).await;
        warn!(running = owner.running(), "the time to finish is over");
        abort.cancel();
        // The aborted tasks' last words still go out.
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        () = served => {}
        () = drained => {}
    }
    leave(&owner, &bus, address).await;
    pumping.abort();
    Ok(())
}

async fn leave(owner: &Arc<Owner>, bus: &Bus, address: SocketAddr) {
    owner.tracker.close();
    let _ = tokio::time::timeout(Duration::from_secs(2), owner.tracker.wait()).await;
    bus.close().await;
    info!(%address, "stopped");
}
