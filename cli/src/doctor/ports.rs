//! Ports of the mesh on which somebody else sits.

use echo_broker::server::Occupant;
use reqwest::Url;

use super::finding::Looked;
use super::listening::occupant;
use super::scene::{Broker, Edge, Scene, local_port};

/// Where an agent listens, if nobody says otherwise.
const AGENT: u16 = 9001;

pub async fn look(scene: &Scene) -> Looked {
    edge(scene).await.with(broker(scene).await).with(agent(scene).await)
}

async fn edge(scene: &Scene) -> Looked {
    let Edge::Foreign = scene.edge().await else { return Looked::default() };
    let Some(url) = scene.edge_url() else { return Looked::default() };
    let at = host_and_port(&url);
    let who = local_port(&url).map_or("another program".to_owned(), occupant);
    taken(
        format!("{at}, where the edge belongs, is taken by {who}"),
        "`echo-mesh edge --listen 127.0.0.1:8081`",
    )
}

async fn broker(scene: &Scene) -> Looked {
    let Broker::There(address, who) = scene.broker().await else { return Looked::default() };
    let port = Url::parse(&format!("tcp://{address}")).ok().and_then(|url| local_port(&url));
    let process = port.map_or("another program".to_owned(), occupant);
    let process = match who {
        Occupant::Ours { .. } => return Looked::default(),
        Occupant::Nats { name, version } => format!("{process}: another NATS server ({name:?}, {version})"),
        Occupant::Other => process,
    };
    taken(
        format!("{address}, where the broker belongs, is taken by {process}"),
        "`echo-mesh broker --listen 127.0.0.1:4223`, and then --nats nats://127.0.0.1:4223 for all others",
    )
}

/// Only where no mesh is: in a mesh, agents may sit wherever they like.
async fn agent(scene: &Scene) -> Looked {
    if !scene.is_empty().await {
        return Looked::default();
    }
    let Ok(health) = Url::parse(&format!("http://127.0.0.1:{AGENT}/health")) else {
        return Looked::default();
    };
    match scene.asker.get(&health, None).await {
        Ok(answer) if answer.text == "ok" => Looked::default(),
        Err(why) if why == "nobody answers" => Looked::seen("the ports of edge, broker and agent"),
        _ => taken(
            format!("127.0.0.1:{AGENT}, where an agent belongs, is taken by {}", occupant(AGENT)),
            "`echo-mesh agent --listen 127.0.0.1:9003`",
        ),
    }
}

fn taken(what: String, elsewhere: &str) -> Looked {
    Looked::wrong(
        what,
        "two programs cannot have one port",
        format!("end it, or choose another port: {elsewhere}"),
    )
}

fn host_and_port(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}
