//! Finding the broker without an address: mDNS, as `_echo-mesh._tcp`. Carries where it is, and no key.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use mdns_sd::{ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::watch;
use tracing::{debug, info};

use crate::id::BootId;

const SERVICE: &str = "_echo-mesh._tcp.local.";
/// In the TXT record: whether the broker wants a key that it knows.
const KEY: &str = "key";

/// Why nothing can be announced or found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("mDNS does not work on this machine")]
    Mdns(#[from] mdns_sd::Error),
    #[error("there is no thread for mDNS")]
    Thread(#[source] std::io::Error),
}

/// A broker that is announced for as long as this lives.
pub struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

impl Announcement {
    /// Announces a broker on this machine's addresses.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn new(port: u16, needs_key: bool) -> Result<Self, Error> {
        let daemon = ServiceDaemon::new()?;
        let id = BootId::random();
        let key = if needs_key { "yes" } else { "no" };
        let host = format!("echo-{id}.local.");
        let info = ServiceInfo::new(SERVICE, &format!("echo-{id}"), &host, "", port, &[(KEY, key)][..])?
            .enable_addr_auto();
        let name = info.get_fullname().to_owned();
        daemon.register(info)?;
        info!(port, "announced on this network as {SERVICE}");
        Ok(Self { daemon, name })
    }

    /// Takes the announcement back, so that nobody goes on looking here.
    pub async fn withdraw(self) {
        if let Ok(done) = self.daemon.unregister(&self.name) {
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), done.recv_async()).await;
        }
        let _ = self.daemon.shutdown();
    }
}

/// A broker on this network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub addresses: Vec<SocketAddr>,
    pub needs_key: bool,
}

/// The brokers on this network, the newest last.
pub type Brokers = watch::Receiver<Vec<Found>>;

/// Looks for brokers for as long as anybody holds the result.
///
/// # Errors
/// See [`Error`].
pub fn brokers() -> Result<Brokers, Error> {
    let daemon = ServiceDaemon::new()?;
    let events = daemon.browse(SERVICE)?;
    let (state, brokers) = watch::channel(Vec::new());
    let look = move || {
        let mut seen = Seen::default();
        while let Ok(event) = events.recv() {
            if seen.note(event) && state.send(seen.in_order()).is_err() {
                break;
            }
        }
        let _ = daemon.shutdown();
    };
    std::thread::Builder::new().name("mdns".into()).spawn(look).map_err(Error::Thread)?;
    Ok(brokers)
}

#[derive(Default)]
struct Seen {
    count: u64,
    services: HashMap<String, (u64, Found)>,
}

impl Seen {
    /// Takes an event in; returns whether it changed something.
    fn note(&mut self, event: ServiceEvent) -> bool {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                let found = found(&service);
                debug!(name = service.fullname, ?found, "a broker on this network");
                self.count += 1;
                self.services.insert(service.fullname, (self.count, found));
                true
            }
            ServiceEvent::ServiceRemoved(_, name) => self.services.remove(&name).is_some(),
            _ => false,
        }
    }

    fn in_order(&self) -> Vec<Found> {
        let mut services: Vec<_> = self.services.values().collect();
        services.sort_by_key(|(count, _)| *count);
        services.into_iter().map(|(_, found)| found.clone()).collect()
    }
}

fn found(service: &ResolvedService) -> Found {
    let mut ips: Vec<IpAddr> = service.addresses.iter().map(ScopedIp::to_ip_addr).collect();
    // The loopback address of another machine is our own, and a link-local one leads nowhere without its interface.
    ips.retain(|ip| !ip.is_loopback() && !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
    ips.sort();
    let addresses = ips.into_iter().map(|ip| SocketAddr::new(ip, service.port)).collect();
    Found { addresses, needs_key: service.get_property_val_str(KEY) != Some("no") }
}
