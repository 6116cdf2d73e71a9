//! Having a server that runs read its configuration again.

use tokio::sync::{mpsc, oneshot};

use super::error::Error;

/// As many may wait for their turn; the next has to wait for one of these.
const WAITING: usize = 16;

/// Asks for the configuration to be made anew and put in force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reloader(mpsc::Sender<Request>);

/// Told when the server has taken the configuration, or why not.
pub(super) type Request = oneshot::Sender<Result<(), Error>>;

impl Reloader {
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, requests) = mpsc::channel(WAITING);
        (Self(sender), requests)
    }

    /// Comes back once the list of keys, as it is now, is in force.
    ///
    /// # Errors
    /// The server has refused it and goes on with what it had, or it does not run.
    pub async fn reload(&self) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| Error::NotRunning)?;
        answered.await.unwrap_or(Err(Error::NotRunning))
    }
}
