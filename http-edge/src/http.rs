//! The routes of the edge. Each dialect is one file that translates; all of them run tasks by the same driver.

mod body;
mod coding;
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
pub mod paths;
mod status;
mod stream;
mod task;
mod text;
mod time;
mod trail;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
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

/// Who answers, in the head of each answer.
const SERVER: &str = concat!("echo-edge/", env!("CARGO_PKG_VERSION"));
/// What the handlers share.
#[derive(Clone)]
struct Api(Arc<Shared>);

struct Shared {
    owner: Arc<Owner>,
    metrics: PrometheusHandle,
    guard: Guard,
    address: SocketAddr,
    /// How long the body of a request may stand still.
    body_pause: Duration,
    /// The clients' own task ids in use.
    names: Mutex<HashSet<String>>,
}

/// All routes.
pub fn router(config: &Config, owner: Arc<Owner>, metrics: PrometheusHandle, address: SocketAddr) -> Router {
    let guard = Guard::new(address, &config.allow_host, &config.allow_origin);
    let api = Api(Arc::new(Shared {
        owner,
        metrics,
        guard,
        address,
        body_pause: config.body_timeout,
        names: Mutex::default(),
    }));
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

/// What is served to clients for whom there is no place.
pub fn refusal() -> Router {
    Router::new().fallback(async |request: Request| {
        let dialect = Dialect::of(request.uri().path());
        // Its body is not waited for: a client that sends half of one would keep the place of a refusal.
        let mut response = ApiError::crowded().into_response();
        dialect.shape(&mut response);
        response
    })
}

/// What happens to every request and its answer, whatever the route. One layer, since each costs every request a copy
/// of its route and a box for its future.
async fn passage(State(api): State<Api>, request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    let id = trail::own_id(request.headers());
    let mut response = guard::check(&api.0.guard, request, next).await;
    trail::give_back(id, &mut response);
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
    dialect.shape(&mut response);
    response
}

async fn metrics_text(State(api): State<Api>) -> impl IntoResponse {
    measure::running(api.0.owner.running());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.0.metrics.render())
}

async fn no_route(uri: Uri, headers: HeaderMap) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    let (hint, dialect) = paths::hint(uri.path());
    if dialect == Dialect::Anthropic || headers.contains_key("anthropic-version") {
        let error = format!(
            "there is no {path}: this mesh does not speak Anthropic's API. It speaks OpenAI's (POST \
             /v1/chat/completions, GET /v1/models), Ollama's (POST /api/chat) and its own; GET /docs describes them"
        );
        return ApiError::not_found(error).to(Dialect::Anthropic);
    }
    ApiError::not_found(format!("there is no {path}; {hint}; GET /docs describes them all")).to(dialect)
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    let right = paths::known(uri.path()).map_or("GET", |route| &route.method);
    ApiError::method_not_allowed(format!("{path} takes {right}, not {method}"))
}

impl Api {
    fn owner(&self) -> &Arc<Owner> {
        &self.0.owner
    }

    /// How large the body of a request may be, and how long it may stand still.
    fn body_limits(&self) -> body::Limits {
        let largest = self.owner().bus.max_payload();
        let bytes = largest.saturating_sub(ROOM_FOR_CONTINUATION).max(largest / 2);
        body::Limits { bytes, pause: self.0.body_pause }
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
