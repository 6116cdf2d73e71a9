//! The routes of the edge. Each dialect is one file that translates; all of them run tasks by the same driver.

mod body;
mod dialect;
mod docs;
mod error;
mod fields;
mod flow;
mod guard;
mod image;
mod logprobs;
mod mesh;
mod ollama;
mod openai;
mod openapi;
mod options;
mod status;
mod stream;
mod task;
mod time;
mod trail;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::config::{Config, ROOM_FOR_CONTINUATION};
use crate::measure;
use crate::owner::Owner;
use dialect::Dialect;
use error::ApiError;
use guard::Guard;

/// What the handlers share.
#[derive(Clone)]
struct Api(Arc<Shared>);

struct Shared {
    owner: Arc<Owner>,
    metrics: PrometheusHandle,
    guard: Guard,
    address: SocketAddr,
    /// The clients' own task ids in use.
    names: Mutex<HashSet<String>>,
}

/// All routes.
pub fn router(config: &Config, owner: Arc<Owner>, metrics: PrometheusHandle, address: SocketAddr) -> Router {
    let guard = Guard::new(address, &config.allow_host, &config.allow_origin);
    let api = Api(Arc::new(Shared { owner, metrics, guard, address, names: Mutex::default() }));
    Router::new()
        .route("/task", post(task::whole))
        .route("/task/stream", post(stream::streamed))
        .route("/status", get(status::status))
        .route("/health", get(|| async { "ok" }))
        .route("/metrics", get(metrics_text))
        .merge(ollama::routes())
        .merge(openai::routes())
        .merge(openapi::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(api.clone(), passage))
        .with_state(api)
}

/// What happens to every request and its answer, whatever the route. One layer, since each costs every request a copy
/// of its route and a box for its future.
async fn passage(State(api): State<Api>, request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    let id = trail::own_id(request.headers());
    let mut response = guard::check(&api.0.guard, request, next).await;
    trail::give_back(id, &mut response);
    dialect.shape(&mut response);
    response
}

async fn metrics_text(State(api): State<Api>) -> impl IntoResponse {
    measure::running(api.0.owner.running());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.0.metrics.render())
}

async fn no_route(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::not_found(format!(
        "there is no {path}; the routes are POST /task, POST /task/stream, GET /status, GET /health, GET /metrics, \
         Ollama's under /api and OpenAI's under /v1; GET /docs describes them"
    ))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    let right = match path.as_str() {
        "/api/delete" => "DELETE",
        "/api/tags" | "/api/ps" | "/api/version" | "/v1/models" => "GET",
        path if ["/task", "/api/", "/v1/"].iter().any(|with| path.starts_with(with)) => "POST",
        _ => "GET",
    };
    ApiError::method_not_allowed(format!("{path} takes {right}, not {method}"))
}

impl Api {
    fn owner(&self) -> &Arc<Owner> {
        &self.0.owner
    }

    /// The largest body of a request.
    fn longest_body(&self) -> usize {
        let largest = self.owner().bus.max_payload();
        largest.saturating_sub(ROOM_FOR_CONTINUATION).max(largest / 2)
    }

    /// Reserves a client's own task id for as long as the answer lives.
    fn reserve(&self, name: &str) -> Result<Name, ApiError> {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.insert(name.to_owned()) {
            return Err(ApiError::conflict(format!(
                "task_id {name:?} is in use; wait for its end or choose another"
            )));
        }
        Ok(Name { api: self.clone(), name: name.to_owned() })
    }
}

/// A client's own task id, in use.
pub struct Name {
    api: Api,
    name: String,
}

impl Drop for Name {
    fn drop(&mut self) {
        self.api.0.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
