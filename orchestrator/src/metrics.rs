//! The orchestrator's numbers for Prometheus, where somebody wants them.

use std::sync::Once;
use std::time::Duration;

use axum::Router;
use echo_bus::message::{Event as News, NodeStatus, What};
use echo_telemetry::metrics::{self as telemetry, NODES};
use echo_telemetry::port;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const HELD: &str = "echo_orchestrator_held_tasks";
const QUEUED: &str = "echo_orchestrator_queued_tasks";
const NODES_NOW: &str = "echo_orchestrator_nodes";
const PLACED: &str = "echo_orchestrator_placed_total";
const RELEASED: &str = "echo_orchestrator_released_total";
const LEFT: &str = "echo_orchestrator_nodes_left_total";
const WAITED: &str = "echo_orchestrator_wait_seconds";
const ROUND: &str = "echo_orchestrator_bus_round_trip_seconds";

/// Begins to count, and serves what was counted until `stop`.
pub fn serve(listener: TcpListener, stop: CancellationToken) {
    tokio::spawn(port::serve("orchestrator", listener, install(), Router::new(), stop));
}

/// What renders the numbers.
pub fn install() -> PrometheusHandle {
    static DESCRIBED: Once = Once::new();
    let handle = telemetry::install();
    DESCRIBED.call_once(describe);
    handle
}

fn describe() {
    describe_gauge!(HELD, "Tasks that wait, or are on their way to a node");
    describe_gauge!(QUEUED, "Tasks that wait for a node");
    describe_gauge!(NODES_NOW, "Nodes in the mesh, by what they say of themselves");
    describe_counter!(PLACED, "Attempts that a node has accepted");
    describe_counter!(RELEASED, "Attempts that were cancelled or handed back before a node had them");
    describe_counter!(LEFT, "Nodes that have left the mesh");
    describe_histogram!(WAITED, Unit::Seconds, "Time that attempts waited until a node had accepted them");
    describe_histogram!(ROUND, Unit::Seconds, "From asking a node to its answer");
    counter!(RELEASED).absolute(0);
    counter!(LEFT).absolute(0);
}

/// What is held now, and by whom it could be done.
pub fn standing(held: usize, queued: usize, nodes: impl Iterator<Item = NodeStatus>) {
    gauge!(HELD).set(held as f64);
    gauge!(QUEUED).set(queued as f64);
    let mut counts = [0_u32; 4];
    nodes.for_each(|status| counts[status as usize] += 1);
    for (word, count) in ["idle", "busy", "draining", "unavailable"].into_iter().zip(counts) {
        gauge!(NODES_NOW, "status" => word).set(count);
    }
}

/// Something that is told to whoever watches.
pub fn news(news: &News) {
    match (news.what, &news.node) {
        (What::Placed, Some(node)) => {
            counter!(PLACED, "node" => NODES.of(node.as_str())).increment(1);
        }
        (What::Released, _) => counter!(RELEASED).increment(1),
        (What::Left, _) => counter!(LEFT).increment(1),
        _ => {}
    }
}

/// A node has accepted an attempt that had waited so long.
pub fn waited(ms: u64) {
    histogram!(WAITED).record(Duration::from_millis(ms));
}

/// A node has answered.
pub fn round_trip(time: Duration) {
    histogram!(ROUND).record(time);
}
