//! `GET /status`: the registry, as an orchestrator knows it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
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
}

/// `GET /status`.
pub async fn status(State(api): State<Api>) -> Response {
    let tasks = api.tasks();
    let edge =
        Edge { id: tasks.bus.me().id.as_str(), version: env!("CARGO_PKG_VERSION"), running: tasks.running() };
    match mesh::status(&api).await {
        Ok(mesh) => Json(Status { mesh: &mesh, edge }).into_response(),
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
