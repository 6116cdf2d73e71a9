//! An edge that other machines reach.

use std::net::IpAddr;

use super::finding::Looked;
use super::listening::beyond_loopback;
use super::scene::{Edge, Scene, local_port};

pub async fn look(scene: &Scene) -> Looked {
    let (Edge::Whole(..) | Edge::Alone(..)) = scene.edge().await else { return Looked::default() };
    let Some(url) = scene.edge_url() else { return Looked::default() };
    let Some(port) = local_port(&url) else {
        // It is asked over the network, so it is open to the network.
        let at = url.host_str().unwrap_or_default().to_owned();
        return open(&at);
    };
    match beyond_loopback(port) {
        None => Looked::unseen("whether the edge is open to other machines: only Linux says who listens"),
        Some(addresses) => match addresses.first() {
            None => Looked::seen("the edge is for this machine alone"),
            Some(address) => open(&words(*address)),
        },
    }
}

fn words(address: IpAddr) -> String {
    if address.is_unspecified() { "every address of this machine".to_owned() } else { address.to_string() }
}

fn open(at: &str) -> Looked {
    Looked::wrong(
        format!("the edge is open to other machines, at {at}, and nothing protects it"),
        "whoever reaches it can ask, watch, and end the tasks of others",
        "let it listen at 127.0.0.1 (`echo-mesh edge --listen 127.0.0.1:8080`) behind a proxy with a login, or let a \
         firewall admit only those whom you trust",
    )
}
