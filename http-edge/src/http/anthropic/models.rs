//! `GET /v1/models` and `GET /v1/models/{id}` for Anthropic's clients, page by page.

use axum::Json;
use axum::response::{IntoResponse, Response};
use echo_bus::message::Model;
use serde_json::{Value, json};

use super::refusal::{named, new_id, not_found};
use crate::http::dialect::Listing;
use crate::http::error::ApiError;
use crate::http::fields::wrong;
use crate::http::{mesh, time};

/// On a page, unless the client says otherwise.
const USUAL: usize = 20;
const MOST: usize = 1000;

/// The list, or the one that was asked for.
pub fn said(asked: &Listing<'_>) -> Result<Response, ApiError> {
    let said = match &asked.id {
        None => page(&asked.models, asked.query)?,
        Some(id) => {
            let found = asked.find(id).ok_or_else(|| not_found(id, &asked.names()))?;
            with_id(found, id)
        }
    };
    Ok(named(Json(said).into_response(), &new_id()))
}

/// The models after one, or before one, in the order of the list.
fn page(models: &[&Model], query: &str) -> Result<Value, ApiError> {
    let limit = match parameter(query, "limit") {
        None => USUAL,
        Some(limit) => {
            let number = limit.parse().ok().filter(|number| (1..=MOST).contains(number));
            number.ok_or_else(|| wrong("limit", &format!("a number from 1 to {MOST}")))?
        }
    };
    let place = |name: &str| {
        let Some(id) = parameter(query, name) else { return Ok(None) };
        let place = models.iter().position(|model| mesh::is_named(model, &id));
        place.map(Some).ok_or_else(|| wrong(name, "names no model that is served now"))
    };
    let (page, has_more) = match (place("after_id")?, place("before_id")?) {
        (Some(_), Some(_)) => return Err(wrong("before_id", "not together with after_id")),
        (None, Some(before)) => {
            let from = before.saturating_sub(limit);
            (&models[from..before], from > 0)
        }
        (after, None) => {
            let rest = &models[after.map_or(0, |after| after + 1)..];
            (&rest[..rest.len().min(limit)], rest.len() > limit)
        }
    };
    let id = |model: Option<&&Model>| model.map(|model| model.name.clone());
    let data: Vec<Value> = page.iter().map(|model| with_id(model, &model.name)).collect();
    Ok(json!({"data": data, "has_more": has_more, "first_id": id(page.first()), "last_id": id(page.last())}))
}

fn with_id(model: &Model, id: &str) -> Value {
    let changed = mesh::modified(model);
    let created = if time::seconds_of(changed).is_some() { changed } else { "1970-01-01T00:00:00Z" };
    json!({"type": "model", "id": id, "display_name": id, "created_at": created})
}

/// A parameter of the query, without its escapes.
fn parameter(query: &str, name: &str) -> Option<String> {
    let said = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let (mut bytes, mut rest) = (Vec::with_capacity(said.len()), said.as_bytes());
    while let [first, more @ ..] = rest {
        let digits =
            more.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &more[2..] } else { more };
    }
    String::from_utf8(bytes).ok().filter(|value| !value.is_empty())
}
