//! Connections of clients: HTTP/1.1, or HTTP/2 for a client that begins with it; how many there are at once, and how
//! long each may stand still.

mod patience;
mod traffic;
mod version;

use std::fmt::Display;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::trace;

use crate::http::caller::Peer;
use crate::measure;
use patience::Late;
use traffic::{Counted, Routes, Traffic};
use version::{Version, beginning};

pub use patience::Patience;

/// Connections beyond the limit that are served a refusal at the same time.
pub const REFUSED_AT_ONCE: usize = 64;
/// A connection that is refused has this long to say what it wants, so that the refusal answers something.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// An edge whose broker is there has reached it by then.
const STARTS_WITHIN: Duration = Duration::from_secs(3);
const REFUSED: Patience = Patience { head: REFUSED_WITHIN, idle: REFUSED_WITHIN, stuck: REFUSED_WITHIN };
/// How long a client over HTTP/2 may take to hear that its connection ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a client hears over HTTP/1.1 whose request's head does not come. Its route is not known yet.
const NO_HEAD: &str = "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
    {\"success\":false,\"error\":\"the head of the request did not come in time; send it in one go\",\
    \"code\":\"request_timeout\"}";

/// What is served, to how many and how long.
#[derive(Clone)]
pub struct Doors {
    pub routes: Router,
    /// What is served to who comes beyond the limit.
    pub refusal: Router,
    pub connections: usize,
    pub patience: Patience,
}

impl Doors {
    fn refused(&self) -> (Router, Patience) {
        (self.refusal.clone(), REFUSED)
    }
}

/// Serves until `shutdown`, then until every connection has finished its request.
pub async fn serve(doors: Doors, mut listener: TcpListener, shutdown: CancellationToken) {
    let open = TaskTracker::new();
    let places = Arc::new(Semaphore::new(doors.connections));
    let beyond = Arc::new(Semaphore::new(REFUSED_AT_ONCE));
    let mut next = async || {
        let (stream, _) = Listener::accept(&mut listener).await;
        // Refusals have a limit, too. While all are in use, nobody is taken: who comes waits with the system.
        tokio::select! {
            biased;
            place = places.clone().acquire_owned() => (stream, place, (doors.routes.clone(), doors.patience)),
            place = beyond.clone().acquire_owned() => (stream, place, doors.refused()),
        }
    };
    while let Some((stream, place, served)) = shutdown.run_until_cancelled(next()).await {
        let place = Place::new(place.expect("the places are never closed"));
        open.spawn(connection(stream, served, shutdown.clone(), place));
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// Refuses whoever comes until this is done, if it takes long: who is kept waiting without a word takes the edge for broken.
pub async fn refuse_until<T>(
    refusal: Router,
    listener: &mut TcpListener,
    done: impl Future<Output = T>,
) -> T {
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();
    let places = Arc::new(Semaphore::new(REFUSED_AT_ONCE));
    let mut done = pin!(done);
    // An edge that is only started again is quicker than this: who comes meanwhile waits with the system, and is served.
    if let Ok(done) = timeout(STARTS_WITHIN, &mut done).await {
        return done;
    }
    loop {
        let place = places.clone().acquire_owned();
        let next = async {
            let place = place.await.expect("the places are never closed");
            (Listener::accept(listener).await.0, Place::new(place))
        };
        tokio::select! {
            biased;
            done = &mut done => return done,
            (stream, place) = next => {
                tokio::spawn(connection(stream, (refusal.clone(), REFUSED), over.clone(), place));
            }
        }
    }
}

/// A connection's place among all, until it ends.
struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        measure::connection_begins();
        Self { _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        measure::connection_ends();
    }
}

async fn connection(
    stream: TcpStream,
    (routes, patience): (Router, Patience),
    shutdown: CancellationToken,
    _place: Place,
) {
    // Without this a small answer waits 40 ms for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let begins = timeout(patience.idle, beginning(&stream));
    let Some(Ok(Some(version))) = shutdown.run_until_cancelled(begins).await else { return };
    let peer = stream.peer_addr().ok().map(|address| Peer(address.ip()));
    let traffic = Arc::<Traffic>::default();
    let io = TokioIo::new(Counted::new(stream, traffic.clone()));
    let service = Routes::new(routes, traffic.clone(), peer);
    // Pinned here, not where it is waited for: each move of a future costs every connection its size once more.
    let ends = pin!(patience.ends(version, &traffic));
    // A server for both versions reads the beginning by itself, and its buffer is twice as large from then on.
    match version {
        Version::One => {
            let mut connection = http1::Builder::new().serve_connection(io, service);
            if let Some(Late::Head) = attend(Pin::new(&mut connection), ends, &traffic, &shutdown).await {
                // Nothing else waits to be written: no answer is open.
                let _ = connection.into_parts().io.into_inner().stream.try_write(NO_HEAD.as_bytes());
            }
        }
        Version::Unclear => {
            // In a box: it is rare, and every connection would keep room for it.
            let both = async {
                let server = auto::Builder::new(TokioExecutor::new());
                let mut connection = pin!(server.serve_connection(io, service));
                if attend(connection.as_mut(), ends, &traffic, &shutdown).await.is_some() {
                    connection.as_mut().graceful_shutdown();
                    let _ = timeout(GOODBYE, connection).await;
                }
            };
            Box::pin(both).await;
        }
    }
}

/// Serves a connection until it ends, or until it has stood still for too long.
async fn attend<C: GracefulConnection<Error: Display>>(
    mut connection: Pin<&mut C>,
    mut ends: Pin<&mut impl Future<Output = Late>>,
    traffic: &Traffic,
    shutdown: &CancellationToken,
) -> Option<Late> {
    let mut stopping = false;
    loop {
        tokio::select! {
            // First what moves it, then whether it has moved.
            biased;
            served = connection.as_mut() => {
                if let Err(error) = served {
                    trace!(%error, "a connection broke");
                }
                return None;
            }
            late = ends.as_mut() => return Some(late),
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                traffic.leave();
                connection.as_mut().graceful_shutdown();
            }
        }
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
    async fn a_viewer_that_reads_nothing_does_not_keep_the_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let view = || async {
            let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 1 << 16]));
            (axum::Extension(crate::watch::View), axum::body::Body::from_stream(endless))
        };
        let router = Router::new().route("/", axum::routing::get(view));
        let shutdown = CancellationToken::new();
        let day = Duration::from_secs(86_400);
        let patience = Patience { head: day, idle: day, stuck: day };
        let doors = Doors { routes: router.clone(), refusal: router, connections: 9, patience };
        let serving = tokio::spawn(serve(doors, listener, shutdown.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        client.readable().await.unwrap();
        shutdown.cancel();
        timeout(Duration::from_secs(60), serving).await.expect("the server ends").unwrap();
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
        let patience = Patience { head: GOODBYE, idle: GOODBYE, stuck: GOODBYE };
        let doors = Doors { routes: router.clone(), refusal: router, connections: 9, patience };
        let serving = tokio::spawn(serve(doors, listener, shutdown.clone()));
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
