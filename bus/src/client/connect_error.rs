//! Why there is no bus.

use crate::discover;

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL itself is wrong.
    #[error("{url:?} is not a NATS URL: write nats://HOST:PORT or tls://HOST:PORT, several with commas")]
    Url {
        url: String,
        #[source]
        source: std::io::Error,
    },
    /// A broker was found, and it lets nobody in without a key that it knows.
    #[error(
        "found a broker at {0}, which wants a key that it knows: get one by a code (`echo-mesh invite` there, `echo-mesh join` here), or name key and authority with --nkey and --tls-ca"
    )]
    NeedsKey(String),
    /// The credentials are for no NATS.
    #[error("the credentials cannot be used")]
    Credentials(#[source] std::io::Error),
    /// Nothing can be found on this network.
    #[error("cannot look for a broker on this network; name it with --nats nats://HOST:PORT")]
    Discover(#[source] discover::Error),
    /// There is no local port for the way to the broker.
    #[error("cannot open a local port for the way to the broker")]
    Forward(#[source] std::io::Error),
    /// The client cannot be made.
    #[error("cannot use the NATS client")]
    Client(#[source] async_nats::ConnectError),
    /// The client closed itself.
    #[error("cannot listen for answers")]
    Replies(#[source] async_nats::SubscribeError),
}

impl ConnectError {
    /// Whether the operator has to change something: trying again does not help.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Url { .. } | Self::NeedsKey(_) | Self::Credentials(_))
    }
}
