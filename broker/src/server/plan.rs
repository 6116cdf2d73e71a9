//! How one nats-server is started, and what has to hold before it counts as ready.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tracing::warn;

use super::child::Running;
use super::error::Error;
use super::keyed::Keyed;
use super::options::Options;
use super::ports::{Ports, exposed, nearest, ports_of};
use super::{exec, login, occupant};
use echo_bus::client::Access;
use echo_bus::private_file;

/// A server is ready in 30 ms; on a machine that is busy beyond measure it takes a while.
const READY_PATIENCE: Duration = Duration::from_secs(20);

/// The server's words about our own knocking are read by then.
const ECHO: Duration = Duration::from_secs(1);

/// To read ten thousand keys takes seconds on a busy machine.
const RELOAD_PATIENCE: Duration = Duration::from_secs(30);

/// How to start the server; after the first start with the ports that it got.
pub(super) struct Plan {
    options: Options,
    config: PathBuf,
    host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) monitor: Option<u16>,
    /// Where there is trust.
    keyed: Option<Keyed>,
    /// Of this process alone, and gone with it: the server's ports file, and the configuration if it is made here.
    folder: TempDir,
}

/// The configuration of those who name none.
const BUILT_IN: &str = include_str!("../../../nats.conf");

/// How many threads of Go run at once. To pass a token on takes microseconds, and between threads a third more.
const THREADS: &str = "GOMAXPROCS";

impl Plan {
    pub(super) fn new(options: Options) -> Result<Self, Error> {
        let listen = options.listen.as_ref();
        if let Some(listen) = listen.filter(|listen| !listen.is_loopback())
            && options.trust.is_none()
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
        let mut plan = Self {
            config: folder.path().join("nats.conf"),
            options,
            host,
            port,
            monitor,
            keyed: None,
            folder,
        };
        match (&plan.options.trust, &plan.options.config) {
            (Some(trust), named) => {
                let template = named.as_ref().map_or(Ok(BUILT_IN.to_owned()), std::fs::read_to_string);
                let named = named.clone().unwrap_or_else(|| PathBuf::from("nats.conf"));
                let lasts = plan.options.renewal.lasts;
                plan.keyed =
                    Some(Keyed::new(trust.clone(), template.map_err(Error::Folder)?, &named, lasts)?);
                plan.write()?;
            }
            (None, Some(named)) => plan.config.clone_from(named),
            (None, None) => private_file::write(&plan.config, BUILT_IN).map_err(Error::Folder)?,
        }
        Ok(plan)
    }

    /// Writes the configuration for the keys that are in now.
    fn write(&self) -> Result<(), Error> {
        match &self.keyed {
            Some(keyed) => private_file::write(&self.config, &keyed.config()?).map_err(Error::Folder),
            None => Ok(()),
        }
    }

    /// Has the running server read its configuration, made anew. One that it does not take is taken back, so that the
    /// next start of the server finds what is in force.
    pub(super) async fn reload(&self, running: &mut Running) -> Result<(), Error> {
        let before = std::fs::read_to_string(&self.config).map_err(Error::Folder)?;
        self.write()?;
        // The server forgets at a reload who may answer what was asked before: not one more of them than needed.
        if std::fs::read_to_string(&self.config).map_err(Error::Folder)? == before {
            return Ok(());
        }
        let reloaded = match tokio::time::timeout(RELOAD_PATIENCE, running.reload()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(said)) => Error::Reload(said),
            Err(_) => Error::Reload(format!("it said nothing for {} s", RELOAD_PATIENCE.as_secs())),
        };
        private_file::write(&self.config, &before).map_err(Error::Folder)?;
        Err(reloaded)
    }

    /// How often it is looked whether the certificate is to be renewed.
    pub(super) fn look(&self) -> Duration {
        self.options.renewal.look
    }

    /// Signs the broker's certificate anew before it ends, and has the server show it.
    pub(super) async fn renew(&mut self, running: &mut Running) -> Result<(), Error> {
        let Some(keyed) = &mut self.keyed else { return Ok(()) };
        keyed.renew()?;
        // Without a look at whether it is new: one that the server did not take is tried again.
        self.reload(running).await
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
        if std::env::var_os(THREADS).is_none() {
            command.env(THREADS, self.options.threads.get().to_string());
        }
        command
    }

    /// Has the server itself read the configuration, before anything is started.
    pub(super) async fn check(&self) -> Result<(), Error> {
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
    pub(super) async fn launch(&self) -> Result<(Running, Ports), Error> {
        let run = |source| Error::Run { binary: self.options.binary.clone(), source };
        let mut running = Running::start(self.command()).await.map_err(run)?;
        let pid = running.pid();
        let ready = async {
            let ports = ports_of(self.folder.path(), pid).await;
            let url = nearest(&ports, "nats").unwrap_or_default();
            login::round_trip(&url, self.access()).await.map(|()| ports)
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

    fn access(&self) -> Option<&Access> {
        self.keyed.as_ref().map(|keyed| &keyed.access)
    }

    /// Nobody gets in from elsewhere without a key, whatever the configuration says.
    pub(super) async fn guard(&self, ports: &Ports, url: &str, running: &Running) -> Result<(), Error> {
        let Some(authority) = self.access().and_then(|access| access.authority.as_ref()) else {
            if let Some(exposed) = exposed(ports) {
                if !self.options.insecure_lan {
                    return Err(Error::Exposed(exposed));
                }
                warn!(
                    address = exposed,
                    "everybody who can reach this address is let in, and can read all that is said"
                );
            }
            return Ok(());
        };
        running.words().knocking(READY_PATIENCE);
        let config = || self.options.config.clone().unwrap_or_else(|| self.config.clone());
        let (strangers, guest) =
            (login::stranger_inside(url, authority), login::guest_may_more(url, authority));
        let found = tokio::try_join!(strangers, guest);
        running.words().knocking(ECHO);
        match found.map_err(Error::Login)? {
            (Some(stranger), _) => Err(Error::LetsIn { config: config(), stranger }),
            (None, true) => Err(Error::GuestMayMore(config())),
            (None, false) => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
