//! Connections of clients: HTTP/1.1, or HTTP/2 for a client that begins with it, in TLS where there is a certificate; how
//! many there are at once, of one address too, and how long each may stand still.

mod guests;
mod patience;
#[cfg(test)]
mod tests;
mod tls;
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
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::trace;

use crate::http::caller::Peer;
use crate::measure::{self, Refused};
use guests::{Guest, Guests};
use patience::Late;
use traffic::{Counted, Routes, Traffic};
use version::{Version, beginning};

pub use patience::Patience;
pub use tls::{Error as TlsError, Tls};

/// Connections beyond the limit that are served a refusal at the same time.
pub const REFUSED_AT_ONCE: usize = 64;
/// A connection that is refused has this long to say what it wants, so that the refusal answers something.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// An edge whose broker is there has reached it by then.
const STARTS_WITHIN: Duration = Duration::from_secs(3);
const REFUSED: Patience = Patience { head: REFUSED_WITHIN, idle: REFUSED_WITHIN, stuck: REFUSED_WITHIN };
/// How long a client may take to hear that its connection ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// The longest head of a request over HTTP/1.1.
const HTTP1_HEAD: usize = 64 << 10;
/// What is read before it is taken, and what is kept of an answer for a client that does not read.
const HTTP1_BUFFER: usize = 64 << 10;
/// The longest head of a request over HTTP/2, as it is when it is unpacked.
const HTTP2_HEAD: u32 = 64 << 10;
/// Requests that one connection over HTTP/2 may have open; its client waits with the others.
const HTTP2_STREAMS: u32 = 128;
/// What is kept of each of their answers for a client that does not read.
const HTTP2_UNREAD: usize = 64 << 10;
/// Requests that a client takes back before anybody has looked at them; one that does so with more is not served any
/// longer (CVE-2023-44487).
const HTTP2_TAKEN_BACK: usize = 20;
/// The same of requests that were at fault.
const HTTP2_FAULTY: usize = 128;

/// What a client hears over HTTP/1.1 whose request's head does not come. Its route is not known yet.
const NO_HEAD: &str = "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
    {\"success\":false,\"error\":\"the head of the request did not come in time; send it in one go\",\
    \"code\":\"request_timeout\"}";

/// What is served, to how many and how long.
#[derive(Clone)]
pub struct Doors {
    pub routes: Router,
    pub refusals: Refusals,
    pub connections: usize,
    pub per_address: usize,
    pub patience: Patience,
    pub tls: Option<Arc<Tls>>,
}

/// What is served to who comes beyond a limit.
#[derive(Clone)]
pub struct Refusals {
    /// Beyond that of all connections.
    pub crowded: Router,
    /// Beyond that of one address.
    pub greedy: Router,
}

/// What one connection gets.
#[derive(Clone)]
struct Served {
    routes: Router,
    patience: Patience,
    tls: Option<Arc<Tls>>,
}

/// Who is let in, and to what.
struct Entrance {
    doors: Doors,
    guests: Arc<Guests>,
    places: Arc<Semaphore>,
    beyond: Arc<Semaphore>,
}

impl Entrance {
    fn new(doors: Doors) -> Self {
        let guests = Guests::new(doors.per_address);
        let places = Arc::new(Semaphore::new(doors.connections));
        Self { doors, guests, places, beyond: Arc::new(Semaphore::new(REFUSED_AT_ONCE)) }
    }

    /// The next client, with its place; `None` if it had to be sent away without a word.
    async fn next(&self, listener: &mut TcpListener) -> Option<(TcpStream, Place, Served)> {
        let (stream, peer) = Listener::accept(listener).await;
        let Some(guest) = self.guests.enter(peer.ip()) else {
            measure::refused(Refused::Address);
            // Nobody waits for who has too many already.
            let place = self.beyond.clone().try_acquire_owned().ok()?;
            return Some((stream, Place::new(place, None), self.refusal(&self.doors.refusals.greedy)));
        };
        // Refusals have a limit, too. While all are in use, nobody is taken: who comes waits with the system.
        let (place, served) = tokio::select! {
            biased;
            place = self.places.clone().acquire_owned() => {
                (place, self.served(&self.doors.routes, self.doors.patience))
            }
            place = self.beyond.clone().acquire_owned() => {
                measure::refused(Refused::Full);
                (place, self.refusal(&self.doors.refusals.crowded))
            }
        };
        let place = place.expect("the places are never closed");
        Some((stream, Place::new(place, Some(guest)), served))
    }

    fn served(&self, routes: &Router, patience: Patience) -> Served {
        Served { routes: routes.clone(), patience, tls: self.doors.tls.clone() }
    }

    fn refusal(&self, routes: &Router) -> Served {
        self.served(routes, REFUSED)
    }
}

/// Serves until `shutdown`, then until every connection has finished its request.
pub async fn serve(doors: Doors, mut listener: TcpListener, shutdown: CancellationToken) {
    let open = TaskTracker::new();
    let entrance = Entrance::new(doors);
    while let Some(came) = shutdown.run_until_cancelled(entrance.next(&mut listener)).await {
        let Some((stream, place, served)) = came else { continue };
        open.spawn(connection(stream, served, shutdown.clone(), place));
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// Refuses whoever comes until this is done, if it takes long: who is kept waiting without a word takes the edge for broken.
pub async fn refuse_until<T>(
    refusal: Router,
    tls: Option<Arc<Tls>>,
    listener: &mut TcpListener,
    done: impl Future<Output = T>,
) -> T {
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();
    let places = Arc::new(Semaphore::new(REFUSED_AT_ONCE));
    let served = Served { routes: refusal, patience: REFUSED, tls };
    let mut done = pin!(done);
    // An edge that is only started again is quicker than this: who comes meanwhile waits with the system, and is served.
    if let Ok(done) = timeout(STARTS_WITHIN, &mut done).await {
        return done;
    }
    loop {
        let place = places.clone().acquire_owned();
        let next = async {
            let place = place.await.expect("the places are never closed");
            (Listener::accept(listener).await.0, Place::new(place, None))
        };
        tokio::select! {
            biased;
            done = &mut done => return done,
            (stream, place) = next => {
                tokio::spawn(connection(stream, served.clone(), over.clone(), place));
            }
        }
    }
}

/// A connection's place among all and among those of its address, until it ends.
struct Place {
    _permit: OwnedSemaphorePermit,
    _guest: Option<Guest>,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, guest: Option<Guest>) -> Self {
        measure::connection_begins();
        Self { _permit: permit, _guest: guest }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        measure::connection_ends();
    }
}

async fn connection(stream: TcpStream, served: Served, shutdown: CancellationToken, _place: Place) {
    // Without this a small answer waits 40 ms for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let peer = stream.peer_addr().ok().map(|address| Peer(address.ip()));
    let Some(tls) = served.tls.clone() else {
        let begins = timeout(served.patience.idle, beginning(&stream));
        let Some(Ok(Some(version))) = shutdown.run_until_cancelled(begins).await else { return };
        speak(stream, version, peer, served, shutdown).await;
        return;
    };
    // In a box: every connection without TLS would keep room for it.
    let secured = async {
        let handshake = timeout(served.patience.head, tls.accept(stream));
        match shutdown.run_until_cancelled(handshake).await {
            Some(Ok(Some((stream, version)))) => speak(stream, version, peer, served, shutdown).await,
            Some(Err(_)) => measure::cut(),
            _ => {}
        }
    };
    Box::pin(secured).await;
}

/// Speaks HTTP on a connection until it ends.
async fn speak<S>(
    stream: S,
    version: Version,
    peer: Option<Peer>,
    served: Served,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let traffic = Arc::<Traffic>::default();
    let io = TokioIo::new(Counted::new(stream, traffic.clone()));
    let service = Routes::new(served.routes, traffic.clone(), peer);
    // Pinned here, not where it is waited for: each move of a future costs every connection its size once more.
    let ends = pin!(served.patience.ends(version, &traffic));
    // A server for both versions reads the beginning by itself, and its buffer is twice as large from then on.
    match version {
        Version::One => {
            let mut connection = http1::Builder::new()
                .max_header_size(HTTP1_HEAD)
                .max_buf_size(HTTP1_BUFFER)
                .serve_connection(io, service);
            if let Some(Late::Head) = attend(Pin::new(&mut connection), ends, &traffic, &shutdown).await {
                // Nothing else waits to be written: no answer is open.
                let mut stream = connection.into_parts().io.into_inner().stream;
                let told = async {
                    stream.write_all(NO_HEAD.as_bytes()).await?;
                    stream.shutdown().await
                };
                let _ = timeout(GOODBYE, told).await;
            }
        }
        Version::Unclear => {
            // In a box: it is rare, and every connection would keep room for it.
            let both = async {
                let server = both_versions();
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

fn both_versions() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().max_buf_size(HTTP1_BUFFER);
    server
        .http2()
        .max_header_list_size(HTTP2_HEAD)
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_send_buf_size(HTTP2_UNREAD)
        .max_pending_accept_reset_streams(HTTP2_TAKEN_BACK)
        .max_local_error_reset_streams(HTTP2_FAULTY);
    server
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
            late = ends.as_mut() => {
                if late == Late::Head {
                    measure::cut();
                }
                return Some(late);
            }
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                traffic.leave();
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
