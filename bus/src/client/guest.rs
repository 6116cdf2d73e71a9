//! On the bus before being in the mesh: a guest may ask to join, and nothing else.

use std::error::Error as _;
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, RequestErrorKind, ServerAddr};

use super::access::Access;
use super::authority::guest_config;
use super::call_error::{CallError, PublishError};
use super::connect::login;
use super::subscription::decode;
use crate::id::BootId;
use crate::message::Payload;
use crate::subject::{self, Call};

/// The login that needs no password.
const USER: &str = "join";

/// A server that lets another machine in at this moment refuses whom it knows, until it has read its users anew. It says
/// the same to whom it does not know, so the same answer after this time is the answer.
const RELOAD: Duration = Duration::from_millis(300);

/// A connection of a machine that is not in the mesh yet.
pub struct Guest(Client);

/// Why a guest does not get onto the bus.
#[derive(Debug, thiserror::Error)]
pub enum NotLetIn {
    /// The URL itself is wrong.
    #[error("{0:?} is not a NATS URL: write nats://HOST:PORT")]
    Url(String),
    /// This program cannot speak TLS.
    #[error("this program cannot speak TLS")]
    Tls(#[source] rustls::Error),
    /// A broker answers, and it has no door for guests, or does not know this key.
    #[error("the broker there lets nobody in with that")]
    Refused,
    /// Whoever answers has a certificate of another authority, or none that is in force.
    #[error("whoever answers there has no certificate of this mesh's broker")]
    Stranger(#[source] ConnectError),
    /// A broker answers, and as many guests as it takes are there already.
    #[error("too many machines ask the broker there at once")]
    Full,
    /// Nothing that speaks NATS answers.
    #[error("no broker answers there")]
    Unreachable(#[source] async_nats::ConnectError),
}

impl Guest {
    /// Connects once, and tries no longer than this.
    ///
    /// # Errors
    /// See [`NotLetIn`].
    pub async fn connect(url: &str, within: Duration) -> Result<Self, NotLetIn> {
        let address: ServerAddr = url.parse().map_err(|_| NotLetIn::Url(url.to_owned()))?;
        // Random: what others are answered is not meant for us, and ours is not for them.
        let inbox = subject::joiner_inbox(&BootId::random());
        let options = ConnectOptions::with_user_and_password(USER.to_owned(), String::new())
            .name(USER)
            .custom_inbox_prefix(inbox)
            .max_reconnects(1)
            .tls_client_config(guest_config().map_err(NotLetIn::Tls)?)
            .connection_timeout(within);
        match options.clone().connect(&address).await.map(Self).map_err(NotLetIn::because) {
            Err(NotLetIn::Refused) => {
                tokio::time::sleep(RELOAD).await;
                options.connect(&address).await.map(Self).map_err(NotLetIn::because)
            }
            connected => connected,
        }
    }

    /// Asks and waits for one answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<Q: Payload, A: Payload>(
        &self,
        to: &Call<Q, A>,
        question: &Q,
        within: Duration,
    ) -> Result<A, CallError> {
        let payload = serde_json::to_vec(question).map_err(PublishError::Encode)?;
        let unanswered = || CallError::Unanswered(to.to_string());
        let asked = tokio::time::timeout(within, self.0.request(to.raw(), payload.into())).await;
        let answer = asked.map_err(|_| unanswered())?.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => CallError::NoResponders(to.to_string()),
            _ => unanswered(),
        })?;
        decode(&answer).map_err(|error| CallError::Undecodable(to.to_string(), error))
    }
}

/// Tries once whether a broker lets somebody in, and leaves again.
///
/// # Errors
/// See [`NotLetIn`].
pub async fn knock(url: &str, access: &Access, within: Duration) -> Result<(), NotLetIn> {
    let address: ServerAddr = url.parse().map_err(|_| NotLetIn::Url(url.to_owned()))?;
    let options = login(access).map_err(|_| NotLetIn::Refused)?.name("knock");
    let options = options.max_reconnects(1).connection_timeout(within);
    let client = options.connect(address).await.map_err(NotLetIn::because)?;
    // Not waited for: the server closes what nobody reads.
    drop(client);
    Ok(())
}

impl NotLetIn {
    fn because(error: ConnectError) -> Self {
        match error {
            error if is_refusal(error.kind()) => Self::Refused,
            error if is_full(&error) => Self::Full,
            error if is_of_a_stranger(&error) => Self::Stranger(error),
            error => Self::Unreachable(error),
        }
    }
}

/// Whether a certificate was the reason, which lies below an error of the stream.
fn is_of_a_stranger(error: &ConnectError) -> bool {
    let below = |error: &(dyn std::error::Error + 'static)| match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned(),
        None => error.downcast_ref::<rustls::Error>().cloned(),
    };
    std::iter::successors(error.source(), |error| (*error).source())
        .any(|error| matches!(below(error), Some(rustls::Error::InvalidCertificate(_))))
}

/// The server says it in a sentence only.
fn is_full(error: &ConnectError) -> bool {
    let said = error.source().map(ToString::to_string).unwrap_or_default();
    said.contains("maximum account active connections exceeded")
}

fn is_refusal(kind: ConnectErrorKind) -> bool {
    matches!(kind, ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication)
}
