//! The mesh's own dialect: `/task`, `/task/stream`, answers that are joined again, and what is known of the mesh.

mod ask;
mod docs;
mod kept;
mod say;
mod status;
mod watch;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use super::api::{Api, Shared};
use super::dialect::{Dialect, unlisted};
use super::error::ApiError;
use super::reply;
use say::TaskVoice;

pub static DIALECT: Dialect = Dialect {
    name: "Echo",
    about: "The mesh's own routes",
    hint: "",
    owns: |_, _| true,
    header: None,
    routes,
    models: unlisted,
    documented: docs::routes,
    refusal,
};

fn routes() -> Router<Shared> {
    Router::new()
        .route("/task", post(whole))
        .route("/task/stream", post(streamed))
        .route("/task/{task}", get(kept::state).delete(kept::stop))
        .route("/task/{task}/stream", get(kept::stream))
        .route("/mesh/watch", get(watch::watch))
        .route("/mesh/tasks/{shown}", delete(watch::stop))
        .route("/nodes/{node}/drain", post(watch::drain))
        .route("/nodes/{node}/resume", post(watch::resume))
        .route("/status", get(status::status))
        .route("/health", get(|| async { "ok" }))
        .route("/metrics", get(metrics))
}

/// `POST /task`: one prompt, one whole answer.
async fn whole(api: Api, request: Request) -> Result<Response, ApiError> {
    let started = ask::start(&api, request, false).await?;
    let voice = TaskVoice::new(&started, api.url().clone(), 0);
    reply::answer(started, voice, false).await
}

/// `POST /task/stream`: one prompt, its answer as server-sent events while it is made.
async fn streamed(api: Api, request: Request) -> Result<Response, ApiError> {
    let started = ask::start(&api, request, true).await?;
    let voice = TaskVoice::new(&started, api.url().clone(), 0);
    reply::answer(started, voice, true).await
}

async fn metrics(api: Api) -> Result<impl IntoResponse, ApiError> {
    api.caller.sees_all()?;
    Ok(([("content-type", echo_telemetry::metrics::CONTENT_TYPE)], api.metrics()))
}

/// An error is its own shape.
fn refusal(error: &ApiError) -> Value {
    serde_json::to_value(error).unwrap_or_else(|_| json!({"success": false, "error": error.message()}))
}
