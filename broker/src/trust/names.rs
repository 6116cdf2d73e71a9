//! What this machine is called, and at which addresses it can be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::SanType;

/// A machine with containers has hundreds of addresses; a broker at one that is left out is known by its own name.
const MOST: usize = 64;

/// As a certificate has them.
pub(super) struct Names(pub(super) Vec<SanType>);

pub(super) fn own_names() -> Names {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for interface in if_addrs::get_if_addrs().unwrap_or_default() {
        let address = interface.ip();
        if !addresses.contains(&address) && addresses.len() < MOST {
            addresses.push(address);
        }
    }
    let mut hosts = vec!["localhost".to_owned()];
    if let Some(host) = sysinfo::System::host_name().filter(|host| !host.is_empty() && host != "localhost") {
        // As it is announced on the network, where it is announced.
        let local = (!host.contains('.')).then(|| format!("{host}.local"));
        hosts.push(host);
        hosts.extend(local);
    }
    let hosts = hosts.into_iter().filter_map(|host| host.try_into().ok()).map(SanType::DnsName);
    Names(hosts.chain(addresses.into_iter().map(SanType::IpAddress)).collect())
}
