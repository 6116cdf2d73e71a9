//! Keeps nats-server up: checks, starts, waits until it is ready, starts it again, gives up aloud.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::child::Running;
use super::error::Error;
use super::options::Options;
use super::ports::{Ports, exposed, nearest, port_of, ports_of};
use super::{exec, login, occupant};
use echo_bus::secret::Secret;

/// A server is ready in 30 ms; on a machine that is busy beyond measure it takes a while.
const READY_PATIENCE: Duration = Duration::from_secs(20);

/// Enough for a crash now and then, few enough to end a server that cannot live.
const MOST_CRASHES: usize = 10;
const CRASHES_WITHIN: Duration = Duration::from_secs(60);

/// Everybody waits for the bus: the first new start comes almost at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A server that is up, and what keeps it so.
pub(super) struct Started {
    pub(super) url: String,
    pub(super) monitor: Option<String>,
    pub(super) exposed: bool,
    pub(super) pid: watch::Receiver<Option<u32>>,
    pub(super) supervision: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
}

/// How to start the server; after the first start with the ports that it got.
struct Plan {
    options: Options,
    config: PathBuf,
    host: Option<String>,
    port: Option<u16>,
    monitor: Option<u16>,
    /// Of this process alone, and gone with it: the server's ports file, and the configuration if it is the compiled one.
    folder: TempDir,
}

/// The configuration of those who name none.
const BUILT_IN: &str = include_str!("../../../nats.conf");

pub(super) async fn start(options: Options, stop: CancellationToken) -> Result<Started, Error> {
    let mut plan = Plan::new(options)?;
    plan.check().await?;
    let (running, ports) = plan.launch().await?;
    let url = nearest(&ports, "nats").unwrap_or_default();
    let monitor = nearest(&ports, "monitoring");
    if let Err(error) = plan.guard(&ports, &url, &running).await {
        running.stop().await;
        return Err(error);
    }
    plan.port = port_of(&url).or(plan.port);
    plan.monitor = monitor.as_deref().and_then(port_of).or(plan.monitor);
    let (state, pid) = watch::channel(Some(running.pid()));
    let supervision = Box::pin(supervise(plan, running, state, stop));
    Ok(Started { url, monitor, exposed: exposed(&ports).is_some(), pid, supervision })
}

async fn supervise(
    plan: Plan,
    mut running: Running,
    pid: watch::Sender<Option<u32>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut crashes = Crashes::default();
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => {
                pid.send_replace(None);
                running.stop().await;
                return Ok(());
            }
            ended = running.ended() => ended,
        };
        pid.send_replace(None);
        // Nobody asked it to: it is a failure whatever the exit code says.
        let mut last = describe(ended, &running);
        running = loop {
            let Some(pause) = crashes.count(Instant::now()) else {
                return Err(Error::GaveUp { crashes: MOST_CRASHES, within: CRASHES_WITHIN, last });
            };
            error!(%last, ?pause, "nats-server ended unasked; starting it again");
            let launched = stop.run_until_cancelled(async {
                tokio::time::sleep(pause).await;
                plan.launch().await
            });
            match launched.await {
                None => return Ok(()),
                Some(Ok((running, _))) => break running,
                Some(Err(error)) => last = chain(&error),
            }
        };
        info!(pid = running.pid(), "nats-server is back");
        pid.send_replace(Some(running.pid()));
    }
}

/// How many threads of Go run at once. To pass a token on takes microseconds, and between threads a third more; a mesh
/// that is larger than one core sets it, or has a cluster.
const THREADS: &str = "GOMAXPROCS";

impl Plan {
    fn new(options: Options) -> Result<Self, Error> {
        let listen = options.listen.as_ref();
        if let Some(listen) = listen.filter(|listen| !listen.is_loopback())
            && options.secret.is_none()
            && !options.insecure_lan
        {
            return Err(Error::Exposed(listen.to_string()));
        }
        if let Some(missing) = options.config.as_ref().filter(|config| !config.is_file()) {
            return Err(Error::NoConfig(missing.clone()));
        }
        let (host, port) = (listen.map(|listen| listen.host.clone()), listen.map(|listen| listen.port));
        let monitor = options.monitor.map(|monitor| monitor.port);
        let folder = tempfile::Builder::new().prefix("echo-broker-").tempdir().map_err(Error::Folder)?;
        let config = match &options.config {
            Some(config) => config.clone(),
            None => built_in(&folder).map_err(Error::Folder)?,
        };
        Ok(Self { options, config, host, port, monitor, folder })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.options.binary);
        command.arg("-c").arg(&self.config).arg("--ports_file_dir").arg(self.folder.path());
        if let Some(host) = &self.host {
            command.args(["-a", host]);
        }
        if let Some(port) = self.port {
            command.args(["-p", &port_argument(port)]);
        }
        if let Some(port) = self.monitor {
            command.args(["-m", &port_argument(port)]);
        }
        let (secret, anyone) = variables(self.options.secret.as_ref());
        command.env("ECHO_SECRET", secret).env("ECHO_ANYONE", anyone);
        if std::env::var_os(THREADS).is_none() {
            command.env(THREADS, "1");
        }
        command
    }

    /// Has the server itself read the configuration, before anything is started.
    async fn check(&self) -> Result<(), Error> {
        let mut command = self.command();
        command
            .arg("-t")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let run = |source| Error::Run { binary: self.options.binary.clone(), source };
        let child = exec::spawn(&mut command).await.map_err(run)?;
        let answer = tokio::time::timeout(READY_PATIENCE, child.wait_with_output()).await;
        let output = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(run)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("nats-server: ").to_owned();
        Err(Error::Config { config: self.config.clone(), said })
    }

    /// Starts the server and waits until a message goes through it.
    async fn launch(&self) -> Result<(Running, Ports), Error> {
        let run = |source| Error::Run { binary: self.options.binary.clone(), source };
        let mut running = Running::start(self.command()).await.map_err(run)?;
        let pid = running.pid();
        let ready = async {
            let ports = ports_of(self.folder.path(), pid).await;
            let url = nearest(&ports, "nats").unwrap_or_default();
            login::round_trip(&url, self.options.secret.as_ref()).await.map(|()| ports)
        };
        let ready = tokio::select! {
            // One that has ended says why; the failed login is only what follows from it.
            biased;
            ended = running.ended() => {
                let status = ended.map_err(run)?;
                return Err(died(status, running.words().last()).await);
            }
            ready = tokio::time::timeout(READY_PATIENCE, ready) => ready,
        };
        match ready {
            Ok(Ok(ports)) => Ok((running, ports)),
            Ok(Err(error)) => {
                running.stop().await;
                Err(Error::Login(error))
            }
            Err(_) => {
                let last_words = running.words().last();
                running.stop().await;
                Err(Error::NotReady { within: READY_PATIENCE, last_words })
            }
        }
    }

    /// Nobody gets in from elsewhere without the secret, whatever the configuration says.
    async fn guard(&self, ports: &Ports, url: &str, running: &Running) -> Result<(), Error> {
        if let Some(exposed) = exposed(ports) {
            if self.options.secret.is_none() && !self.options.insecure_lan {
                return Err(Error::Exposed(exposed));
            }
            if self.options.secret.is_none() {
                warn!(address = exposed, "everybody who can reach this address is let in");
            }
        }
        if self.options.secret.is_none() {
            return Ok(());
        }
        running.words().knocking.store(true, Ordering::Relaxed);
        let stranger = login::stranger_inside(url).await.map_err(Error::Login)?;
        match stranger {
            Some(stranger) => Err(Error::LetsIn { config: self.config.clone(), stranger }),
            None => Ok(()),
        }
    }
}

/// nats-server reads files only.
fn built_in(folder: &TempDir) -> io::Result<PathBuf> {
    let path = folder.path().join("nats.conf");
    std::fs::write(&path, BUILT_IN)?;
    Ok(path)
}

/// What the variables of nats.conf stand for. They are read as configuration: quoted, so that a secret of digits is no
/// number. Without a secret, whoever comes may look; with one, nobody may anything.
fn variables(secret: Option<&Secret>) -> (OsString, &'static str) {
    match secret {
        Some(secret) => (format!("\"{}\"", secret.expose()).into(), "\"\""),
        None => ("\"\"".into(), "watch"),
    }
}

/// nats-server takes 0 for its default, and -1 for a port of the kernel's choice.
fn port_argument(port: u16) -> String {
    if port == 0 { "-1".to_owned() } else { port.to_string() }
}

/// A server that ended before it was ready: mostly because of a port that is taken.
async fn died(status: std::process::ExitStatus, last_words: String) -> Error {
    if let Some((address, monitor)) = taken(&last_words)
        && let Some(by) = occupant::who(&address).await
    {
        return Error::Taken { address, by, monitor };
    }
    Error::EndedEarly { status, last_words }
}

/// The address that the server could not have, and whether it was the monitor's.
fn taken(last_words: &str) -> Option<(String, bool)> {
    let line = last_words.lines().find(|line| line.contains("address already in use"))?;
    let (before, after) = line.split_once("listen tcp ")?;
    let (address, _) = after.split_once(": bind")?;
    Some((address.to_owned(), before.contains("monitor")))
}

fn describe(ended: io::Result<std::process::ExitStatus>, running: &Running) -> String {
    let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
    let words = running.words().last();
    format!("{how}; its last words:\n{words}")
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

/// The crashes of the last while.
#[derive(Default)]
struct Crashes(VecDeque<Instant>);

impl Crashes {
    /// Counts one, and says how long to pause before the next start; none when it is enough.
    fn count(&mut self, now: Instant) -> Option<Duration> {
        self.0.retain(|crash| now.duration_since(*crash) < CRASHES_WITHIN);
        self.0.push_back(now);
        let earlier = u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(1 << earlier.min(10)).min(LONGEST_PAUSE);
        (self.0.len() < MOST_CRASHES).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_pause_longer_and_longer_and_end_it_when_they_are_too_many() {
        let (mut crashes, start) = (Crashes::default(), Instant::now());
        let pauses: Vec<_> = (0..MOST_CRASHES).map(|_| crashes.count(start)).collect();
        assert_eq!(pauses[0], Some(FIRST_PAUSE));
        assert!(pauses.windows(2).all(|pair| pair[1].is_none() || pair[0] <= pair[1]), "{pauses:?}");
        assert_eq!(pauses.iter().position(Option::is_none), Some(MOST_CRASHES - 1));
    }

    #[test]
    fn crashes_of_long_ago_are_forgotten() {
        let (mut crashes, start) = (Crashes::default(), Instant::now());
        for minute in 0..100 {
            assert_eq!(crashes.count(start + CRASHES_WITHIN * minute), Some(FIRST_PAUSE));
        }
    }

    #[test]
    fn the_taken_port_is_read_from_the_servers_own_words() {
        let client = "[1] [INF] x\n[1] [FTL] Error listening on port: 127.0.0.1:4222, \
                      \"listen tcp 127.0.0.1:4222: bind: address already in use\"";
        assert_eq!(taken(client), Some(("127.0.0.1:4222".into(), false)));
        let monitor = "[1] [FTL] Can't start monitoring: can't listen to the monitor port: \
                       listen tcp 127.0.0.1:8222: bind: address already in use";
        assert_eq!(taken(monitor), Some(("127.0.0.1:8222".into(), true)));
        assert_eq!(taken("[1] [FTL] something else"), None);
    }
}
