//! `--nats auto`: a port of this process that leads to wherever the broker is now. The NATS client knows only fixed
//! addresses; behind this one, a broker that has moved is found again without anybody's doing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, info};

use super::connect_error::ConnectError;
use crate::discover::{self, Brokers};

/// What stands for an address.
pub(super) const AUTO: &str = "auto";

/// One address of several may be out of reach from here.
const REACH: Duration = Duration::from_millis(700);

/// Waits until a broker is found, and gives the URL that leads to it.
pub(super) async fn url(has_key: bool) -> Result<String, ConnectError> {
    let mut brokers = discover::brokers().map_err(ConnectError::Discover)?;
    info!("looking for a broker on this network");
    while !wait_for_one(&mut brokers).await {
        info!(
            "no broker on this network yet; it is announced when it listens beyond its own machine; still looking"
        );
    }
    let found = brokers.borrow().iter().rfind(|found| !found.addresses.is_empty()).cloned();
    if let Some(found) = found {
        info!(addresses = ?found.addresses, "found a broker");
        if found.needs_key && !has_key {
            let at = found.addresses.first().map(SocketAddr::to_string).unwrap_or_default();
            return Err(ConnectError::NeedsKey(at));
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(ConnectError::Forward)?;
    let here = listener.local_addr().map_err(ConnectError::Forward)?;
    tokio::spawn(forward(listener, brokers));
    Ok(format!("nats://{here}"))
}

async fn wait_for_one(brokers: &mut Brokers) -> bool {
    let some = brokers.wait_for(|brokers| brokers.iter().any(|found| !found.addresses.is_empty()));
    tokio::time::timeout(Duration::from_secs(5), some).await.is_ok_and(|found| found.is_ok())
}

async fn forward(listener: TcpListener, brokers: Brokers) {
    while let Ok((mut client, _)) = listener.accept().await {
        let brokers = brokers.clone();
        tokio::spawn(async move {
            let Some(mut broker) = reach(&brokers).await else {
                debug!("none of the brokers that were found can be reached");
                return;
            };
            let _ = client.set_nodelay(true);
            let _ = broker.set_nodelay(true);
            let _ = copy_bidirectional(&mut client, &mut broker).await;
        });
    }
}

/// The newest broker first: an older one may be gone without a word.
async fn reach(brokers: &Brokers) -> Option<TcpStream> {
    let addresses: Vec<SocketAddr> =
        brokers.borrow().iter().rev().flat_map(|found| found.addresses.clone()).collect();
    for address in addresses {
        if let Ok(Ok(stream)) = tokio::time::timeout(REACH, TcpStream::connect(address)).await {
            return Some(stream);
        }
    }
    None
}
