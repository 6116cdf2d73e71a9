//! The port of a part that serves no clients: whether it lives, its numbers, and what it has besides.

use std::future::Future;
use std::pin::Pin;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics;

/// Serves `/health`, `/metrics` and the `others` of this part until the token is cancelled. Boxed, so that a server of HTTP is compiled here
/// and not in each part again.
pub fn serve(
    part: &'static str,
    listener: TcpListener,
    numbers: PrometheusHandle,
    others: Router,
    stop: CancellationToken,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let routes = Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/metrics", get(rendered))
        .with_state(numbers);
    let serving = axum::serve(listener, routes.merge(others)).with_graceful_shutdown(stop.cancelled_owned());
    Box::pin(async move {
        if let Err(error) = serving.await {
            warn!(part, error = &error as &dyn std::error::Error, "its own port is not served any more");
        }
    })
}

async fn rendered(State(numbers): State<PrometheusHandle>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&numbers))
}
