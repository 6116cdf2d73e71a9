//! The root of a request's trace: below the client's own span where it names one. Tasks find it in the head of the request,
//! where they look for the client's.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use echo_telemetry::{Kind, Span, attribute};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::api::trace_of;

const TRACEPARENT: &str = "traceparent";

/// Begins the span of a request that may run a task; nothing without tracing.
pub fn begin(request: &mut Request) -> Span {
    if request.method() != Method::POST {
        return Span::none();
    }
    let Some(route) = request.extensions().get::<MatchedPath>().cloned() else { return Span::none() };
    let parent = trace_of(request.headers());
    let mut span = Span::begin(|| format!("POST {}", route.as_str()).into(), Kind::Server, parent.as_deref());
    if let Some(own) = span.traceparent().and_then(|own| HeaderValue::from_str(&own).ok()) {
        request.headers_mut().insert(TRACEPARENT, own);
    }
    if span.is_recorded() {
        span.set([
            attribute("http.request.method", "POST"),
            attribute("http.route", route.as_str().to_owned()),
        ]);
    }
    span
}

/// The span ends with the last byte of the answer, or where the client leaves.
pub fn end(mut span: Span, response: Response) -> Response {
    if !span.is_recorded() {
        return response;
    }
    let status = response.status();
    span.set([attribute("http.response.status_code", i64::from(status.as_u16()))]);
    if status.is_server_error() {
        span.fail(status.as_str().to_owned());
    }
    response.map(|body| Body::new(Traced { body, span }))
}

/// A body that ends a span.
struct Traced {
    body: Body,
    span: Span,
}

impl HttpBody for Traced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.span.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
