//! One connection, moved by whoever reads from it.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::bell::Bell;

/// A connection without a task of its own. Dropping it closes it.
pub struct Connection {
    sender: SendRequest<String>,
    /// Reads and writes; absent once it is over.
    driver: Option<http1::Connection<TokioIo<TcpStream>, String>>,
    bell: Bell,
}

impl Connection {
    /// Speaks HTTP on a new connection.
    pub async fn begin(io: TokioIo<TcpStream>) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(io).await?;
        Ok(Self { sender, driver: Some(driver), bell: Bell::new() })
    }

    /// Sends a request, and waits for the head of its answer. The error has the request if it never left.
    pub async fn ask(
        &mut self,
        request: Request<String>,
    ) -> Result<Response<Incoming>, TrySendError<Request<String>>> {
        let Self { sender, driver, bell } = self;
        bell.ring();
        let mut answer = pin!(sender.try_send_request(request));
        std::future::poll_fn(|cx| {
            bell.look(cx, |cx| {
                drive(driver, cx);
                answer.as_mut().poll(cx)
            })
        })
        .await
    }

    /// Lets it read and write, and then looks at what has come of that.
    pub fn look<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Self { driver, bell, .. } = self;
        bell.look(cx, |cx| {
            drive(driver, cx);
            look(cx)
        })
    }

    /// Whether it can take a request. It finds out whether the other end has closed it meanwhile.
    pub fn is_free(&mut self) -> bool {
        // With nobody to wake: who has waited for the answer before is not kept for it.
        self.bell.forget();
        drive(&mut self.driver, &mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// Once it is over it is dropped: whatever waits for it hears that it is.
fn drive(driver: &mut Option<http1::Connection<TokioIo<TcpStream>, String>>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
        *driver = None;
    }
}
