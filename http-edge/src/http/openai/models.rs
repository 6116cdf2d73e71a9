//! `GET /v1/models` and `GET /v1/models/{id}`, in OpenAI's words.

use axum::response::Response;
use echo_bus::message::Model;
use serde_json::{Value, json};

use super::refusal::{json as plain, not_found};
use crate::http::dialect::Listing;
use crate::http::error::ApiError;
use crate::http::{mesh, time};

/// The list, or the one that was asked for.
pub fn said(asked: &Listing<'_>) -> Result<Response, ApiError> {
    let Some(id) = &asked.id else {
        let data: Vec<Value> = asked.models.iter().copied().map(listed).collect();
        return Ok(plain(json!({"object": "list", "data": data})));
    };
    let shown: String = id.chars().take(256).collect();
    // Under the name that was asked for, as Ollama does.
    let named = |model| plain(with_id(model, id));
    asked.find(id).map(named).ok_or_else(|| not_found(&shown, &asked.names()))
}

fn listed(model: &Model) -> Value {
    with_id(model, &model.name)
}

fn with_id(model: &Model, id: &str) -> Value {
    let created = time::seconds_of(mesh::modified(model)).unwrap_or_default();
    json!({"id": id, "object": "model", "created": created, "owned_by": "echo"})
}
