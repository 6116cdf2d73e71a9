//! What `/metrics` tells: counted where it happens, in Prometheus' terms.

use std::time::Duration;

use echo_bus::message::{Code, Why};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::report::Report;

/// What was measured by what was expected.
const RATIOS: [f64; 10] = [0.1, 0.25, 0.5, 0.67, 0.8, 1.25, 1.5, 2.0, 4.0, 10.0];
/// The error of a shorter expectation is that of clocks and messages, in milliseconds.
const LEAST_EXPECTED: u64 = 50;
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Installs the recorder of this process; a second one (in tests) keeps the first.
pub fn install() -> PrometheusHandle {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .and_then(|it| it.set_buckets_for_metric(Matcher::Suffix("_ratio".to_owned()), &RATIOS))
        .expect("the lists of buckets are not empty");
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_ok() {
        describe_counter!("echo_tasks_total", "Tasks that ended, by outcome");
        describe_counter!("echo_task_retries_total", "Attempts after the first that a node had accepted");
        describe_counter!("echo_tokens_total", "Tokens of whole answers, by the engines' counts");
        describe_counter!(
            "echo_messages_dropped_total",
            "Messages to the bus that found no room in the queue"
        );
        describe_gauge!("echo_connections", "Connections of clients that are open now");
        describe_gauge!("echo_tasks_running", "Tasks that have not ended");
        describe_histogram!("echo_task_seconds", "From request to end");
        describe_histogram!("echo_first_token_seconds", "From request to the first piece of the answer");
        describe_histogram!("echo_expected_ratio", "Measured by expected time of whole answers, by part");
    }
    handle
}

/// A task has ended, one way or the other.
pub fn ended(report: &Report, first_token: Option<Duration>) {
    let outcome = match &report.ending {
        Ok(_) => "answered",
        Err(failure) if failure.code == Code::Cancelled => "cancelled",
        Err(_) => "failed",
    };
    counter!("echo_tasks_total", "outcome" => outcome).increment(1);
    counter!("echo_task_retries_total").increment(u64::from(report.attempts.saturating_sub(1)));
    if let Ok(done) = &report.ending {
        counter!("echo_tokens_total").increment(done.tokens.unwrap_or_default());
        report.why.iter().for_each(|why| expected(why));
    }
    histogram!("echo_task_seconds").record(report.latency);
    if let Some(first) = first_token {
        histogram!("echo_first_token_seconds").record(first);
    }
}

/// How far the expectations of an answer were from what came.
fn expected(why: &Why) {
    let (expected, measured) = (&why.expected_ms, &why.measured_ms);
    let parts = [
        ("wait", expected.wait, measured.wait),
        ("load", expected.load, measured.load),
        ("prompt", expected.prompt, measured.prompt),
        ("answer", expected.answer, measured.answer),
        ("whole", expected.whole, measured.whole),
    ];
    for (part, expected, measured) in parts {
        if let Some((expected, measured)) = expected.filter(|it| *it >= LEAST_EXPECTED).zip(measured) {
            histogram!("echo_expected_ratio", "part" => part).record(measured as f64 / expected as f64);
        }
    }
}

/// A client has gone before the end.
pub fn hung_up() {
    counter!("echo_tasks_total", "outcome" => "cancelled").increment(1);
}

/// A message found no room in the queue to the bus.
pub fn unsaid() {
    counter!("echo_messages_dropped_total").increment(1);
}

/// How many tasks are running now.
pub fn running(tasks: usize) {
    gauge!("echo_tasks_running").set(u32::try_from(tasks).unwrap_or(u32::MAX));
}

/// A client has connected.
pub fn connection_begins() {
    gauge!("echo_connections").increment(1);
}

/// A client's connection has ended.
pub fn connection_ends() {
    gauge!("echo_connections").decrement(1);
}
