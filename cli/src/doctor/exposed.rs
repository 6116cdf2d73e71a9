//! An edge that other machines reach.

use std::net::IpAddr;

use super::finding::Looked;
use super::listening::beyond_loopback;
use super::scene::{Edge, Scene, local_port};

pub async fn look(scene: &Scene) -> Looked {
    let (Edge::Whole(_, answer) | Edge::Alone(_, answer)) = scene.edge().await else {
        return Looked::default();
    };
    if answer.json["edge"]["client"].is_string() {
        return Looked::seen("whoever asks the edge needs an API key");
    }
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
        "start it without --open-lan and with keys (`echo-mesh keys add NAME`), or let it listen at 127.0.0.1 (`echo-mesh edge \
         --listen 127.0.0.1:8080`)",
    )
}
