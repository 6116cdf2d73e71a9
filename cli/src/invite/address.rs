//! Where other machines reach the broker.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::time::Duration;

use echo_bus::process::BadConfig;
use reqwest::Url;
use tokio::net::TcpStream;

/// On one's own machine an answer takes microseconds.
const REACH: Duration = Duration::from_secs(2);

/// The address for the code: `advertise` (HOST or HOST:PORT), else the broker's own, else this machine's on its network.
///
/// # Errors
/// There is none, or other machines cannot reach it.
pub async fn of_broker(nats: &str, advertise: Option<&str>) -> Result<SocketAddr, BadConfig> {
    let unreadable = || BadConfig(format!("{nats:?} is not a NATS URL: write nats://HOST:PORT"));
    let url = Url::parse(nats).map_err(|_| unreadable())?;
    let port = url.port().unwrap_or(4222);
    if let Some(advertise) = advertise {
        return resolved(advertise, port).ok_or_else(|| {
            BadConfig(format!("--advertise {advertise:?} is no address: write HOST or HOST:PORT"))
        });
    }
    let host = url.host_str().ok_or_else(unreadable)?.trim_start_matches('[').trim_end_matches(']');
    let named = resolved(host, port).filter(|address| !address.ip().is_loopback());
    let Some(address) = named.or_else(|| own().map(|ip| SocketAddr::new(ip, port))) else {
        return Err(BadConfig(
            "this machine is on no network, so nobody can join: connect it, or name its address with --advertise HOST"
                .to_owned(),
        ));
    };
    match tokio::time::timeout(REACH, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(address),
        _ => Err(BadConfig(format!(
            "the broker does not listen at {address}, where other machines would look for it: start the mesh with \
             `echo-mesh up --lan`, or name another address with --advertise HOST[:PORT]"
        ))),
    }
}

/// `HOST`, `HOST:PORT`, an IPv6 address with or without brackets.
fn resolved(text: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, port));
    }
    let full = if text.rsplit_once(':').is_some() { text.to_owned() } else { format!("{text}:{port}") };
    let mut addresses: Vec<SocketAddr> = full.to_socket_addrs().ok()?.collect();
    // The shorter code, and what every machine at home has.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.into_iter().find(|address| !address.ip().is_unspecified() && address.port() != 0)
}

/// This machine's address on the network that its default route leads to, or that it multicasts on. Nothing is sent: to
/// "connect" UDP only looks up the route.
fn own() -> Option<IpAddr> {
    let looks =
        [("0.0.0.0:0", "192.0.2.1:9"), ("0.0.0.0:0", "224.0.0.251:5353"), ("[::]:0", "[2001:db8::1]:9")];
    looks.into_iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_people_write_it() {
        for (text, address) in [
            ("10.0.0.1", "10.0.0.1:4222"),
            ("10.0.0.1:99", "10.0.0.1:99"),
            ("fd00::1", "[fd00::1]:4222"),
            ("[fd00::1]:99", "[fd00::1]:99"),
        ] {
            assert_eq!(resolved(text, 4222), Some(address.parse().unwrap()), "{text}");
        }
        for text in ["", ":", "a b", "10.0.0.1:x", "10.0.0.1:0", "0.0.0.0:1", "[::]:1"] {
            assert_eq!(resolved(text, 4222), None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_broker_that_only_this_machine_reaches_is_told_with_the_cure() {
        let refused = of_broker("nats://127.0.0.1:1", None).await.unwrap_err().to_string();
        assert!(refused.contains("echo-mesh up --lan") || refused.contains("on no network"), "{refused}");
        assert!(of_broker("nats://127.0.0.1:1", Some("10.9.8.7")).await.is_ok_and(|at| at.port() == 1));
        assert!(of_broker("nats", None).await.is_err());
    }
}
