//! The agent's own port: whether it lives, its numbers, and for the machine's owner drain, resume and the mesh as it is seen
//! from here.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use echo_bus::host::Host;
use echo_bus::message::Empty;
use echo_bus::{Bus, subject};
use echo_telemetry::port;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long an orchestrator may take to tell of the mesh.
const WITHIN: Duration = Duration::from_secs(2);

/// What the owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Drain,
    Resume,
}

#[derive(Clone)]
struct Shared {
    commands: mpsc::Sender<Command>,
    bus: Bus,
}

/// Serves until the token is cancelled.
pub async fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    commands: mpsc::Sender<Command>,
    bus: Bus,
    stop: CancellationToken,
) {
    let routes = Router::new()
        .route("/drain", post(|state, headers| command(state, headers, Command::Drain)))
        .route("/resume", post(|state, headers| command(state, headers, Command::Resume)))
        .route("/mesh", get(mesh))
        .with_state(Shared { commands, bus });
    port::serve("agent", listener, metrics, routes, stop).await;
}

/// The nodes, as the orchestrator knows them: a machine that has joined reaches the mesh by its agents only.
async fn mesh(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(refused) = refused_from_elsewhere(&headers) {
        return refused;
    }
    match shared.bus.call(&subject::status(), &Empty {}, WITHIN).await {
        Ok(mesh) => axum::Json(mesh).into_response(),
        Err(_) if !shared.bus.link().borrow().up => {
            said(StatusCode::SERVICE_UNAVAILABLE, false, "the agent has no connection to the broker")
        }
        Err(_) => said(StatusCode::SERVICE_UNAVAILABLE, false, "no orchestrator answers"),
    }
}

/// A page that has made its own name point here still sends that name.
fn refused_from_elsewhere(headers: &HeaderMap) -> Option<Response> {
    let local = host_is_local(text(headers, header::HOST)) && origin_is_local(text(headers, header::ORIGIN));
    (!local).then(|| said(StatusCode::FORBIDDEN, false, "ask by an address of this machine or by localhost"))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn command(State(shared): State<Shared>, headers: HeaderMap, command: Command) -> Response {
    if let Some(refused) = refused_from_elsewhere(&headers) {
        return refused;
    }
    // A web page can post across origins unasked, but not with this type.
    let kind = text(&headers, header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return said(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            false,
            "send it with content-type: application/json",
        );
    }
    match shared.commands.send(command).await {
        Ok(()) if command == Command::Drain => said(StatusCode::OK, true, "draining"),
        Ok(()) => said(StatusCode::OK, true, "resumed"),
        Err(_) => said(StatusCode::SERVICE_UNAVAILABLE, false, "the agent is stopping"),
    }
}

fn said(status: StatusCode, success: bool, message: &str) -> Response {
    let name = if success { "status" } else { "error" };
    let body = serde_json::json!({"success": success, name: message}).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// An address of this machine or its network, or a name that cannot belong to a stranger.
fn host_is_local(host: &str) -> bool {
    Host::parse(host).is_some_and(|host| host.is_near(sysinfo::System::host_name().as_deref()))
}

fn origin_is_local(origin: &str) -> bool {
    origin.is_empty() || origin.split_once("://").is_some_and(|(_, host)| host_is_local(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_may_command() {
        for good in [
            "127.0.0.1:9001",
            "localhost",
            "localhost:9001",
            "[::1]:9001",
            "192.168.1.4",
            "a.localhost:1",
            "LOCALHOST",
        ] {
            assert!(host_is_local(good), "{good}");
        }
        for bad in
            ["", "evil.example", "evil.example:9001", "localhost.evil.example", "127.0.0.1.evil.example"]
        {
            assert!(!host_is_local(bad), "{bad}");
        }
        assert!(origin_is_local("") && origin_is_local("http://localhost:3000"));
        assert!(!origin_is_local("https://evil.example") && !origin_is_local("null"));
    }
}
