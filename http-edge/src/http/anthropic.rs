//! Anthropic's API: what its clients say becomes a task of the mesh, and the news of the task become the events of blocks.

mod ask;
mod count;
mod docs;
mod message;
mod models;
mod refusal;
mod say;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, post};
use echo_bus::message::Request as Asks;

use super::api::{Api, Shared, trace_of};
use super::dialect::Dialect;
use super::error::ApiError;
use super::reply;

pub static DIALECT: Dialect = Dialect {
    name: "Anthropic",
    about: "Set ANTHROPIC_BASE_URL to this address, without /v1; any key will do where the edge wants none",
    hint: "; the base URL of Anthropic's API has no /v1",
    header: Some("anthropic-version"),
    owns: |first, second| first == "v1" && second == "messages",
    routes,
    models: models::said,
    documented: docs::routes,
    refusal: refusal::shape,
};

fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count::tokens))
        .route("/v1/messages/batches", any(no_batches))
        .route("/v1/messages/batches/{*rest}", any(no_batches))
}

/// `POST /v1/messages`: the next message of a conversation, whole or as events.
async fn messages(api: Api, request: Request) -> Result<Response, ApiError> {
    let trace = trace_of(request.headers());
    let asked = ask::messages(api.fields(request).await?)?;
    let feed = api.begin(Asks::Chat(asked.chat), trace, asked.streams)?;
    let task = feed.task().to_string();
    let voice = say::Events::new(&task, asked.model);
    let answer = reply::answer(api.started(feed), voice, asked.streams).await;
    let answer = answer.map_err(|error| error.of(&task, "", 0))?;
    Ok(refusal::named(answer, &refusal::id_of(&task)))
}

async fn no_batches() -> ApiError {
    ApiError::not_found("batches are not served here; send each request to POST /v1/messages")
}
