//! The broker as a program: the bus of the mesh, which is a nats-server that is found or fetched, and supervised.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use echo_bus::discover::Announcement;
use echo_bus::process::{self, BadConfig, LogArgs};
use echo_bus::threads::Threads;
use serde::Serialize;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::machines::Machines;
use crate::server::{self, Listen, Monitor, Options, Renewal, Server};
use crate::trust::Trust;

/// The bus of the mesh: finds or fetches nats-server, checks its configuration, starts it, and keeps it up.
///
/// Without any flag it serves programs on this machine at 127.0.0.1:4222. SIGTERM or Ctrl-C stops it.
#[derive(Debug, Parser)]
#[command(name = "broker", subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Action>,

    /// The configuration of nats-server [default: the one that is compiled in, the nats.conf of this project]
    #[arg(long = "nats-conf", env = "ECHO_NATS_CONF", value_name = "FILE")]
    nats_conf: Option<PathBuf>,

    /// Where clients connect, instead of where the configuration says; port 0 lets the system choose
    #[arg(long, env = "ECHO_NATS_LISTEN", value_name = "HOST:PORT")]
    listen: Option<Listen>,

    /// The port of the server's own pages, instead of the configuration's; 0 lets the system choose
    #[arg(long, env = "ECHO_NATS_MONITOR", value_name = "[HOST:]PORT")]
    monitor: Option<Monitor>,

    /// Only let in whose keys are listed in this folder, over TLS; made on first use. Needed beyond this machine
    #[arg(long, env = "ECHO_TRUST", value_name = "DIR")]
    trust: Option<PathBuf>,

    /// Let everybody in from everywhere, and read along: without keys and TLS
    #[arg(long, conflicts_with = "trust")]
    insecure_lan: bool,

    /// Threads of nats-server that work at once, where GOMAXPROCS does not say: a number, or `auto` for one of four cores
    #[arg(long, env = "ECHO_BROKER_THREADS", default_value = "auto", value_name = "N")]
    threads: Threads,

    /// Write addresses and process ids to this file, as JSON, once the bus is ready
    #[arg(long, env = "ECHO_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,

    #[command(flatten)]
    find: FindArgs,

    #[command(flatten)]
    logs: LogArgs,
}

#[derive(Debug, clap::Args)]
struct FindArgs {
    /// This nats-server and no other; else one on PATH (2.10 or later), else the cached one, else one is fetched
    #[arg(long, env = "ECHO_NATS_SERVER", value_name = "PATH", global = true)]
    nats_server: Option<PathBuf>,

    /// Where a fetched nats-server is kept, for all meshes of this user [default: ~/.cache/echo-system]
    #[arg(long, env = "ECHO_CACHE_DIR", value_name = "DIR", global = true)]
    cache_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Only make sure that there is a nats-server, and print where
    Fetch,
}

/// Runs the broker until it is told to stop.
pub fn execute(cli: Args) -> ExitCode {
    // What becomes of the server is told by its supervisor, so the link of the broker's own part has no news but denials.
    process::logs(cli.logs.log_format, "info,async_nats=off,echo_bus::client::link=error");
    process::raise_open_files();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return process::ended(Err(error.into())),
    };
    let result = runtime.block_on(run(cli));
    // Not waiting for a thread that waits for another process to fetch nats-server.
    runtime.shutdown_background();
    process::ended(result)
}

async fn run(cli: Args) -> Result<()> {
    let shutdown = process::shutdown();
    let finding = shutdown.run_until_cancelled(cli.find.find());
    let Some(binary) = finding.await.transpose()? else {
        return Ok(());
    };
    if let Some(Action::Fetch) = cli.command {
        println!("{}", binary.display());
        return Ok(());
    }
    let Args { trust, nats_conf, listen, monitor, insecure_lan, ready_file, threads, .. } = cli;
    let trust = trust.as_deref().map(Trust::open).transpose().map_err(BadConfig::because)?;
    let trusted = trust.clone();
    let options = Options {
        binary,
        config: nats_conf,
        listen,
        monitor,
        trust: trusted,
        insecure_lan,
        threads,
        renewal: Renewal::default(),
    };
    let starting = shutdown.run_until_cancelled(Server::start(options, shutdown.clone()));
    let Some(server) = starting.await.transpose().map_err(blamed)? else {
        return Ok(());
    };
    let machines = match &trust {
        Some(trust) => {
            let starting = Machines::start(server.url(), trust.clone(), server.reloader());
            let Some(machines) = shutdown.run_until_cancelled(starting).await.transpose()? else {
                return Ok(());
            };
            Some(machines)
        }
        None => None,
    };
    info!(url = server.url(), monitor = server.monitor(), pid = server.pid(), "the bus is ready");
    let announcement = server.exposed_port().and_then(|port| announce(port, trust.is_some()));
    let ended = serve(server, trust.as_ref(), ready_file).await;
    drop(machines);
    if let Some(announcement) = announcement {
        announcement.withdraw().await;
    }
    ended
}

/// Without mDNS the bus serves all the same, and has to be named.
fn announce(port: u16, needs_key: bool) -> Option<Announcement> {
    Announcement::new(port, needs_key)
        .inspect_err(|error| warn!(error = error as &dyn std::error::Error, "not announced on this network"))
        .ok()
}

async fn serve(server: Server, trust: Option<&Trust>, ready_file: Option<PathBuf>) -> Result<()> {
    let Some(path) = ready_file else {
        return Ok(server.wait().await?);
    };
    let telling = tokio::spawn(keep_told(path.clone(), Ready::of(&server, trust), server.pids()));
    let ended = server.wait().await;
    telling.abort();
    let _ = std::fs::remove_file(&path);
    Ok(ended?)
}

impl FindArgs {
    async fn find(&self) -> Result<PathBuf> {
        let cache = self.cache_dir.clone().or_else(server::default_cache).ok_or_else(|| {
            BadConfig("there is no HOME to keep nats-server in; name a directory with --cache-dir".to_owned())
        })?;
        match server::find(self.nats_server.clone(), cache).await {
            Err(error @ server::find::Error::Given { .. }) => Err(BadConfig::because(error).into()),
            other => Ok(other?),
        }
    }
}

fn blamed(error: server::Error) -> anyhow::Error {
    if error.is_configuration() { BadConfig::because(error).into() } else { error.into() }
}

/// What the ready file says.
#[derive(Debug, Serialize)]
struct Ready {
    nats: String,
    monitor: Option<String>,
    pid: u32,
    server_pid: Option<u32>,
    /// Whether connections are encrypted, and by whose certificate the server is known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<PathBuf>,
}

impl Ready {
    fn of(server: &Server, trust: Option<&Trust>) -> Self {
        let (nats, monitor) = (server.url().to_owned(), server.monitor().map(str::to_owned));
        let (tls, authority) = (trust.is_some(), trust.map(Trust::authority));
        Self { nats, monitor, pid: std::process::id(), server_pid: server.pid(), tls, authority }
    }

    /// Whole or not at all: whoever waits for the file may read it as soon as it is there.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, self)?;
        file.persist(path)?;
        Ok(())
    }
}

/// Writes the file now, and again each time that the server is ready once more.
async fn keep_told(path: PathBuf, mut ready: Ready, mut pids: watch::Receiver<Option<u32>>) {
    loop {
        if ready.server_pid.is_some()
            && let Err(error) = ready.write(&path)
        {
            error!(path = %path.display(), error = &error as &dyn std::error::Error, "cannot write the ready file");
        }
        if pids.changed().await.is_err() {
            return;
        }
        ready.server_pid = *pids.borrow_and_update();
    }
}
