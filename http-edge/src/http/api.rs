//! What all handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request as HttpRequest};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use echo_bus::message::{ReadAnswer, Request};
use metrics_exporter_prometheus::PrometheusHandle;

use super::body;
use super::caller::Caller;
use super::error::ApiError;
use super::fields::Fields;
use super::guard::Guard;
use super::names::{Name, Names};
use super::reply::Started;
use crate::edge::{Owner, Reads};
use crate::feed::{Choices, Feed};
use crate::keys::Keys;
use crate::limits::ROOM_FOR_CONTINUATION;
use crate::tasks::{Reader, Tasks, Wishes};
use crate::watch::Watch;

/// The edge, as all requests share it; cheap to clone.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

/// The edge, as a handler sees it: for the one who asks.
#[derive(Clone)]
pub struct Api {
    shared: Shared,
    pub caller: Caller,
}

/// What the edge's flags say of its HTTP side.
pub struct Settings {
    pub guard: Guard,
    /// The API keys; without them everybody may come.
    pub keys: Option<Arc<Keys>>,
    /// Other machines may come without a key.
    pub open: bool,
    /// How long the body of a request may stand still.
    pub body_pause: Duration,
    /// The longest time that a task may be kept.
    pub keep_limit: Duration,
}

struct Inner {
    tasks: Arc<Tasks>,
    watch: Arc<Watch>,
    metrics: PrometheusHandle,
    url: Arc<str>,
    settings: Settings,
    names: Names,
}

impl Shared {
    pub fn new(
        tasks: Arc<Tasks>,
        watch: Arc<Watch>,
        metrics: PrometheusHandle,
        url: Arc<str>,
        settings: Settings,
    ) -> Self {
        let names = Names::default();
        Self(Arc::new(Inner { tasks, watch, metrics, url, settings, names }))
    }

    pub fn guard(&self) -> &Guard {
        &self.0.settings.guard
    }

    /// The API keys, where they are wanted.
    pub fn keys(&self) -> Option<&Arc<Keys>> {
        self.0.settings.keys.as_ref()
    }
}

/// Only who was let in gets to a handler: a request that nobody has looked at is refused.
impl FromRequestParts<Shared> for Api {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let caller = parts.extensions.remove::<Caller>().ok_or_else(ApiError::no_key)?;
        Ok(Self { shared: shared.clone(), caller })
    }
}

impl Api {
    pub fn tasks(&self) -> &Arc<Tasks> {
        &self.shared.0.tasks
    }

    pub fn watch(&self) -> &Arc<Watch> {
        &self.shared.0.watch
    }

    /// Where clients of this machine reach this edge.
    pub fn url(&self) -> &Arc<str> {
        &self.shared.0.url
    }

    /// The longest time that a task may be kept.
    pub fn keep_limit(&self) -> Duration {
        self.shared.0.settings.keep_limit
    }

    /// Whether other machines may come without a key.
    pub fn is_open(&self) -> bool {
        self.shared.0.settings.open
    }

    /// All measurements, for Prometheus.
    pub fn metrics(&self) -> String {
        crate::measure::running(self.tasks().running());
        echo_telemetry::metrics::render(&self.shared.0.metrics)
    }

    /// How large the body of a request may be, and how long it may stand still.
    pub fn body_limits(&self) -> body::Limits {
        let largest = self.tasks().bus.max_payload();
        let bytes = largest.saturating_sub(ROOM_FOR_CONTINUATION).max(largest / 2);
        body::Limits { bytes, pause: self.shared.0.settings.body_pause }
    }

    /// The fields of a request.
    ///
    /// # Errors
    /// 400, 408, 413 or 415, with what is wrong.
    pub async fn fields(&self, request: HttpRequest) -> Result<Fields, ApiError> {
        body::fields(request, self.body_limits()).await
    }

    /// Begins a task that ends with its client; with `streams`, pieces are among the news.
    ///
    /// # Errors
    /// As for [`Api::reader`].
    pub fn begin(
        &self,
        request: Request,
        traceparent: Option<String>,
        streams: bool,
    ) -> Result<Feed, ApiError> {
        self.begin_with(request, Wishes { traceparent, ..Wishes::default() }, streams)
    }

    /// Several answers to one request, `further` beside the first: a task for each.
    ///
    /// # Errors
    /// As for [`Api::reader`]; none of them has begun then, or those that have end.
    pub fn begin_several(
        &self,
        first: Request,
        further: Vec<Request>,
        traceparent: Option<&String>,
        streams: bool,
    ) -> Result<Feed, ApiError> {
        let reads = if streams { Reads::Pieces } else { Reads::End };
        let wishes = || Wishes { traceparent: traceparent.cloned(), ..Wishes::default() };
        // All have their places before one begins.
        let owners = std::iter::once(&first)
            .chain(&further)
            .map(|request| self.caller.owner(request, self.shared.keys()));
        let owners: Vec<Owner> = owners.collect::<Result<_, _>>()?;
        let requests = std::iter::once(first).chain(further);
        let mut readers =
            requests.zip(owners).map(|(request, owner)| self.tasks().begin(request, wishes(), owner, reads));
        let first = readers.next().expect("there is a first request");
        Ok(Feed::Choices(Box::new(Choices::new(first, readers))))
    }

    /// The same with wishes.
    ///
    /// # Errors
    /// As for [`Api::reader`].
    pub fn begin_with(&self, request: Request, wishes: Wishes, streams: bool) -> Result<Feed, ApiError> {
        let reads = if streams { Reads::Pieces } else { Reads::End };
        self.reader(request, wishes, reads).map(Feed::Here)
    }

    /// Begins a task for who asks.
    ///
    /// # Errors
    /// 403 or 429: the key is not good for it, or not for more of it.
    pub fn reader(&self, request: Request, wishes: Wishes, reads: Reads) -> Result<Reader, ApiError> {
        let owner = self.caller.owner(&request, self.shared.keys())?;
        Ok(self.tasks().begin(request, wishes, owner, reads))
    }

    /// A question about a task, for who asks: to others there is no such task.
    pub fn asks(&self, question: ReadAnswer) -> ReadAnswer {
        ReadAnswer { client: self.caller.name().cloned(), ..question }
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
        &self.shared.0.names
    }
}

/// The client's W3C trace context, if it has the form of one.
pub fn trace_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let plain = value.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    (plain && (50..=128).contains(&value.len())).then(|| value.to_owned())
}
