//! What the mesh has, as Ollama lists it: `/api/tags`, `/api/ps`, `/api/version`.

use axum::response::Response;
use echo_bus::id::NodeId;
use echo_bus::message::{Capability, MeshStatus, Model, NodeState};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::refusal::json as plain;
use crate::http::api::Api;
use crate::http::error::ApiError;
use crate::http::mesh;

/// The version of Ollama whose API is spoken here. Clients compare it with the first version that has what they need
/// (an editor asks for 0.6.4, an agent that speaks OpenAI's Responses for 0.13.4), so it promises an API and is no
/// version of the mesh. 0.40.0 is the level up to which the routes of text and vectors are served; what a mesh has no
/// engines for (sound, decision models, ollama.com) is 404 in words.
pub const API_LEVEL: &str = "0.40.0";

/// Where a node's description of a model holds what is true only while it is loaded.
const RUNNING: &str = "running";

/// What is said of every model, and is empty where its engine does not say it.
const DETAILS: [&str; 4] = ["format", "family", "parameter_size", "quantization_level"];

/// A time that nobody knows, as Ollama writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What stands for the digest of a model whose engine has none. Clients tell models apart by it, so that each has its
/// own, and the same on every node.
fn digest(name: &str) -> String {
    Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `GET /api/tags`: the union of all nodes, each model once.
pub async fn tags(api: Api) -> Result<Response, ApiError> {
    let known = mesh::known(&api).await?;
    let models: Vec<Value> = api.caller.allowed(mesh::models(&known)).into_iter().map(listed).collect();
    Ok(plain(&json!({ "models": models })))
}

/// A model as its engine describes it.
fn listed(model: &Model) -> Value {
    let mut entry = described(model);
    entry.remove(RUNNING);
    entry.entry("modified_at").or_insert_with(|| NEVER.into());
    // Who says nothing is taken to generate, here as in the choice among nodes.
    let silent = [Capability::Completion];
    let capabilities = if model.capabilities.is_empty() { &silent } else { &model.capabilities[..] };
    entry.insert("capabilities".to_owned(), json!(capabilities));
    entry.into()
}

fn described(model: &Model) -> Map<String, Value> {
    let mut entry = model.extra.clone();
    entry.insert("name".to_owned(), model.name.as_str().into());
    entry.insert("model".to_owned(), model.name.as_str().into());
    entry.insert("size".to_owned(), model.size.into());
    entry.entry("digest").or_insert_with(|| digest(&model.name).into());
    if let Value::Object(details) = entry.entry("details").or_insert_with(|| json!({})) {
        // Some readers have no default for a field that is missing.
        for name in DETAILS {
            details.entry(name).or_insert_with(|| "".into());
        }
        details.entry("families").or_insert_with(|| json!([]));
    }
    entry
}

/// `GET /api/ps`: what is loaded, and on which node. Where the engine tells them, the sizes are those in memory.
pub async fn ps(api: Api) -> Result<Response, ApiError> {
    let known = mesh::known(&api).await?;
    Ok(plain(&json!({ "models": loaded(&api, &known) })))
}

fn loaded(api: &Api, mesh: &MeshStatus) -> Vec<Value> {
    let of = |node: &NodeState| {
        let loaded =
            node.model_details.iter().filter(|model| model.loaded && api.caller.may_use(&model.name));
        loaded.map(|model| running(model, &node.node_id)).collect::<Vec<_>>()
    };
    mesh.nodes.iter().flat_map(of).collect()
}

fn running(model: &Model, node: &NodeId) -> Value {
    let mut entry = described(model);
    entry.remove("modified_at");
    if let Some(Value::Object(running)) = entry.remove(RUNNING) {
        entry.extend(running);
    }
    entry.insert("node".to_owned(), node.as_str().into());
    entry.into()
}

/// `GET /api/version`: whatever the nodes run, and whether there are any.
pub async fn version() -> Response {
    plain(&json!({ "version": API_LEVEL }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_listed_as_its_engine_says() {
        let extra = json!({"digest": "d", "details": {"family": "x"}, "modified_at": "t", "new": 1,
            "running": {"expires_at": "e", "size_vram": 3}});
        let extra = extra.as_object().cloned().unwrap();
        let model = Model {
            name: "m:latest".into(),
            size: 5,
            capabilities: vec!["tools".into()],
            extra,
            ..Model::default()
        };
        assert_eq!(
            listed(&model),
            json!({"name": "m:latest", "model": "m:latest", "size": 5, "digest": "d",
                "details": {"family": "x", "format": "", "parameter_size": "", "quantization_level": "", "families": []},
                "modified_at": "t", "new": 1, "capabilities": ["tools"]})
        );
        let digest = |name: &str| listed(&Model { name: name.into(), ..Model::default() })["digest"].clone();
        assert_eq!(digest("a:latest").as_str().map(str::len), Some(64));
        assert!(digest("a:latest") == digest("a:latest") && digest("a:latest") != digest("b:latest"));
    }

    #[test]
    fn a_loaded_model_has_its_size_in_memory_and_the_list_of_all_that_of_its_file() {
        let extra =
            json!({"digest": "d", "running": {"size": 9, "size_vram": 3}}).as_object().cloned().unwrap();
        let model = Model { name: "m:latest".into(), size: 5, loaded: true, extra, ..Model::default() };
        assert_eq!((listed(&model)["size"].as_u64(), listed(&model).get("size_vram")), (Some(5), None));
        let shown = running(&model, &"node-a".parse().unwrap());
        assert_eq!((shown["size"].as_u64(), shown["size_vram"].as_u64()), (Some(9), Some(3)));
    }
}
