//! Traces: one for each request, through all parts of the mesh, told to an OTLP receiver. Off unless an address is given, and
//! then nothing is made, kept or sent. And what all parts do alike with their numbers for Prometheus.

mod context;
mod exporter;
pub mod metrics;
pub mod port;
mod sender;
mod span;
mod tracer;

pub use exporter::{Error, OtlpArgs, Telemetry, start};
pub use opentelemetry::Value;
pub use span::{Kind, Link, Span, attribute, list};
