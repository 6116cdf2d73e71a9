//! `GET /status`: the registry, as an orchestrator knows it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use echo_bus::id::ClientName;
use echo_bus::message::{MeshStatus, unix_millis};
use serde::Serialize;

use crate::http::api::Api;
use crate::http::mesh;

#[derive(Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    mesh: &'a MeshStatus,
    edge: Edge<'a>,
}

#[derive(Serialize)]
struct Edge<'a> {
    id: &'a str,
    /// Of the mesh; `/api/version` is the level of Ollama's API.
    version: &'static str,
    running: usize,
    /// Other machines may come without a key (`--open-lan`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    open: bool,
    /// The name of the key that asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a ClientName>,
}

/// `GET /status`.
pub async fn status(api: Api) -> Response {
    let tasks = api.tasks();
    let edge = Edge {
        id: tasks.bus.me().id.as_str(),
        version: env!("CARGO_PKG_VERSION"),
        running: tasks.running(),
        open: api.is_open(),
        client: api.caller.name(),
    };
    match mesh::status(&api).await {
        Ok(mut mesh) => {
            if api.caller.is_limited() {
                limit(&api, &mut mesh);
            }
            Json(Status { mesh: &mesh, edge }).into_response()
        }
        Err(error) => {
            let body = serde_json::json!({
                "nodes": [],
                "node_count": 0,
                "server_time": unix_millis(),
                "success": false,
                "code": "no_orchestrator",
                "error": mesh::silent(&error),
            });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// Takes out the models that the key is not good for.
fn limit(api: &Api, mesh: &mut MeshStatus) {
    for node in &mut mesh.nodes {
        node.models.retain(|model| api.caller.may_use(model));
        node.model_details.retain(|model| api.caller.may_use(&model.name));
    }
    mesh.default_model.take_if(|model| !api.caller.may_use(model));
}
