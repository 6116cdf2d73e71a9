//! The mesh as a whole: an edge, an orchestrator, nodes.

use echo_broker::server::Occupant;

use super::finding::Looked;
use super::listening::on;
use super::scene::{Broker, Edge, Scene, local_port};
use crate::edge::shown;

pub async fn look(scene: &Scene) -> Looked {
    let url = scene.edge_url().map_or_else(|| "its address".to_owned(), |url| shown(&url));
    let broker = matches!(scene.broker().await, Broker::There(_, Occupant::Ours { .. }));
    match scene.edge().await {
        Edge::Whole(mesh, _) if mesh.nodes.is_empty() => Looked::wrong(
            "the mesh has no node",
            "nobody can answer anything",
            "start an agent beside an engine: `echo-mesh up` here, or `echo-mesh join` on another machine",
        ),
        Edge::Whole(mesh, _) => Looked::seen(match mesh.nodes.len() {
            1 => format!("the edge at {url}, which knows 1 node"),
            nodes => format!("the edge at {url}, which knows {nodes} nodes"),
        }),
        Edge::Alone(said, _) if broker => Looked::wrong(
            format!("the edge at {url} finds no orchestrator: {said}"),
            "tasks wait, and fail after --orchestrator-wait",
            "start one: `echo-mesh orchestrator`, or the whole mesh: `echo-mesh up`",
        ),
        // Without a broker nobody finds anybody; `broker` says so.
        Edge::Alone(..) => Looked::seen(format!("the edge at {url}")),
        // Who sits there is told by `ports`.
        Edge::Foreign => Looked::default(),
        Edge::Absent(_) if scene.is_empty().await => Looked::note(
            "no mesh runs here",
            format!("nobody answers at {url}, nor at {}", scene.login.nats),
            "start one with `echo-mesh up`, bring this machine into another with `echo-mesh join`, or name one with --edge",
        ),
        Edge::Absent(_) if scene.needs_no_edge() => Looked::default(),
        Edge::Absent(_) if !broker && scene.args.edge.url.is_none() => Looked::default(),
        Edge::Absent(why) => Looked::wrong(
            format!("no edge answers at {url} ({why}{})", sits(scene)),
            "clients have nobody to ask",
            "start it with `echo-mesh up` or `echo-mesh edge`, or say where it is with --edge",
        ),
    }
}

/// Who has the port and says nothing.
fn sits(scene: &Scene) -> String {
    let port = scene.edge_url().as_ref().and_then(local_port);
    let listener = port.and_then(on).and_then(|all| all.into_iter().next());
    listener.map_or(String::new(), |listener| format!(", though {} has that port", listener.who()))
}
