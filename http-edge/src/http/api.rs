//! What all handlers share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request as HttpRequest;
use axum::http::HeaderMap;
use echo_bus::message::Request;
use metrics_exporter_prometheus::PrometheusHandle;

use super::body;
use super::error::ApiError;
use super::fields::Fields;
use super::guard::Guard;
use super::names::{Name, Names};
use super::reply::Started;
use crate::edge::Reads;
use crate::feed::{Choices, Feed};
use crate::limits::ROOM_FOR_CONTINUATION;
use crate::tasks::{Tasks, Wishes};
use crate::watch::Watch;

/// The edge, as a handler sees it; cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

/// What the edge's flags say of its HTTP side.
pub struct Settings {
    pub guard: Guard,
    /// How long the body of a request may stand still.
    pub body_pause: Duration,
    /// The longest time that a task may be kept.
    pub keep_limit: Duration,
}

struct Shared {
    tasks: Arc<Tasks>,
    watch: Arc<Watch>,
    metrics: PrometheusHandle,
    guard: Guard,
    address: SocketAddr,
    body_pause: Duration,
    keep_limit: Duration,
    names: Names,
}

impl Api {
    pub fn new(
        tasks: Arc<Tasks>,
        watch: Arc<Watch>,
        metrics: PrometheusHandle,
        address: SocketAddr,
        settings: Settings,
    ) -> Self {
        let Settings { guard, body_pause, keep_limit } = settings;
        let names = Names::default();
        Self(Arc::new(Shared { tasks, watch, metrics, guard, address, body_pause, keep_limit, names }))
    }

    pub fn tasks(&self) -> &Arc<Tasks> {
        &self.0.tasks
    }

    pub fn watch(&self) -> &Arc<Watch> {
        &self.0.watch
    }

    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Where this edge listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The longest time that a task may be kept.
    pub fn keep_limit(&self) -> Duration {
        self.0.keep_limit
    }

    /// All measurements, for Prometheus.
    pub fn metrics(&self) -> String {
        crate::measure::running(self.tasks().running());
        echo_telemetry::metrics::render(&self.0.metrics)
    }

    /// How large the body of a request may be, and how long it may stand still.
    pub fn body_limits(&self) -> body::Limits {
        let largest = self.tasks().bus.max_payload();
        let bytes = largest.saturating_sub(ROOM_FOR_CONTINUATION).max(largest / 2);
        body::Limits { bytes, pause: self.0.body_pause }
    }

    /// The fields of a request.
    ///
    /// # Errors
    /// 400, 408, 413 or 415, with what is wrong.
    pub async fn fields(&self, request: HttpRequest) -> Result<Fields, ApiError> {
        body::fields(request, self.body_limits()).await
    }

    /// Begins a task that ends with its client; with `streams`, pieces are among the news.
    pub fn begin(&self, request: Request, traceparent: Option<String>, streams: bool) -> Feed {
        self.begin_with(request, Wishes { traceparent, ..Wishes::default() }, streams)
    }

    /// Several answers to one request, `further` beside the first: a task for each.
    pub fn begin_several(
        &self,
        first: Request,
        further: Vec<Request>,
        traceparent: Option<&String>,
        streams: bool,
    ) -> Feed {
        let reads = if streams { Reads::Pieces } else { Reads::End };
        let begin = |request| {
            let wishes = Wishes { traceparent: traceparent.cloned(), ..Wishes::default() };
            self.tasks().begin(request, wishes, reads)
        };
        let first = begin(first);
        Feed::Choices(Box::new(Choices::new(first, further.into_iter().map(begin))))
    }

    /// The same with wishes.
    pub fn begin_with(&self, request: Request, wishes: Wishes, streams: bool) -> Feed {
        let reads = if streams { Reads::Pieces } else { Reads::End };
        Feed::Here(self.tasks().begin(request, wishes, reads))
    }

    /// A task under the edge's own id.
    pub fn started(&self, feed: Feed) -> Started {
        self.started_as(feed, None, None)
    }

    /// A task under the client's own name for it, if it has one.
    pub fn started_as(&self, feed: Feed, name: Option<String>, reserved: Option<Name>) -> Started {
        Started::new(feed, self.tasks().limits.idle_sign, name, reserved)
    }

    /// The clients' own task ids in use.
    pub fn names(&self) -> &Names {
        &self.0.names
    }
}

/// The client's W3C trace context, if it has the form of one.
pub fn trace_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let plain = value.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    (plain && (50..=128).contains(&value.len())).then(|| value.to_owned())
}
