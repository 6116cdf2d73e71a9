//! Where spans go: a bounded queue, a thread that sends, and an end that does not wait for ever. Spans that find no room are
//! dropped, so a receiver that is slow or away costs a part of the mesh nothing.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use reqwest::Url;
use tokio::sync::oneshot;
use tracing::warn;

use crate::sender::Sender;
use crate::span::attribute;
use crate::tracer::TRACER;

/// How long the last spans may take to be told when a part stops.
const FLUSH: Duration = Duration::from_secs(2);

/// Where traces are told.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OtlpArgs {
    /// Tell traces to the OTLP receiver (HTTP, protobuf) at this address, such as <http://127.0.0.1:4318>; without it there are none
    #[arg(long, env = "ECHO_OTLP", value_name = "URL", value_parser = receiver)]
    pub otlp: Option<Url>,
}

/// Why traces cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make an HTTP client for --otlp")]
    Client(#[source] reqwest::Error),
    #[error("cannot tell traces to --otlp")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

/// What tells the traces of this process.
#[must_use = "the last spans are told by its end"]
pub struct Telemetry(Option<SdkTracerProvider>);

/// Starts to tell traces, if an address is given. `instance` tells this process from others of its kind.
///
/// # Errors
/// See [`Error`]; never because the receiver is away.
pub fn start(args: &OtlpArgs, service: &'static str, instance: &str) -> Result<Telemetry, Error> {
    let Some(url) = &args.otlp else { return Ok(Telemetry(None)) };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(url.as_str())
        .with_http_client(Sender::new(url).map_err(Error::Client)?)
        // What was not taken is lost. Whoever tries again keeps the queue from being told meanwhile.
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .map_err(Error::Exporter)?;
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(attribute("service.namespace", "echo"))
        .with_attribute(attribute("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(attribute("service.instance.id", instance.to_owned()))
        .build();
    // Its queue has 2,048 places, and 5 s pass between two exports, if OTEL_BSP_* say nothing else.
    let provider = SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
    let _ = TRACER.set(provider.tracer("echo"));
    Ok(Telemetry(Some(provider)))
}

impl Telemetry {
    /// Tells what is left, in a time that is bounded.
    pub async fn finish(self) {
        let Some(provider) = self.0 else { return };
        let (ended, end) = oneshot::channel();
        // It blocks, and needs this runtime meanwhile to send. A thread of its own is left alone where it takes too long.
        std::thread::spawn(move || {
            let _ = ended.send(provider.shutdown_with_timeout(FLUSH));
        });
        if !matches!(tokio::time::timeout(FLUSH, end).await, Ok(Ok(Ok(())))) {
            warn!("the last spans were not told");
        }
    }
}

/// The address of a receiver, with the path of its protocol.
fn receiver(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("no URL ({error}): write http://HOST:PORT"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("write http://HOST:PORT".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a password does not belong here: put it into OTEL_EXPORTER_OTLP_HEADERS".to_owned());
    }
    if !url.path().ends_with("/v1/traces") {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_path_of_the_protocol() {
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://x/otlp/", "http://x/otlp/v1/traces"),
            ("https://x/v1/traces", "https://x/v1/traces"),
        ] {
            assert_eq!(receiver(text).unwrap().as_str(), url);
        }
        for bad in ["", "127.0.0.1:4318", "grpc://x", "http://me:pw@x"] {
            assert!(receiver(bad).is_err(), "{bad:?} was taken");
        }
    }
}
