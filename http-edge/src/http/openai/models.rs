//! `GET /v1/models` and `GET /v1/models/{id}`: the union of all nodes.

use axum::extract::{Path, State};
use axum::response::Response;
use echo_bus::message::Model;
use serde_json::{Value, json};

use super::refusal::{json as plain, not_found};
use crate::http::api::Api;
use crate::http::error::ApiError;
use crate::http::{mesh, time};

/// `GET /v1/models`.
pub async fn list(State(api): State<Api>) -> Result<Response, ApiError> {
    let known = mesh::known(&api).await?;
    let data: Vec<Value> = mesh::models(&known).into_iter().map(listed).collect();
    Ok(plain(json!({"object": "list", "data": data})))
}

/// `GET /v1/models/{id}`.
pub async fn one(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let known = mesh::known(&api).await?;
    let models = mesh::models(&known);
    let found = models.iter().find(|model| mesh::is_named(model, &id));
    let served = || models.iter().map(|model| model.name.clone()).collect::<Vec<_>>();
    let shown: String = id.chars().take(256).collect();
    // Under the name that was asked for, as Ollama does.
    let named = |model: &&Model| plain(with_id(model, &id));
    found.map(named).ok_or_else(|| not_found(&shown, &served()))
}

fn listed(model: &Model) -> Value {
    with_id(model, &model.name)
}

fn with_id(model: &Model, id: &str) -> Value {
    let created = time::seconds_of(mesh::modified(model)).unwrap_or_default();
    json!({"id": id, "object": "model", "created": created, "owned_by": "echo"})
}
