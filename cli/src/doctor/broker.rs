//! The broker: there, new enough, and open to us.

use echo_broker::server::Occupant;
use echo_broker::server::find::{OLDEST, Version};
use echo_bus::client::Login;

use super::finding::Looked;
use super::scene::{Broker, Edge, Scene};

pub async fn look(scene: &Scene) -> Looked {
    match scene.broker().await {
        Broker::Absent if scene.is_empty().await => Looked::default(),
        Broker::Absent => absent(scene).await,
        // What sits on a port that is not its own is told by `ports`.
        Broker::There(_, Occupant::Other | Occupant::Nats { .. }) => Looked::default(),
        Broker::There(address, Occupant::Ours { version }) => {
            let read = Version::read(&format!("nats-server: v{version}"));
            if read.is_some_and(|version| version < OLDEST) {
                return old(address, version);
            }
            login(scene, format!("the broker at {address} (nats-server {version})")).await
        }
    }
}

async fn absent(scene: &Scene) -> Looked {
    let url = &scene.login.nats;
    if url == "auto" && scene.multicast().await.is_err() {
        // Why none is found is told by `multicast`.
        return Looked::default();
    }
    let there = match url.as_str() {
        "auto" => "no broker is announced on this network".to_owned(),
        url => format!("no broker answers at {url}"),
    };
    let why = match scene.edge().await {
        Edge::Whole(..) => "the mesh uses another one; agents that are started here would not find it",
        _ => "without it no part of the mesh hears another",
    };
    Looked::wrong(
        there,
        why,
        "start it with `echo-mesh up` or `echo-mesh broker`, or say where it is with --nats",
    )
}

fn old(address: &str, version: &str) -> Looked {
    Looked::wrong(
        format!("the broker at {address} is nats-server {version}, and {OLDEST} or later is needed"),
        "the mesh's configuration and client use what older ones do not have",
        "end that server and start `echo-mesh broker`, which fetches one that is new enough",
    )
}

async fn login(scene: &Scene, broker: String) -> Looked {
    let given = match scene.login.access.read() {
        Ok(given) => given.login,
        // What is wrong with the file is told by `secret`.
        Err(_) => {
            return Looked::seen(broker)
                .with(Looked::unseen("whether the broker lets us in: there is no secret"));
        }
    };
    if scene.bus().await.is_some() {
        return Looked::seen(broker);
    }
    let mend =
        "copy the file that the broker's --secret-file names to this machine, and name it with --secret-file";
    let what = match given {
        Login::Open => format!("{broker} lets nobody in without the mesh's secret"),
        _ => format!("{broker} does not take this secret, or no message comes back from it"),
    };
    Looked::wrong(what, "no part that is started here gets onto the bus", mend)
}
