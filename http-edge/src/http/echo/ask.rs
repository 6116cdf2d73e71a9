//! A prompt as a task of the mesh: the body of `POST /task` and `POST /task/stream`.

use std::time::Duration;

use axum::extract::Request;
use echo_bus::message::{Generate, Request as Ask};
use echo_bus::time;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::edge::Keep;
use crate::http::api::{Api, trace_of};
use crate::http::error::ApiError;
use crate::http::fields::{check_model, wrong};
use crate::http::reply::Started;
use crate::http::{body, image, options};
use crate::tasks::Wishes;

/// The body of `/task` and `/task/stream`.
#[derive(Debug, Deserialize)]
pub struct TaskRequest {
    prompt: String,
    model_hint: Option<String>,
    task_id: Option<String>,
    options: Option<Map<String, Value>>,
    system: Option<String>,
    /// `"json"` or a JSON schema.
    format: Option<Value>,
    think: Option<Value>,
    /// Base64, with a data URL's head or without.
    images: Option<Vec<String>>,
    /// How long the task goes on, and its answer is kept, while nobody listens: `"60s"`, or seconds.
    keep: Option<Value>,
}

/// Reads a task from a request and starts it.
///
/// # Errors
/// 400, 409, 413 or 415, with what is wrong.
pub async fn start(api: &Api, request: Request, streams: bool) -> Result<Started, ApiError> {
    let traceparent = trace_of(request.headers());
    let asked: TaskRequest = body::json(request, api.body_limits()).await?;
    let reserved = match &asked.task_id {
        Some(name) => {
            check_name(name)?;
            Some(api.names().reserve(name)?)
        }
        None => None,
    };
    let keep = asked.keep.as_ref().map(|keep| time_to_keep(keep, api.keep_limit())).transpose()?;
    let keep = keep.map(|time| Keep { time, goes_on: true });
    let name = asked.task_id.clone();
    let wishes = Wishes { traceparent, keep, joins: true, ..Wishes::default() };
    Ok(api.started_as(api.begin_with(ask(asked)?, wishes, streams), name, reserved))
}

fn ask(asked: TaskRequest) -> Result<Ask, ApiError> {
    if asked.prompt.trim().is_empty() {
        return Err(ApiError::bad_request("prompt: is empty; say what you want"));
    }
    let model = asked.model_hint.filter(|model| !model.is_empty());
    check_model("model_hint", model.as_deref().unwrap_or_default())?;
    let mut settings = options::settings(asked.options.unwrap_or_default()).map_err(ApiError::bad_request)?;
    settings.format = asked.format.filter(|format| !format.is_null());
    settings.think = asked.think.filter(|think| !think.is_null());
    Ok(Ask::Generate(Generate {
        model,
        prompt: asked.prompt,
        system: asked.system.unwrap_or_default(),
        images: image::all("images", asked.images.unwrap_or_default())?,
        settings,
        ..Generate::default()
    }))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    if (1..=128).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(ApiError::bad_request("task_id: use 1 to 128 of A-Z a-z 0-9 . _ : -"))
}

fn time_to_keep(keep: &Value, most: Duration) -> Result<Duration, ApiError> {
    let time = time::of_json(keep).map_err(|error| wrong("keep", &error.to_string()))?;
    if time > most {
        return Err(wrong("keep", &format!("at most {} s on this edge (--keep-limit)", most.as_secs())));
    }
    Ok(time)
}
