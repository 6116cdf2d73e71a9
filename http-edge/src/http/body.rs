//! Reading a request's body: its type, its size, its encoding and its JSON, each refused in words.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::fields::Fields;
use super::{coding, text};

/// Bytes a second. No line is slower over the whole of a large body; a client may be, to keep a place.
const SLOWEST: usize = 4 << 10;

/// How large a body may be, how long it may stand still, and how long it may come more slowly than [`SLOWEST`].
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
    parse(&whole(request, limits).await?)
}

/// Reads the fields of a JSON object.
///
/// # Errors
/// 400, 408, 413 or 415, with what is wrong.
pub async fn fields(request: Request, limits: Limits) -> Result<Fields, ApiError> {
    let body = whole(request, limits).await?;
    if body.is_empty() {
        return Err(ApiError::bad_request("missing request body"));
    }
    Ok(Fields::new(parse(&body)?))
}

/// The text of a body, decoded and without what is no text.
async fn whole(request: Request, limits: Limits) -> Result<String, ApiError> {
    check_type(request.headers())?;
    let codings = coding::of(request.headers())?;
    let declared = declared_length(request.headers());
    let body = read(request.into_body(), declared, limits).await?;
    let text = text::of(coding::decoded(body, &codings, limits.bytes).await?);
    // What stands for a byte that is no text takes three.
    if text.len() > limits.bytes {
        return Err(too_large(text.len(), limits.bytes));
    }
    Ok(text)
}

/// Refuses what says of itself that it is something else than JSON. Clients send that under many names or none, and
/// Ollama reads it under each. A web page may send some of them to any site unasked: from there the guard lets nobody in.
fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let declared =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Some libraries send it twice.
    let essence = declared.split([';', ',']).next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = [
        "",
        "*/*",
        "application/json",
        "application/octet-stream",
        // What curl declares unasked.
        "application/x-www-form-urlencoded",
        "application/x-ndjson",
        "text/json",
        "text/plain",
    ];
    if known.contains(&essence.as_str())
        || (essence.starts_with("application/") && essence.ends_with("+json"))
    {
        return Ok(());
    }
    Err(ApiError::unsupported("send the header Content-Type: application/json"))
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(body: Body, declared: Option<usize>, limits: Limits) -> Result<Vec<u8>, ApiError> {
    let (limit, mut chunks) = (limits.bytes, body.into_data_stream());
    let mut whole: Vec<u8> = Vec::with_capacity(declared.unwrap_or_default().min(limit));
    let (mut seen, began) = (0_usize, Instant::now());
    loop {
        let still = Instant::now() + limits.pause;
        let until = still.min(began + limits.pause + Duration::from_secs((seen / SLOWEST) as u64));
        let Ok(chunk) = timeout_at(until, chunks.next()).await else {
            crate::measure::cut();
            let drips = (until < still).then(|| began.elapsed());
            return Err(too_slow(seen, drips, limits.pause));
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
        return Err(too_large(declared.unwrap_or(seen), limit));
    }
    Ok(whole)
}

/// `drips` is how long it took in all, if it never stood still for as long as `pause`.
fn too_slow(seen: usize, drips: Option<Duration>, pause: Duration) -> ApiError {
    ApiError::too_slow(match drips {
        Some(took) => format!("the body came too slowly: {seen} bytes in {} s", took.as_secs()),
        None => {
            let pause = pause.as_secs_f64();
            format!("the body stopped after {seen} bytes and did not go on for {pause} s")
        }
    })
}

fn too_large(size: usize, limit: usize) -> ApiError {
    ApiError::too_large(format!("the body has {size} bytes and at most {limit} are taken"))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
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
        let place = if path == "." || path == "?" { String::new() } else { format!("{path}: ") };
        ApiError::bad_request(format!("{place}{}", error.into_inner()))
    })?;
    json.end().map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(parsed)
}
