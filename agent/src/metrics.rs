//! The agent's numbers for Prometheus.

use std::sync::Once;
use std::time::Duration;

use echo_bus::message::{Code, Failure, Heartbeat, NodeStatus};
use echo_telemetry::metrics::{self as telemetry, MODELS};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::attempt::{End, Report};

const TASKS: &str = "echo_agent_tasks_total";
const REFUSED: &str = "echo_agent_refused_total";
const TOKENS: &str = "echo_agent_tokens_total";
const ACTIVE: &str = "echo_agent_active_tasks";
const SLOTS: &str = "echo_agent_slots";
const ENGINE: &str = "echo_agent_engine_up";
const FIRST: &str = "echo_agent_first_token_seconds";
const LOAD: &str = "echo_agent_load_seconds";
const SPEED: &str = "echo_agent_tokens_per_second";
const ERRORS: &str = "echo_agent_errors_total";
const ROUND: &str = "echo_agent_bus_round_trip_seconds";
const TRIALS: &str = "echo_agent_trials_total";
const BEATS: &str = "echo_agent_heartbeats_total";

/// What renders the numbers.
pub fn install() -> PrometheusHandle {
    static DESCRIBED: Once = Once::new();
    let handle = telemetry::install();
    DESCRIBED.call_once(describe);
    handle
}

fn describe() {
    describe_counter!(
        TASKS,
        "Attempts that have ended, by model and outcome: done, elsewhere, failed, cancelled"
    );
    describe_counter!(ERRORS, "Attempts that have failed on this node, by the code of the failure");
    describe_counter!(REFUSED, "Tasks refused, by reason");
    describe_counter!(TOKENS, "Tokens generated, by the engine's count or else by its chunks");
    describe_gauge!(ACTIVE, "Attempts that hold a slot");
    describe_gauge!(SLOTS, "Tasks that may run at once");
    describe_gauge!(ENGINE, "1 while the engine can be used");
    describe_histogram!(FIRST, Unit::Seconds, "From a task's arrival to the first piece of its answer");
    describe_histogram!(LOAD, Unit::Seconds, "Time that the engine took to load a model for a task");
    describe_histogram!(ROUND, Unit::Seconds, "From a pulse to the edge's answer");
    describe_histogram!(SPEED, "Speed of answers, by the engine's count or else by its chunks");
    describe_counter!(TRIALS, "Trials of a model by the agent itself, by outcome: passed, failed");
    describe_counter!(BEATS, "Heartbeats sent");
    // What has not happened yet is 0, so that a rate is right from the first time on.
    counter!(BEATS).absolute(0);
    for outcome in ["passed", "failed"] {
        counter!(TRIALS, "outcome" => outcome).absolute(0);
    }
    counter!(REFUSED, "reason" => Code::Full.word()).absolute(0);
    for code in [Code::EngineError, Code::EngineUnreachable, Code::EngineStalled] {
        counter!(ERRORS, "code" => code.word()).absolute(0);
    }
}

/// An attempt has ended.
pub fn ended(report: &Report) {
    // A model that this node serves, never a client's word: that is what a pull names.
    let model = MODELS.of(if report.generates { &report.model } else { "" });
    counter!(TASKS, "outcome" => report.end.word(), "model" => model.clone()).increment(1);
    counter!(TOKENS, "model" => model.clone()).increment(report.tokens);
    if let End::Failed(failure) = &report.end {
        counter!(ERRORS, "code" => failure.code.word()).increment(1);
    }
    if let Some(load) = report.load {
        histogram!(LOAD, "model" => model.clone()).record(load);
    }
    if let Some(speed) = report.tokens_per_second.filter(|speed| speed.is_finite()) {
        histogram!(SPEED, "model" => model.clone()).record(speed);
    }
    if let Some(first) = report.first_piece {
        histogram!(FIRST, "model" => model).record(first);
    }
}

/// An edge has answered a pulse.
pub fn round_trip(time: Duration) {
    histogram!(ROUND).record(time);
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
