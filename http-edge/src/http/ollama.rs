//! Ollama's API: what its clients say becomes a task of the mesh, and the news of the task become its lines.

mod ask;
mod docs;
mod manage;
mod models;
mod refusal;
mod say;
#[cfg(test)]
mod tests;
mod unload;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, delete, get, post};

use super::api::{Api, Shared, trace_of};
use super::dialect::{Dialect, unlisted};
use super::error::ApiError;
use super::fields::Fields;
use super::page;
use super::reply;
use ask::Asked;

pub static DIALECT: Dialect = Dialect {
    name: "Ollama",
    about: "Set OLLAMA_HOST to this address",
    hint: "; the address for Ollama's API has no path",
    owns: |first, _| first == "api",
    header: None,
    routes,
    models: unlisted,
    documented: docs::routes,
    refusal: refusal::shape,
};

fn routes() -> Router<Shared> {
    Router::new()
        .route("/", get(page::front))
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

async fn generate(api: Api, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::generate).await
}

async fn chat(api: Api, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::chat).await
}

async fn embed(api: Api, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::embed).await
}

async fn embeddings(api: Api, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::embeddings).await
}

async fn show(api: Api, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::show).await
}

/// Translates, runs and answers.
async fn talk(
    api: Api,
    request: Request,
    translate: fn(Fields) -> Result<Asked, ApiError>,
) -> Result<Response, ApiError> {
    let trace = trace_of(request.headers());
    let asked = translate(api.fields(request).await?)?;
    if unload::is_meant(&asked.request) {
        return unload::everywhere(&api, asked, trace).await;
    }
    let feed = api.begin(asked.request, trace, asked.streams)?;
    let voice = say::Lines::new(asked.model, asked.shape);
    reply::answer(api.started(feed), voice, asked.streams).await
}
