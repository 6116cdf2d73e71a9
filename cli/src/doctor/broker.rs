//! The broker: there, new enough, and open to us.

use echo_broker::server::Occupant;
use echo_broker::server::find::{OLDEST, Version};
use echo_bus::client::{NotLetIn, knock};

use super::finding::Looked;
use super::scene::{Broker, Edge, Scene};

/// A login takes milliseconds; a machine under load takes longer.
const REACH: std::time::Duration = std::time::Duration::from_secs(5);

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
    let Ok(given) = scene.login.access.read() else {
        // What is wrong with the files is told by `keys`.
        return Looked::seen(broker).with(Looked::unseen("whether the broker lets us in: there is no key"));
    };
    let url = match scene.broker().await {
        Broker::There(address, _) => format!("nats://{address}"),
        Broker::Absent => return Looked::default(),
    };
    let said = match knock(&url, &given, REACH).await {
        Ok(()) => return Looked::seen(broker),
        Err(said) => said,
    };
    let no_part = "no part that is started here gets onto the bus";
    // Whoever has neither key nor authority knows nobody's certificate.
    let has_nothing = given.key().is_none() && given.authority.is_none();
    match (said, given.key()) {
        (NotLetIn::Stranger(_), _) if !has_nothing => Looked::wrong(
            format!("{broker} has a certificate of another authority, or one that is not in force"),
            "whoever answers there may not be the mesh, so nobody of this machine talks with it",
            "look whether this machine's clock is right and the address is the mesh's; if the mesh has begun anew, join \
             with a new code",
        ),
        (NotLetIn::Refused | NotLetIn::Stranger(_), None) => Looked::wrong(
            format!("{broker} lets nobody in without a key"),
            no_part,
            "join with a code of `echo-mesh invite`, or name a key with --nkey and the mesh's authority with --tls-ca",
        ),
        (NotLetIn::Refused, Some(key)) => Looked::wrong(
            format!("{broker} does not know the key {key}"),
            "it was cut off, or the mesh has begun anew: no part here gets onto the bus with it",
            "join with a new code (echo-mesh join CODE), or let it in there: echo-mesh machines add",
        ),
        (said, _) => Looked::wrong(
            format!("{broker} does not let us in: {said}"),
            no_part,
            "look at what it says: echo-mesh logs broker",
        ),
    }
}
