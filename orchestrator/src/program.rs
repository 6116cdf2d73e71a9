//! The orchestrator as a program: logs, configuration, bus, and the loop of the library.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use echo_bus::Bus;
use echo_bus::client::Options;
use echo_bus::id::Role;
use echo_bus::process::{self, BadConfig};
use tokio::net::TcpListener;
use tracing::info;

use crate::Config;

/// Runs an orchestrator until it is told to stop.
pub fn execute(config: Config) -> ExitCode {
    process::logs(config.logs.log_format, "info,async_nats=warn");
    process::ended(serve(config))
}

// One thread: what is decided is decided in one place, and waking another costs more than the rest.
#[tokio::main(flavor = "current_thread")]
async fn serve(config: Config) -> anyhow::Result<()> {
    process::raise_open_files();
    let shutdown = process::shutdown();
    if let Some(address) = config.listen {
        crate::metrics::serve(listen(address).await?, shutdown.clone());
    }
    let access = config.bus.access.read().map_err(BadConfig::because)?;
    let (me, keyed) = (access.process(), access.key().is_some());
    let telemetry = echo_telemetry::start(&config.telemetry, "echo-orchestrator", me.as_str())?;
    let options = Options { url: config.bus.nats, role: Role::Orchestrator, id: me, access };
    let Some(bus) = shutdown.run_until_cancelled(Bus::connect(options)).await else { return Ok(()) };
    let bus = bus.map_err(|error| match error {
        error if error.is_configuration() => BadConfig::because(error).into(),
        other => anyhow::Error::new(other).context("cannot get onto the bus"),
    })?;
    if keyed && bus.has_twin().await {
        let message = "another orchestrator runs with this key; make a key of its own for this one with `echo-mesh key FILE`";
        return Err(BadConfig(message.to_owned()).into());
    }
    let ended = crate::run(config.limits, bus, shutdown).await;
    telemetry.finish().await;
    ended.context("the orchestrator ended unasked")
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        BadConfig(format!("cannot listen on {address} ({error}): free it, or choose another with --listen"))
    })?;
    info!(address = %listener.local_addr()?, "listening");
    Ok(listener)
}
