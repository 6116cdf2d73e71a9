//! `POST /v1/messages/count_tokens`.

use axum::extract::Request;
use axum::response::Response;
use serde_json::json;

use super::ask;
use super::refusal::{id_of, named, new_id, refusal};
use crate::http::api::{Api, trace_of};
use crate::http::count::count;
use crate::http::error::ApiError;

/// `POST /v1/messages/count_tokens`.
pub async fn tokens(api: Api, request: Request) -> Result<Response, ApiError> {
    let trace = trace_of(request.headers());
    let asked = ask::messages(api.fields(request).await?)?;
    let count = count(&api, asked.chat, trace).await.map_err(|failure| refusal(&failure, &asked.model))?;
    let id = count.task().map_or_else(new_id, id_of);
    Ok(named(count.answer(json!({"input_tokens": count.tokens})), &id))
}
