//! The engine's end of a connection: it can be closed from outside, in mid-chunk, or with the whole engine after a flush.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::core::Core;

/// A request's hold on the connection that it came by.
#[derive(Clone)]
pub struct Link {
    closed: CancellationToken,
    doomed: Arc<AtomicBool>,
    short: Arc<AtomicUsize>,
}

impl Link {
    fn new(life: &CancellationToken) -> Self {
        Self { closed: life.child_token(), doomed: Arc::default(), short: Arc::default() }
    }

    /// Closes at once; what has not been flushed is lost.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// The engine dies as soon as what was written so far has left.
    pub fn die_after_flush(&self) {
        self.doomed.store(true, SeqCst);
    }

    /// The next write lacks its last bytes and is the last.
    pub fn hold_back(&self, bytes: usize) {
        self.short.store(bytes, SeqCst);
    }
}

impl Connected<IncomingStream<'_, Gate>> for Link {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.io().link.clone()
    }
}

/// The listener: no delay, and every connection on a wire.
pub struct Gate {
    pub listener: TcpListener,
    pub core: Arc<Core>,
    pub life: CancellationToken,
}

impl Listener for Gate {
    type Io = Wire;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Wire, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    // A socket that is closed already refuses the option; its first read says so.
                    let _ = stream.set_nodelay(true);
                    return (Wire::new(stream, self.core.clone(), &self.life), from);
                }
                // Out of descriptors: the only remedy is to let some connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

pub struct Wire {
    stream: TcpStream,
    core: Arc<Core>,
    link: Link,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Wire {
    fn new(stream: TcpStream, core: Arc<Core>, life: &CancellationToken) -> Self {
        let link = Link::new(life);
        let closed = Box::pin(link.closed.clone().cancelled_owned());
        Self { stream, core, link, closed }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.closed.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let short = self.link.short.load(SeqCst);
        if short == 0 {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        }
        let end = buf.len().saturating_sub(short);
        let wrote =
            if end == 0 { 0 } else { ready!(Pin::new(&mut self.stream).poll_write(cx, &buf[..end]))? };
        if wrote == end {
            self.link.close();
        }
        Poll::Ready(Ok(wrote))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if !self.link.doomed.load(SeqCst) {
            return Poll::Ready(Ok(()));
        }
        self.core.die();
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
