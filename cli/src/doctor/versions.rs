//! Parts of other versions than this program.

use super::finding::Looked;
use super::scene::{Edge, Scene};

const OWN: &str = env!("CARGO_PKG_VERSION");

pub async fn look(scene: &Scene) -> Looked {
    let edge = match scene.edge().await {
        Edge::Whole(_, answer) => answer.json["edge"]["version"].as_str().map(str::to_owned),
        _ => None,
    };
    let Some(mesh) = scene.mesh().await else { return Looked::default() };
    let nodes = mesh.nodes.iter().map(|node| (node.node_id.to_string(), node.version.clone()));
    let parts = edge.into_iter().map(|version| ("the edge".to_owned(), version)).chain(nodes);
    let others: Vec<String> = parts
        .filter(|(_, version)| version != OWN)
        .map(|(part, version)| format!("{part} is {version}"))
        .collect();
    if others.is_empty() {
        return Looked::seen(format!("version {OWN} everywhere"));
    }
    Looked::wrong(
        format!("parts of the mesh have other versions than this {OWN}: {}", others.join(", ")),
        "they understand each other, but what is new works only where all are new",
        "install the same version everywhere, and start those parts again",
    )
}
