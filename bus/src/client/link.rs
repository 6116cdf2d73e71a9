//! The state of the connection, told by async-nats' events: the only word of lost connections and dropped messages.

use std::time::Duration;

use async_nats::Event;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::rarely::Rarely;

/// The state of the connection to the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Connected now.
    pub up: bool,
    /// Counts the connections.
    pub epoch: u64,
    /// Closed for good, by ourselves.
    pub closed: bool,
}

/// What may happen very often is said once in so long.
const SAID_EVERY: Duration = Duration::from_secs(5);

/// Takes the events of one client into the state and the log.
pub(super) struct Notes {
    state: watch::Sender<Link>,
    denied: Rarely,
    refused: Rarely,
    trouble: Rarely,
}

impl Notes {
    pub(super) fn new(state: watch::Sender<Link>) -> Self {
        let [denied, refused, trouble] = [(); 3].map(|()| Rarely::new(SAID_EVERY));
        Self { state, denied, refused, trouble }
    }

    pub(super) fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                info!("connected to the broker");
                self.state.send_modify(|link| {
                    link.up = true;
                    link.epoch += 1;
                });
            }
            Event::Disconnected => {
                if self.state.borrow().up {
                    warn!("lost the broker; trying to reach it again");
                }
                self.state.send_modify(|link| link.up = false);
            }
            Event::Closed => self.state.send_modify(|link| (link.up, link.closed) = (false, true)),
            Event::SlowConsumer(subscription) => {
                error!(subscription, "messages were dropped: this process reads too slowly");
            }
            Event::ServerError(error) => self.server(&error.to_string()),
            Event::ClientError(error) => self.client(&error.to_string()),
            Event::LameDuckMode => info!("the broker is about to stop"),
            other => debug!(event = %other, "bus event"),
        }
    }

    /// What the broker denies has not happened, and nobody else tells.
    fn server(&self, said: &str) {
        let said = said.trim_start_matches("nats: ");
        if said.to_lowercase().contains("violation") {
            if let Some(before) = self.denied.now() {
                error!(
                    said,
                    before,
                    "the broker denies what this part wants to say or hear: its key is for something else"
                );
            }
        } else if let Some(before) = self.trouble.now() {
            error!(said, before, "the broker refused something");
        }
    }

    fn client(&self, said: &str) {
        if said.contains("authorization violation") {
            if let Some(before) = self.refused.now() {
                error!(before, "{REFUSED}; still trying");
            }
        } else if let Some(before) = self.trouble.now() {
            warn!(said, before, "the bus client has an error");
        }
    }
}

/// The broker knows no such login.
pub(super) const REFUSED: &str = "the broker there does not let this part in: it does not know its key, or no longer; \
     look with `echo-mesh machines list` on the broker's machine, or let it join again";
