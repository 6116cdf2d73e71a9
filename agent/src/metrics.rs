//! The agent's numbers for Prometheus.

use std::sync::OnceLock;

use echo_bus::message::{Failure, Heartbeat, NodeStatus};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::warn;

use crate::attempt::Report;

const TASKS: &str = "echo_agent_tasks_total";
const REFUSED: &str = "echo_agent_refused_total";
const TOKENS: &str = "echo_agent_tokens_total";
const ACTIVE: &str = "echo_agent_active_tasks";
const SLOTS: &str = "echo_agent_slots";
const ENGINE: &str = "echo_agent_engine_up";
const FIRST: &str = "echo_agent_first_token_seconds";
const TRIALS: &str = "echo_agent_trials_total";
const BEATS: &str = "echo_agent_heartbeats_total";

/// Seconds; a cold model takes a minute.
const BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

/// What renders the numbers; one in a process, however many agents run in it.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(build).clone()
}

fn build() -> PrometheusHandle {
    let builder = PrometheusBuilder::new();
    let builder = match builder.set_buckets_for_metric(Matcher::Full(FIRST.to_owned()), &BUCKETS) {
        Ok(builder) => builder,
        Err(_) => PrometheusBuilder::new(),
    };
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        warn!("another part of this process collects the metrics; /metrics will be empty");
    }
    describe();
    handle
}

fn describe() {
    describe_counter!(TASKS, "Attempts that have ended, by outcome: done, elsewhere, failed, cancelled");
    describe_counter!(REFUSED, "Tasks refused, by reason");
    describe_counter!(TOKENS, "Tokens generated, by the engine's count or else by its chunks");
    describe_gauge!(ACTIVE, "Attempts that hold a slot");
    describe_gauge!(SLOTS, "Tasks that may run at once");
    describe_gauge!(ENGINE, "1 while the engine can be used");
    describe_histogram!(FIRST, "Seconds from a task's arrival to the first piece of its answer");
    describe_counter!(TRIALS, "Trials of a model by the agent itself, by outcome: passed, failed");
    describe_counter!(BEATS, "Heartbeats sent");
    for outcome in ["done", "elsewhere", "failed", "cancelled"] {
        counter!(TASKS, "outcome" => outcome).absolute(0);
    }
    counter!(TOKENS).absolute(0);
    counter!(BEATS).absolute(0);
}

/// An attempt has ended.
pub fn ended(report: &Report) {
    counter!(TASKS, "outcome" => report.end.word()).increment(1);
    counter!(TOKENS).increment(report.tokens);
    if let Some(first) = report.first_piece {
        histogram!(FIRST).record(first.as_secs_f64());
    }
}

/// A trial has ended.
pub fn tried(passed: bool) {
    counter!(TRIALS, "outcome" => if passed { "passed" } else { "failed" }).increment(1);
}

/// A task was refused.
pub fn refused(failure: &Failure) {
    counter!(REFUSED, "reason" => failure.code.word()).increment(1);
}

/// A heartbeat goes out.
pub fn beat(beat: &Heartbeat) {
    counter!(BEATS).increment(1);
    gauge!(ACTIVE).set(beat.active.len() as f64);
    gauge!(SLOTS).set(beat.slots);
    gauge!(ENGINE).set(if beat.status == NodeStatus::Unavailable { 0.0 } else { 1.0 });
}
