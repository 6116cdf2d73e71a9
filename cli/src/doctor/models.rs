//! Nodes without a model, and a default that nobody has.

use echo_bus::message::{Capability, MeshStatus, NodeState, NodeStatus};
use echo_bus::model_name::ModelName;

use super::finding::Looked;
use super::scene::Scene;

pub async fn look(scene: &Scene) -> Looked {
    let Some(mesh) = scene.mesh().await else { return Looked::default() };
    let without =
        mesh.nodes.iter().filter(|node| node.status != NodeStatus::Unavailable && node.models.is_empty());
    let looked = without.map(empty).fold(Looked::default(), Looked::with);
    if !looked.findings.is_empty() || mesh.nodes.iter().all(|node| node.models.is_empty()) {
        return looked;
    }
    default(mesh)
}

fn empty(node: &NodeState) -> Looked {
    let id = &node.node_id;
    let mend = match (node.engine.kind.as_str(), node.model_management) {
        ("ollama", true) => format!("echo-mesh models pull NAME --on {id}"),
        ("ollama", false) => "on that machine: ollama pull NAME".to_owned(),
        _ => "start its server with a model".to_owned(),
    };
    Looked::wrong(format!("{id} has no model"), "it gets no task", mend)
}

fn default(mesh: &MeshStatus) -> Looked {
    let models = || mesh.nodes.iter().flat_map(|node| &node.model_details);
    match &mesh.default_model {
        None => Looked::wrong(
            "no node has a model that answers",
            "the models that there are only embed",
            "pull one that generates: echo-mesh models pull NAME --on NODE",
        ),
        Some(name) if !models().any(|model| ModelName::of(&model.name) == ModelName::of(name)) => {
            Looked::wrong(
                format!("no node has {name}, the model of tasks that name none"),
                "such tasks wait, and fail",
                format!(
                    "echo-mesh models pull {name} --on NODE, or correct the orchestrator's --default-model"
                ),
            )
        }
        Some(_) => {
            let speaks = models().filter(|model| model.can(&Capability::Completion));
            let mut names: Vec<&str> = speaks.map(|model| model.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            Looked::seen(if names.len() == 1 {
                names[0].to_owned()
            } else {
                format!("{} models", names.len())
            })
        }
    }
}
