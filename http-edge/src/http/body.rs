//! Reading a request's body: its type, its size, its encoding and its JSON, each refused in words.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::fields::Fields;

/// Which types of a body are read as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Types {
    Json,
    /// Also none, and the one that curl declares unasked: Ollama's own examples send no other.
    JsonOrCurl,
}

/// How large a body may be, and how long it may stand still.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bytes: usize,
    pub pause: Duration,
}

/// Reads JSON.
///
/// # Errors
/// 400, 408, 413 or 415, with what is wrong.
pub async fn json<T: DeserializeOwned>(request: Request, limits: Limits) -> Result<T, ApiError> {
    parse(&whole(request, limits, Types::Json).await?)
}

/// Reads the fields of a JSON object.
///
/// # Errors
/// 400, 408, 413 or 415, with what is wrong.
pub async fn fields(request: Request, limits: Limits, types: Types) -> Result<Fields, ApiError> {
    let body = whole(request, limits, types).await?;
    if body.is_empty() {
        return Err(ApiError::bad_request("missing request body"));
    }
    Ok(Fields::new(parse(&body)?))
}

async fn whole(request: Request, limits: Limits, types: Types) -> Result<Bytes, ApiError> {
    check_type(request.headers(), types)?;
    let declared = declared_length(request.headers());
    read(request.into_body(), declared, limits).await
}

fn check_type(headers: &HeaderMap, types: Types) -> Result<(), ApiError> {
    let declared =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    let unasked = essence.is_empty() || essence == "application/x-www-form-urlencoded";
    if unasked && types == Types::JsonOrCurl {
        return Ok(());
    }
    // A web page can send any other type to any site unasked; this one the browser asks about first.
    Err(ApiError::unsupported("send the header Content-Type: application/json"))
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(body: Body, declared: Option<usize>, limits: Limits) -> Result<Bytes, ApiError> {
    let (limit, mut chunks) = (limits.bytes, body.into_data_stream());
    let mut whole: Vec<u8> = Vec::with_capacity(declared.unwrap_or_default().min(limit));
    let mut seen = 0_usize;
    loop {
        let Ok(chunk) = tokio::time::timeout(limits.pause, chunks.next()).await else {
            let waited = limits.pause.as_secs_f64();
            let error = format!("the body stopped after {seen} bytes and did not go on for {waited} s");
            return Err(ApiError::too_slow(error));
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|_| ApiError::bad_request("the body broke off"))?;
        seen += chunk.len();
        // What is too large is read on for a while and dropped, so that the client hears the answer at all.
        if seen <= limit {
            whole.extend_from_slice(&chunk);
        } else if seen > limit.saturating_mul(8) {
            break;
        }
    }
    if seen > limit {
        let size = declared.unwrap_or(seen);
        return Err(ApiError::too_large(format!("the body has {size} bytes and at most {limit} are taken")));
    }
    Ok(whole.into())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| ApiError::bad_request(format!("the body is not UTF-8: {error}")))?;
    // A list would be read as the fields in order.
    if !text.trim_start().starts_with('{') {
        return Err(ApiError::bad_request("the body is not a JSON object"));
    }
    // Which field is wrong is looked for where one is.
    if let Ok(parsed) = serde_json::from_str(text) {
        return Ok(parsed);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{path}: ") };
        ApiError::bad_request(format!("{place}{}", error.into_inner()))
    })?;
    json.end().map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(parsed)
}
