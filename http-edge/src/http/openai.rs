//! OpenAI's API: what its clients say becomes a task of the mesh, and the news of the task become its chunks.

mod ask;
mod chunk;
mod embed;
mod message;
mod models;
mod say;
#[cfg(test)]
mod tests;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
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
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(text))
        .route("/v1/embeddings", post(embed::embeddings))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
}

async fn chat(api: State<Api>, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::chat).await
}

async fn text(api: State<Api>, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::text).await
}

/// Translates, runs and answers.
async fn talk(
    State(api): State<Api>,
    request: Request,
    translate: fn(Fields) -> Result<Asked, ApiError>,
) -> Result<Response, ApiError> {
    let trace = trace_of(request.headers());
    let asked = translate(fields(&api, request).await?)?;
    let (shape, streams) = (asked.shape, asked.streams);
    let running = driver::start(api.owner(), asked.request, trace, streams);
    let voice = say::Chunks::new(running.task, asked.model, shape, asked.tells_usage);
    flow::answer(Started::new(running, None, None), voice, streams).await
}

async fn fields(api: &Api, request: Request) -> Result<Fields, ApiError> {
    body::fields(request, api.body_limits()).await
}

/// The words for a failure; `model` as the client wrote it.
fn refusal(failure: &Failure, model: &str) -> ApiError {
    match failure.code {
        Code::ModelNotServed | Code::ModelMissing => not_found(model, &failure.served),
        _ => ApiError::failed(failure),
    }
}

fn not_found(model: &str, served: &[String]) -> ApiError {
    let mut message = format!("The model `{model}` does not exist");
    if !served.is_empty() {
        message += &format!("; served here: {}", served[..served.len().min(10)].join(", "));
    }
    ApiError::no_model(message).param("model")
}

fn json(value: Value) -> Response {
    axum::response::IntoResponse::into_response(Json(value))
}
