//! Finding the mesh: at the address in the code, or announced on this network.

use std::net::SocketAddr;
use std::time::Duration;

use echo_bus::client::{Guest, NotLetIn};
use echo_bus::discover;
use echo_bus::message::{JoinGrant, JoinWish};

use super::code::Code;
use super::exchange::{self, NotJoined};

/// How long a broker may take to answer.
const REACH: Duration = Duration::from_secs(3);
/// Whatever is announced on this network is heard within a second or two.
const LISTEN: Duration = Duration::from_secs(3);

/// Why nobody could be asked, or what the answer was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    NotJoined(#[from] NotJoined),
    #[error(
        "no broker answers at {0}, and none is announced on this network: is this machine on the same network, does \
         `echo-mesh up --lan` still run there, and does its firewall let TCP port {port} in?", port = .0.port()
    )]
    Unreachable(SocketAddr),
    #[error(
        "the broker at {0} has more machines that ask to join than it takes: try again in a minute; if that does not \
         help, somebody on the network holds the door, and starting the mesh there again lets go of it"
    )]
    Full(SocketAddr),
    #[error(
        "the mesh at {0} takes no invitations: its broker was configured without the user join, which the nats.conf of \
         this project has"
    )]
    NoInvitations(SocketAddr),
}

/// Joins: at the code's address, else at a broker that is announced on this network, since a machine may be reached under
/// another address than it knows of. Where the broker is, and what it gave.
///
/// # Errors
/// See [`Error`].
pub async fn ask(code: &Code, wish: &JoinWish) -> Result<(SocketAddr, JoinGrant), Error> {
    match ask_at(code.broker, code, wish).await {
        Err(Error::Unreachable(_)) => {}
        other => return other,
    }
    let mut told = Error::Unreachable(code.broker);
    for broker in announced().await.into_iter().filter(|broker| *broker != code.broker) {
        match ask_at(broker, code, wish).await {
            // Another mesh, or another address of this one.
            Err(Error::Unreachable(_)) => {}
            Err(error @ (Error::NoInvitations(_) | Error::NotJoined(NotJoined::Gone))) => told = error,
            other => return other,
        }
    }
    Err(told)
}

async fn ask_at(broker: SocketAddr, code: &Code, wish: &JoinWish) -> Result<(SocketAddr, JoinGrant), Error> {
    let guest = match Guest::connect(&format!("nats://{broker}"), REACH).await {
        Ok(guest) => guest,
        Err(NotLetIn::Refused) => return Err(Error::NoInvitations(broker)),
        Err(NotLetIn::Full) => return Err(Error::Full(broker)),
        Err(NotLetIn::Unreachable(_) | NotLetIn::Stranger(_) | NotLetIn::Url(_) | NotLetIn::Tls(_)) => {
            return Err(Error::Unreachable(broker));
        }
    };
    Ok((broker, exchange::ask(&guest, code, wish).await?))
}

/// The brokers that are announced on this network, the newest first. Where mDNS does not work there are none.
pub async fn announced() -> Vec<SocketAddr> {
    let Ok(mut brokers) = discover::brokers() else {
        return Vec::new();
    };
    let some = brokers.wait_for(|brokers| brokers.iter().any(|found| !found.addresses.is_empty()));
    let _ = tokio::time::timeout(LISTEN, some).await.is_ok();
    let found = brokers.borrow();
    found.iter().rev().flat_map(|found| found.addresses.clone()).collect()
}
