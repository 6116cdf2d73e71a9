//! What a connection has said and heard so far, counted where it happens: in its bytes, its requests and its answers.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::caller::Peer;
use crate::http::paths;
use crate::watch::View;

/// The counts of one connection. Each wraps around: only whether one has changed is ever asked.
#[derive(Debug, Default)]
pub struct Traffic {
    reads: AtomicU32,
    writes: AtomicU32,
    requests: AtomicU32,
    /// Answers that have not been given to their end.
    open: AtomicU32,
    /// Those of them for which the mesh has nothing to give yet: the client waits, not we.
    owed: AtomicU32,
    /// Whether its last answer was a [`View`].
    views: AtomicBool,
    /// The edge leaves.
    leaves: AtomicBool,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub reads: u32,
    pub writes: u32,
    pub requests: u32,
    pub open: u32,
    pub owed: u32,
    /// The edge leaves, and this connection is a viewer's.
    pub is_left: bool,
}

impl Traffic {
    pub fn counts(&self) -> Counts {
        Counts {
            reads: self.reads.load(Relaxed),
            writes: self.writes.load(Relaxed),
            requests: self.requests.load(Relaxed),
            open: self.open.load(Relaxed),
            owed: self.owed.load(Relaxed),
            is_left: self.leaves.load(Relaxed) && self.views.load(Relaxed),
        }
    }

    /// The edge leaves.
    pub fn leave(&self) {
        self.leaves.store(true, Relaxed);
    }
}

/// A connection's bytes, counted.
pub struct Counted<S> {
    pub stream: S,
    traffic: Arc<Traffic>,
}

impl<S> Counted<S> {
    pub fn new(stream: S, traffic: Arc<Traffic>) -> Self {
        Self { stream, traffic }
    }

    fn wrote(&self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        if matches!(written, Ok(1..)) {
            self.traffic.writes.fetch_add(1, Relaxed);
        }
        Poll::Ready(written)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.traffic.reads.fetch_add(1, Relaxed);
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        bytes: &[IoSlice],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bytes));
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The routes, for one connection.
pub struct Routes {
    router: TowerToHyperService<Router>,
    traffic: Arc<Traffic>,
    peer: Option<Peer>,
}

impl Routes {
    pub fn new(router: Router, traffic: Arc<Traffic>, peer: Option<Peer>) -> Self {
        Self { router: TowerToHyperService::new(router), traffic, peer }
    }
}

impl Service<Request<Incoming>> for Routes {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        paths::tidy(request.uri_mut());
        self.peer.and_then(|peer| request.extensions_mut().insert(peer));
        let debt = Debt::new(self.traffic.clone());
        let answer = self.router.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            debt.traffic.views.store(answer.extensions().get::<View>().is_some(), Relaxed);
            Ok(answer.map(|body| Answer { body, debt }))
        })
    }
}

/// A request that came, until its answer has been given to its end or nobody takes it any more.
struct Debt {
    traffic: Arc<Traffic>,
    owed: bool,
}

impl Debt {
    fn new(traffic: Arc<Traffic>) -> Self {
        for count in [&traffic.requests, &traffic.open, &traffic.owed] {
            count.fetch_add(1, Relaxed);
        }
        Self { traffic, owed: true }
    }

    fn is_owed(&mut self, owed: bool) {
        match (self.owed, owed) {
            (false, true) => self.traffic.owed.fetch_add(1, Relaxed),
            (true, false) => self.traffic.owed.fetch_sub(1, Relaxed),
            _ => return,
        };
        self.owed = owed;
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.is_owed(false);
        self.traffic.open.fetch_sub(1, Relaxed);
    }
}

/// The body of an answer. While the server asks it in vain, the mesh owes the client something; while nobody asks it,
/// the client does not take what is there.
pub struct Answer {
    body: Body,
    debt: Debt,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.debt.is_owed(frame.is_pending());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
