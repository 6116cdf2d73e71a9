//! The routes of the edge. Each dialect is a folder that translates; what all of them share lies beside.

mod anthropic;
#[cfg(test)]
mod any;
mod api;
mod body;
pub mod caller;
mod coding;
mod count;
mod dialect;
mod dialects;
mod docs;
mod echo;
mod error;
mod fields;
mod guard;
mod image;
mod logprobs;
mod mesh;
mod models;
mod names;
mod ollama;
mod openai;
mod openapi;
mod options;
mod page;
pub mod paths;
mod reminder;
mod reply;
mod route;
mod route_headers;
mod text;
mod time;
mod traced;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::config::Config;
use crate::keys::Keys;
use crate::tasks::Tasks;
use crate::watch::Watch;
use api::{Settings, Shared};
use error::ApiError;
use guard::Guard;

/// Who answers, in the head of each answer.
const SERVER: &str = concat!("echo-edge/", env!("CARGO_PKG_VERSION"));

/// All routes.
pub fn router(
    config: &Config,
    keys: Option<Arc<Keys>>,
    tasks: Arc<Tasks>,
    watch: Arc<Watch>,
    metrics: PrometheusHandle,
    address: SocketAddr,
) -> Router {
    let guard = Guard::new(address, &config.allow_host, &config.allow_origin);
    let (body_pause, keep_limit) = (config.body_timeout, config.keep_limit);
    let open = keys.is_none() && !address.ip().is_loopback();
    let settings = Settings { guard, keys, open, body_pause, keep_limit };
    let url = url(address, config.tls_cert.is_some()).into();
    let shared = Shared::new(tasks, watch, metrics, url, settings);
    let mut routes = Router::new()
        .route("/openapi.json", get(openapi::openapi))
        .route("/docs", get(docs::page))
        .route("/page/{file}", get(page::file));
    routes = routes.merge(models::routes());
    for dialect in dialects::all() {
        routes = routes.merge((dialect.routes)());
    }
    // Routes that are added after this would answer a wrong method without a word.
    let routes = routes.fallback(no_route).method_not_allowed_fallback(wrong_method);
    routes.layer(middleware::from_fn_with_state(shared.clone(), passage)).with_state(shared)
}

/// What clients of this machine reach an edge by that listens there.
fn url(address: SocketAddr, https: bool) -> String {
    let scheme = if https { "https" } else { "http" };
    match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => format!("{scheme}://localhost:{}", address.port()),
        _ => format!("{scheme}://{address}"),
    }
}

/// What is served to clients for whom there is no place.
pub fn crowded() -> Router {
    refusal(ApiError::crowded)
}

/// What is served to clients whose address has too many connections.
pub fn greedy() -> Router {
    refusal(ApiError::greedy)
}

/// What is served while the edge has not reached its broker yet.
pub fn starting() -> Router {
    refusal(ApiError::starting)
}

fn refusal(error: fn() -> ApiError) -> Router {
    Router::new().fallback(async move |request: Request| {
        let dialect = dialects::of_request(request.uri().path(), request.headers());
        // Its body is not waited for: a client that sends half of one would keep the place of a refusal.
        let mut response = error().into_response();
        dialect.shape(&mut response);
        response
    })
}

/// What happens to every request and its answer, whatever the route. One layer, since each costs every request a copy
/// of its route and a box for its future.
async fn passage(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let dialect = dialects::of_request(request.uri().path(), request.headers());
    let id = route_headers::own_id(request.headers());
    let span = traced::begin(&mut request);
    let keys = shared.keys().cloned();
    let admit = |request| caller::admit(keys, request, next);
    let mut response = guard::check(shared.guard(), request, admit).await;
    route_headers::give_back(id, &mut response);
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
    dialect.shape(&mut response);
    traced::end(span, response)
}

async fn no_route(uri: Uri, headers: HeaderMap) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    let (hint, dialect) = paths::hint(uri.path());
    let dialect = dialects::known(&headers).unwrap_or(dialect);
    ApiError::not_found(format!("there is no {path}; {hint}; GET /docs describes them all"))
        .shaped(dialect.refusal)
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    let method: String = method.as_str().chars().take(20).collect();
    let right = paths::methods(uri.path()).unwrap_or_else(|| "GET".to_owned());
    ApiError::method_not_allowed(format!("{path} takes {right}, not {method}"))
}
