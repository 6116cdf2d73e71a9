//! Connections of clients: HTTP/1.1, or HTTP/2 for a client that begins with it.

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::trace;

/// How HTTP/2 begins. No method of HTTP/1.1 has the same first bytes.
const HTTP2: &[u8] = b"PRI";

/// Serves until `shutdown`, then until every connection has finished its request.
pub async fn serve(router: Router, mut listener: TcpListener, shutdown: CancellationToken) {
    let connections = GracefulShutdown::new();
    loop {
        let accepted = Listener::accept(&mut listener);
        let Some((stream, _)) = shutdown.run_until_cancelled(accepted).await else { break };
        tokio::spawn(connection(router.clone(), stream, connections.watcher(), shutdown.clone()));
    }
    drop(listener);
    connections.shutdown().await;
}

async fn connection(router: Router, stream: TcpStream, watcher: Watcher, shutdown: CancellationToken) {
    // Without this a small answer waits 40 ms for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let Some(Some(beginning)) = shutdown.run_until_cancelled(beginning(&stream)).await else { return };
    let (io, service) = (TokioIo::new(stream), TowerToHyperService::new(router));
    // A server for both versions reads the beginning by itself, and its buffer is twice as large from then on.
    let served = match beginning {
        Version::One => {
            let served = watcher.watch(http1::Builder::new().serve_connection(io, service)).await;
            served.map_err(Into::into)
        }
        Version::Unclear => {
            let server = auto::Builder::new(TokioExecutor::new());
            // In a box: it is rare, and every connection would keep room for it.
            Box::pin(watcher.watch(server.serve_connection(io, service).into_owned())).await
        }
    };
    if let Err(error) = served {
        trace!(%error, "a connection broke");
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Version {
    One,
    /// HTTP/2, or too few bytes to tell.
    Unclear,
}

/// Waits for the first bytes and leaves them to be read; `None` if there will be none.
async fn beginning(stream: &TcpStream) -> Option<Version> {
    let mut bytes = [0; HTTP2.len()];
    match stream.peek(&mut bytes).await {
        Ok(0) | Err(_) => None,
        Ok(read) => Some(if HTTP2.starts_with(&bytes[..read]) { Version::Unclear } else { Version::One }),
    }
}
