//! The agent as a program: flags, logs, the bus, and then the agent until it is told to stop.

use std::process::ExitCode;

use anyhow::Context;
use echo_bus::Bus;
use echo_bus::client::Options;
use echo_bus::id::Role;
use echo_bus::process::{self, BadConfig};
use tokio::net::TcpListener;
use tracing::info;

use crate::{Args, Config, Error};

/// Runs an agent until it is told to stop.
pub fn execute(args: Args) -> ExitCode {
    process::logs(args.log.log_format, "info,async_nats=warn");
    process::ended(match args.threads.runtime() {
        Ok(runtime) => runtime.block_on(start(args)),
        Err(error) => Err(error).context("cannot start the runtime"),
    })
}

async fn start(args: Args) -> anyhow::Result<()> {
    let shutdown = process::shutdown();
    process::raise_open_files();
    let config = args.check()?;
    let listener = listen(&config).await?;
    info!(address = %listener.local_addr()?, "listening");
    let telemetry = echo_telemetry::start(&args.telemetry, "echo-agent", config.node.as_str())?;
    let options = Options {
        url: args.bus.nats.clone(),
        role: Role::Agent,
        id: (&config.node).into(),
        access: args.bus.access.read().map_err(BadConfig::because)?,
    };
    let bus = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        bus = Bus::connect(options) => bus.map_err(BadConfig::because)?,
    };
    let ended = crate::run(config, listener, bus, shutdown).await;
    telemetry.finish().await;
    match ended {
        Err(error @ (Error::DuplicateNode(_) | Error::Engine(_))) => Err(BadConfig::because(error).into()),
        result => Ok(result?),
    }
}

async fn listen(config: &Config) -> Result<TcpListener, BadConfig> {
    TcpListener::bind(config.listen).await.map_err(|error| {
        let address = config.listen;
        BadConfig(format!("cannot listen on {address} ({error}): free it, or choose another with --listen"))
    })
}
