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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A client that has said these bytes, and the server's end.
    async fn said(bytes: &[u8]) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(bytes).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_clients_first_bytes_tell_its_version_and_stay_to_be_read() {
        for (bytes, version) in [
            ("GET / HTTP/1.1\r\n", Version::One),
            ("POST / HTTP/1.1\r\n", Version::One),
            ("PROPFIND", Version::One),
            ("PRI * HTTP/2.0\r\n", Version::Unclear),
            ("PR", Version::Unclear),
            ("P", Version::Unclear),
        ] {
            let (_client, mut server) = said(bytes.as_bytes()).await;
            assert_eq!(beginning(&server).await, Some(version), "{bytes}");
            let mut read = vec![0; bytes.len()];
            server.read_exact(&mut read).await.unwrap();
            assert_eq!(read, bytes.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_without_a_word_has_no_version() {
        let (client, server) = said(b"").await;
        drop(client);
        assert_eq!(beginning(&server).await, None);
    }

    #[tokio::test]
    async fn a_request_that_comes_in_two_parts_is_answered_whatever_the_first_was() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", axum::routing::post(|| async { "hello" }));
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(router, listener, shutdown.clone()));
        for (first, rest) in
            [("P", "OST / HTTP/1.1\r\n"), ("POS", "T / HTTP/1.1\r\n"), ("", "POST / HTTP/1.1\r\n")]
        {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.set_nodelay(true).unwrap();
            client.write_all(first.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            let rest = format!("{rest}host: localhost\r\nconnection: close\r\n\r\n");
            client.write_all(rest.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        }
        shutdown.cancel();
        serving.await.unwrap();
    }
}
