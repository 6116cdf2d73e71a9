//! A small OTLP receiver: takes what the mesh tells, as a collector would.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;

/// A span, as a test looks at it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub service: String,
    pub name: String,
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    pub parent: Vec<u8>,
    pub attributes: BTreeMap<String, String>,
    pub events: Vec<String>,
    /// The spans that it names.
    pub links: Vec<Vec<u8>>,
    pub fails: bool,
    pub kind: i32,
    pub times: (u64, u64),
}

impl Seen {
    pub fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

#[derive(Clone, Default)]
pub struct Receiver {
    url: String,
    spans: Arc<Mutex<Vec<Seen>>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let receiver = Self { url, ..Self::default() };
        let routes = Router::new().route("/v1/traces", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        receiver
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn spans(&self) -> Vec<Seen> {
        self.spans.lock().expect("no test panics here").clone()
    }

    /// All spans of the trace that one of this name belongs to.
    pub fn trace_of(&self, name: &str) -> Vec<Seen> {
        let spans = self.spans();
        let Some(trace) = spans.iter().find(|it| it.name == name).map(|it| it.trace.clone()) else {
            return Vec::new();
        };
        spans.into_iter().filter(|it| it.trace == trace).collect()
    }
}

async fn take(State(receiver): State<Receiver>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("protobuf");
    let mut spans = receiver.spans.lock().expect("no test panics here");
    for resource in request.resource_spans {
        let of = resource.resource.map(|it| words(it.attributes)).unwrap_or_default();
        let service = of.get("service.name").cloned().unwrap_or_default();
        let told = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(told.map(|span| seen(&service, span)));
    }
}

fn seen(service: &str, span: Span) -> Seen {
    Seen {
        service: service.to_owned(),
        name: span.name,
        trace: span.trace_id,
        id: span.span_id,
        parent: span.parent_span_id,
        attributes: words(span.attributes),
        events: span.events.into_iter().map(|event| event.name).collect(),
        links: span.links.into_iter().map(|link| link.span_id).collect(),
        fails: span.status.is_some_and(|status| status.code == 2),
        kind: span.kind,
        times: (span.start_time_unix_nano, span.end_time_unix_nano),
    }
}

fn words(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|it| (it.key, it.value.map(word).unwrap_or_default())).collect()
}

fn word(value: AnyValue) -> String {
    match value.value {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(it)) => it.to_string(),
        Some(any_value::Value::ArrayValue(list)) => {
            list.values.into_iter().map(word).collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    }
}
