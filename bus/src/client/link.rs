//! The state of the connection, told by async-nats' events: the only word of lost connections and dropped messages.

use async_nats::Event;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

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

/// Takes one event of the client into the state and the log.
pub(super) fn note(state: &watch::Sender<Link>, event: &Event) {
    match event {
        Event::Connected => {
            info!("connected to the broker");
            state.send_modify(|link| {
                link.up = true;
                link.epoch += 1;
            });
        }
        Event::Disconnected => {
            if state.borrow().up {
                warn!("lost the broker; trying to reach it again");
            }
            state.send_modify(|link| link.up = false);
        }
        Event::Closed => state.send_modify(|link| (link.up, link.closed) = (false, true)),
        Event::SlowConsumer(subscription) => {
            error!(subscription, "messages were dropped: this process reads too slowly");
        }
        Event::ServerError(error) => error!(%error, "the broker refused something"),
        Event::ClientError(error) => warn!(%error, "the bus client has an error"),
        Event::LameDuckMode => info!("the broker is about to stop"),
        other => debug!(event = %other, "bus event"),
    }
}
