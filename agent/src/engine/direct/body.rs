//! The answer that a connection brings, and what becomes of the connection behind it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};

use super::connection::Connection;
use super::idle::Idle;

/// What is left of an answer. Dropped before its end, it closes the connection; at its end the connection is free.
pub struct Body {
    incoming: Incoming,
    connection: Option<Box<Connection>>,
    idle: Idle,
}

impl Body {
    pub fn new(incoming: Incoming, connection: Box<Connection>, idle: Idle) -> Self {
        Self { incoming, connection: Some(connection), idle }
    }

    /// The next part; `None` at the end.
    pub fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
        let Self { incoming, connection, .. } = self;
        let Some(open) = connection else { return Poll::Ready(None) };
        let part = open.look(cx, |cx| {
            loop {
                match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                    // Trailers say nothing here.
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(part) => return Poll::Ready(Some(Ok(part))),
                        Err(_) => continue,
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => return Poll::Ready(None),
                }
            }
        });
        match &part {
            Poll::Ready(None) => self.connection.take().into_iter().for_each(|free| self.idle.keep(free)),
            Poll::Ready(Some(Err(_))) => self.connection = None,
            _ => {}
        }
        part
    }
}
