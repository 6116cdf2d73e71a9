//! OpenAI's API: what its clients say becomes a task of the mesh, and the news of the task become its chunks.

mod ask;
mod chunk;
mod docs;
mod embed;
mod message;
mod models;
mod refusal;
mod responses;
mod say;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{any, post};

use super::api::{Api, Shared, trace_of};
use super::dialect::Dialect;
use super::error::ApiError;
use super::fields::Fields;
use super::reply;
use ask::Asked;

pub static DIALECT: Dialect = Dialect {
    name: "OpenAI",
    about: "Set the base URL to this address and /v1; any key will do where the edge wants none",
    hint: "; the base URL of OpenAI's API ends in one /v1",
    owns: |first, _| first == "v1",
    header: None,
    routes,
    models: models::said,
    documented: docs::routes,
    refusal: refusal::shape,
};

fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(text))
        .route("/v1/embeddings", post(embed::embeddings))
        .route("/v1/audio/{*kind}", any(no_sound_and_no_pictures))
        .route("/v1/images/{*kind}", any(no_sound_and_no_pictures))
        .merge(responses::routes())
}

/// 404 and not 501: what is 5xx, OpenAI's clients ask again.
async fn no_sound_and_no_pictures(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::not_found(format!("there is no {path}: the models of this mesh make text and vectors"))
}

async fn chat(api: Api, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::chat).await
}

async fn text(api: Api, request: Request) -> Result<Response, ApiError> {
    talk(api, request, ask::text).await
}

/// Translates, runs and answers.
async fn talk(
    api: Api,
    request: Request,
    translate: fn(Fields) -> Result<Asked, ApiError>,
) -> Result<Response, ApiError> {
    let trace = trace_of(request.headers());
    let asked = translate(api.fields(request).await?)?;
    let (shape, streams) = (asked.shape, asked.streams);
    let further = asked.further();
    let choices = 1 + further.len();
    let feed = match choices {
        1 => api.begin(asked.request, trace, streams)?,
        _ => api.begin_several(asked.request, further, trace.as_ref(), streams)?,
    };
    let voice = say::Chunks::new(feed.task(), asked.model, shape, asked.tells_usage, choices);
    reply::answer(api.started(feed), voice, streams).await
}
