//! What the mesh has, asked of an orchestrator: for the routes that list models.

use std::time::Duration;

use echo_bus::client::CallError;
use echo_bus::message::{Empty, MeshStatus, Model, NodeState};
use echo_bus::model_name::ModelName;
use echo_bus::subject;

use super::api::Api;
use super::error::ApiError;

/// How long an orchestrator may take; it answers from memory.
const WITHIN: Duration = Duration::from_secs(1);

/// The registry.
///
/// # Errors
/// When no orchestrator answers.
pub async fn status(api: &Api) -> Result<MeshStatus, CallError> {
    api.tasks().bus.call(&subject::status(), &Empty {}, WITHIN).await
}

/// The registry, for a route that is nothing without it.
///
/// # Errors
/// 503 that says what to start.
pub async fn known(api: &Api) -> Result<MeshStatus, ApiError> {
    status(api).await.map_err(|error| ApiError::unavailable(silent(&error)))
}

/// What to do about an orchestrator that does not answer.
pub fn silent(error: &CallError) -> String {
    format!(
        "no orchestrator answers ({error}); start one (`echo-mesh orchestrator`), or wait until it is back"
    )
}

/// Each model once, the newest first: where nodes have different ones under the same name, the newest.
pub fn models(mesh: &MeshStatus) -> Vec<&Model> {
    let mut models: Vec<&Model> = mesh.nodes.iter().flat_map(|node| &node.model_details).collect();
    models.sort_by(|a, b| modified(b).cmp(modified(a)).then_with(|| a.name.cmp(&b.name)));
    let mut seen = std::collections::HashSet::new();
    models.retain(|model| seen.insert(model.name.as_str()));
    models
}

/// When a model was changed, as its engine says it; in RFC 3339 the text sorts like the time.
pub fn modified(model: &Model) -> &str {
    model.extra.get("modified_at").and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// A model of that name, however it is spelled.
pub fn is_named(model: &Model, name: &str) -> bool {
    model.name == name || ModelName::of(&model.name) == ModelName::of(name)
}

/// The nodes that have this model.
pub fn having<'a>(mesh: &'a MeshStatus, name: &'a str) -> impl Iterator<Item = &'a NodeState> {
    mesh.nodes.iter().filter(move |node| node.model_details.iter().any(|model| is_named(model, name)))
}
