//! Why an agent ends unasked.

use echo_bus::client::SubscribeError;

use crate::engine::BuildError;

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another agent has the same node id.
    #[error("{0}")]
    DuplicateNode(String),
    /// The engine's address or key is unusable.
    #[error("cannot use the engine")]
    Engine(#[from] BuildError),
    /// The connection is closed for good.
    #[error("cannot listen on the bus")]
    Subscribe(#[from] SubscribeError),
    /// The bus has ended by itself.
    #[error("the connection to the bus was closed")]
    Closed,
    /// The listener is broken.
    #[error("cannot tell the address of the agent's own port")]
    Listener(#[source] std::io::Error),
}
