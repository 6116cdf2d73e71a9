//! The edge as a program: the HTTP API of the mesh.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use echo_bus::Bus;
use echo_bus::client::Options;
use echo_bus::id::Role;
use echo_bus::process::{self, BadConfig};
use tokio::net::{TcpListener, TcpSocket};
use tracing::warn;

use crate::Config;

/// Connections that wait with the system until they are taken; it may allow fewer.
const WAITING: u32 = 4096;

/// Runs an edge until it is told to stop.
pub fn execute(config: Config) -> ExitCode {
    process::logs(config.log.log_format, "info,async_nats=warn");
    process::raise_open_files();
    process::ended(match config.threads.runtime() {
        Ok(runtime) => runtime.block_on(start(config)),
        Err(error) => Err(error).context("cannot start the runtime"),
    })
}

async fn start(config: Config) -> anyhow::Result<()> {
    let shutdown = process::shutdown();
    let metrics = crate::measure::install();
    let keys = config.read_keys()?;
    if keys.is_none() && !config.listen.ip().is_loopback() {
        warn!(listen = %config.listen, "everybody who reaches this address may use the mesh and manage it (--open-lan)");
    }
    let mut listener = listen(config.listen).map_err(|error| {
        let listen = config.listen;
        BadConfig(format!(
            "cannot listen on {listen}: {error}; free the port or choose another with --listen"
        ))
    })?;
    let tls = config.tls().map_err(BadConfig::because)?;
    let access = config.bus.access.read().map_err(BadConfig::because)?;
    let (me, keyed) = (access.process(), access.key().is_some());
    let telemetry = echo_telemetry::start(&config.telemetry, "echo-edge", me.as_str())?;
    let options = Options { url: config.bus.nats.clone(), role: Role::Edge, id: me, access };
    let connects = shutdown.run_until_cancelled(Bus::connect(options));
    let connected = crate::starting(&mut listener, tls.clone(), connects).await;
    let bus = match connected {
        None => return Ok(()),
        Some(Err(error)) if error.is_configuration() => return Err(BadConfig::because(error).into()),
        Some(connected) => connected.context("cannot reach the bus")?,
    };
    if keyed && bus.has_twin().await {
        let message =
            "another edge runs with this key; make a key of its own for this one with `echo-mesh key FILE`";
        return Err(BadConfig(message.to_owned()).into());
    }
    let ended = crate::run(config, listener, tls, bus, metrics, keys, shutdown).await;
    telemetry.finish().await;
    ended.context("the edge has failed")
}

/// As `TcpListener::bind`, with room for a crowd that comes at once: who finds none may be cut off by the system.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}
