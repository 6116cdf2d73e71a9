//! What makes the spans of this process; none until traces are told.

use std::sync::OnceLock;

use opentelemetry_sdk::trace::SdkTracer;

pub static TRACER: OnceLock<SdkTracer> = OnceLock::new();
