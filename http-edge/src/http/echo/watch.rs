//! `GET /mesh/watch`: the mesh as it is, and what changes. And what an operator does about it: ends a task that is shown
//! there, drains a node, resumes it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use echo_bus::client::CallError;
use echo_bus::id::NodeId;
use echo_bus::message::{Order, Ordered, Wish};
use echo_bus::subject;
use futures::StreamExt;
use serde_json::json;

use super::kept;
use crate::http::api::Api;
use crate::http::error::ApiError;
use crate::watch::View;

/// How long a node may take to answer; it answers from memory.
const WITHIN: Duration = Duration::from_secs(2);

/// `GET /mesh/watch`.
pub async fn watch(api: Api, asked: HeaderMap) -> Result<Response, ApiError> {
    api.caller.sees_all()?;
    // A foreign page that asks without CORS says no `Origin`. It could not read the stream, but each has a place.
    let is_foreign = asked.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if is_foreign && !asked.contains_key(header::ORIGIN) {
        return Err(ApiError::forbidden("another site's page may not watch the mesh"));
    }
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let events = api.watch().view().map(Ok::<_, Infallible>);
    Ok((Extension(View), headers, Body::from_stream(events)).into_response())
}

/// `DELETE /mesh/tasks/{shown}`: ends what runs. An answer that is kept stays for who has its id.
pub async fn stop(api: Api, Path(shown): Path<String>) -> Result<Response, ApiError> {
    let absent = || {
        ApiError::not_found(
            "no task that goes on is shown under this name: it has ended, or nobody watches by this edge",
        )
    };
    let task = api.watch().task(&shown).ok_or_else(absent)?;
    if !kept::cancel(&api, task).await? {
        return Err(absent());
    }
    Ok(Json(json!({"success": true, "shown": shown})).into_response())
}

/// `POST /nodes/{node}/drain`.
pub async fn drain(api: Api, Path(node): Path<String>) -> Result<Response, ApiError> {
    api.caller.manages()?;
    order(&api, &node, Wish::Drain).await
}

/// `POST /nodes/{node}/resume`.
pub async fn resume(api: Api, Path(node): Path<String>) -> Result<Response, ApiError> {
    api.caller.manages()?;
    order(&api, &node, Wish::Resume).await
}

async fn order(api: &Api, node: &str, wish: Wish) -> Result<Response, ApiError> {
    let node: NodeId = node.parse().map_err(|error| ApiError::bad_request(format!("{error}")))?;
    let answer = api.tasks().bus.call(&subject::order(&node), &Order { wish }, WITHIN).await;
    let Ordered { draining, stopping } = answer.map_err(|error| match error {
        CallError::NoResponders(_) => ApiError::not_found(format!(
            "there is no node {node}, or its agent is older than this: ask its own port, POST /drain"
        )),
        error => {
            ApiError::unavailable(format!("{node} does not answer ({error}); look again, and ask again"))
        }
    })?;
    if stopping && wish == Wish::Resume {
        return Err(ApiError::unavailable(format!("{node} is leaving; start its agent again")));
    }
    Ok(Json(json!({"success": true, "node_id": node, "draining": draining})).into_response())
}
