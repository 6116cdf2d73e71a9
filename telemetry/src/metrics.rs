//! What all parts do alike with their numbers: upkeep, the process's own numbers, and labels that stay few.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusHandle;

/// How often what was measured is put into its buckets. Without this it would pile up where nobody reads the numbers.
const UPKEEP: Duration = Duration::from_secs(5);

/// The head of an answer with numbers.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Keeps the numbers of this process small until it ends. To be called in a runtime, once the recorder is installed.
pub fn keep(handle: PrometheusHandle) {
    describe_gauge!("echo_build_info", "1, with the version of this part");
    describe_gauge!("process_resident_memory_bytes", "Memory that the process has");
    describe_gauge!("process_start_time_seconds", "When the process began, in Unix time");
    gauge!("echo_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("process_start_time_seconds").set(began.as_secs_f64());
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

    #[test]
    fn a_label_has_no_more_values_than_it_may_have() {
        let label = Label::new(2);
        assert_eq!(["a", "b", "c", "a", ""].map(|it| label.of(it)), ["a", "b", "other", "a", ""]);
    }
}
