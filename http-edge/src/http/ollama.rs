//! Ollama's API: what its clients say becomes a task of the mesh, and the news of the task become its lines.

mod ask;
mod manage;
mod models;
mod say;
#[cfg(test)]
pub mod tests;
mod unload;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use echo_bus::message::{Code, Failure};
use serde_json::Value;

use super::error::ApiError;
use super::fields::Fields;
use super::flow::{self, Started};
use super::task::trace_of;
use super::{Api, body};
use crate::driver;
use ask::Asked;

/// The routes of this dialect.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/", get(|| async { "Ollama is running" }))
        .route("/api/generate", post(generate))
        .route("/api/chat", post(chat))
        .route("/api/embed", post(embed))
        .route("/api/embeddings", post(embeddings))
        .route("/api/show", post(show))
        .route("/api/tags", get(models::tags))
        .route("/api/ps", get(models::ps))
        .route("/api/version", get(models::version))
        .route("/api/pull", post(manage::pull))
        .route("/api/delete", delete(manage::delete))
        .route("/api/create", any(manage::create))
        .route("/api/copy", any(manage::copy))
        .route("/api/push", any(manage::push))
        .route("/api/blobs/{digest}", any(manage::blobs))
        .route("/api/me", any(manage::sign_in))
        .route("/api/signout", any(manage::sign_in))
}

async fn generate(api: State<Api>, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::generate).await
}

async fn chat(api: State<Api>, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::chat).await
}

async fn embed(api: State<Api>, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::embed).await
}

async fn embeddings(api: State<Api>, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::embeddings).await
}

async fn show(api: State<Api>, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::show).await
}

/// Translates, runs and answers.
async fn talk(
    State(api): State<Api>,
    request: Request,
    translate: fn(Fields) -> Result<Asked, ApiError>,
) -> Result<Response, ApiError> {
    let trace = trace_of(request.headers());
    let asked = translate(fields(&api, request).await?)?;
    if unload::is_meant(&asked.request) {
        return unload::everywhere(&api, asked, trace).await;
    }
    let running = driver::start(api.owner(), asked.request, trace, asked.streams);
    let voice = say::Lines::new(asked.model, asked.shape);
    flow::answer(Started::new(running, None, None), voice, asked.streams).await
}

async fn fields(api: &Api, request: Request) -> Result<Fields, ApiError> {
    body::fields(request, api.body_limits()).await
}

/// The words for a failure; `model` as the client wrote it.
fn refusal(failure: &Failure, model: &str) -> ApiError {
    match failure.code {
        Code::ModelNotServed | Code::ModelMissing => not_found(model),
        _ => ApiError::failed(failure),
    }
}

fn not_found(model: &str) -> ApiError {
    ApiError::no_model(format!("model '{model}' not found"))
}

/// An answer that is no stream, with Ollama's own content type.
fn json(value: &Value) -> Response {
    ([("content-type", "application/json; charset=utf-8")], value.to_string()).into_response()
}
