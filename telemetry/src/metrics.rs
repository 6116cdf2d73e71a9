//! What all parts do alike with their numbers: upkeep, the process's own numbers, and labels that stay few.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::warn;

/// How often what was measured is put into its buckets. Without this it would pile up where nobody reads the numbers.
const UPKEEP: Duration = Duration::from_secs(5);

/// The head of an answer with numbers.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Seconds: of names that end in `_seconds`. A cold model takes a minute, and some take more.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

/// Tokens a second: of names that end in `_per_second`.
const SPEEDS: [f64; 10] = [1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 1_000.0];

/// What was measured by what was expected: of names that end in `_ratio`.
const RATIOS: [f64; 10] = [0.1, 0.25, 0.5, 0.67, 0.8, 1.25, 1.5, 2.0, 4.0, 10.0];

/// What collects and renders the numbers of this process: one, however many parts run in it, so that each of them tells those
/// of all. To be called in a runtime; it keeps the numbers small for as long as that runs.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let handle = HANDLE.get_or_init(build).clone();
    keep(handle.clone());
    handle
}

fn build() -> PrometheusHandle {
    let suffix = |text: &str| Matcher::Suffix(text.to_owned());
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("_seconds"), &SECONDS)
        .and_then(|it| it.set_buckets_for_metric(suffix("_per_second"), &SPEEDS))
        .and_then(|it| it.set_buckets_for_metric(suffix("_ratio"), &RATIOS))
        .expect("the lists of buckets are not empty");
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        warn!("a recorder that is not ours collects the numbers of this process; /metrics will be empty");
    }
    about();
    handle
}

fn about() {
    describe_gauge!("echo_build_info", "1, with the version of this part");
    describe_gauge!("process_resident_memory_bytes", "Memory that the process has");
    describe_gauge!("process_start_time_seconds", "When the process began, in Unix time");
    gauge!("echo_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("process_start_time_seconds").set(began.as_secs_f64());
}

fn keep(handle: PrometheusHandle) {
    tokio::spawn(async move {
        let mut every = tokio::time::interval(UPKEEP);
        loop {
            every.tick().await;
            handle.run_upkeep();
        }
    });
}

/// All numbers as text.
pub fn render(handle: &PrometheusHandle) -> String {
    if let Some(bytes) = resident() {
        gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    handle.render()
}

#[cfg(target_os = "linux")]
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(not(target_os = "linux"))]
fn resident() -> Option<u64> {
    None
}

/// The values of one label. Nodes and models come and go for as long as a part runs; after so many there are no new ones.
pub struct Label {
    most: usize,
    known: Mutex<Option<HashSet<String>>>,
}

impl Label {
    pub const fn new(most: usize) -> Self {
        Self { most, known: Mutex::new(None) }
    }

    /// The value, or `other` where there are too many.
    pub fn of(&self, value: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        if value.is_empty() || known.contains(value) {
            return value.to_owned();
        }
        if known.len() >= self.most {
            return "other".to_owned();
        }
        known.insert(value.to_owned());
        value.to_owned()
    }
}

/// Models that were served.
pub static MODELS: Label = Label::new(200);

/// Nodes that took a task.
pub static NODES: Label = Label::new(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_parts_of_one_process_both_tell_what_each_has_counted() {
        let (one, other) = (install(), install());
        metrics::counter!("echo_one_total").increment(1);
        metrics::histogram!("echo_other_seconds").record(0.2);
        for part in [one, other] {
            let told = render(&part);
            assert!(told.contains("echo_one_total 1\n"), "{told}");
            assert!(told.contains("echo_other_seconds_bucket{le=\"0.25\"} 1\n"), "{told}");
            assert!(told.contains("echo_build_info{"), "{told}");
        }
    }

    #[test]
    fn a_label_has_no_more_values_than_it_may_have() {
        let label = Label::new(2);
        assert_eq!(["a", "b", "c", "a", ""].map(|it| label.of(it)), ["a", "b", "other", "a", ""]);
    }
}
