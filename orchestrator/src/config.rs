//! What can be set, and what holds when nothing is.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use echo_bus::process::{BusArgs, LogArgs};
use echo_bus::time;

use crate::expected::Weights;

const HOUR: Duration = Duration::from_secs(3_600);

/// Places tasks on the nodes of the mesh, and holds those that must wait.
///
/// Needs nothing but the broker: it learns the mesh from the nodes' heartbeats. Several may run at once.
#[derive(Debug, Clone, Parser)]
#[command(name = "orchestrator")]
pub struct Config {
    /// Where /health and /metrics are served; without it nowhere
    #[arg(long, env = "ECHO_ORCHESTRATOR_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<SocketAddr>,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub bus: BusArgs,
    #[command(flatten)]
    pub logs: LogArgs,
    #[command(flatten)]
    pub telemetry: echo_telemetry::OtlpArgs,
}

/// How much waits, for how long, and who is gone.
#[derive(Debug, Clone, clap::Args)]
pub struct Limits {
    /// Tasks that wait at most while one client has all of them; several share twice as many, so that one leaves room for the
    /// others. Further ones are refused with the measured time after which to try again
    #[arg(long, env = "ECHO_QUEUE_LIMIT", default_value_t = 1024, value_name = "TASKS")]
    pub queue_limit: usize,
    /// How long a task waits at most for a free slot: 500ms, 60s, 2m
    #[arg(long, env = "ECHO_QUEUE_WAIT", default_value = "60s", value_parser = time::some, value_name = "TIME")]
    pub queue_wait: Duration,
    /// How long a task waits at most while no node with its model can take anything: resting, drained, or without engine
    #[arg(long, env = "ECHO_OUTAGE_WAIT", default_value = "5s", value_parser = time::some, value_name = "TIME")]
    pub outage_wait: Duration,
    /// A node that is silent for longer is forgotten; heartbeats come every second
    #[arg(long, env = "ECHO_EVICT_AFTER", default_value = "3s", value_parser = time::some, value_name = "TIME")]
    pub evict_after: Duration,
    /// The model of tasks that name none; without this the generating model that most nodes have
    #[arg(long, env = "ECHO_DEFAULT_MODEL", value_parser = model, value_name = "MODEL")]
    pub default_model: Option<String>,
    /// How many seconds more a node counts as costing that is at another --site than the task's edge: it is chosen only where
    /// the client gets its answer sooner by more than that; 0 makes all nodes equally near
    #[arg(long, env = "ECHO_SITE_COST", default_value = "1s", value_parser = time::between(Duration::ZERO, HOUR), value_name = "TIME")]
    pub site_cost: Duration,
    /// For the simulator; nobody else changes them.
    #[arg(skip)]
    pub weights: Weights,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_limit: 1024,
            queue_wait: Duration::from_secs(60),
            outage_wait: Duration::from_secs(5),
            evict_after: Duration::from_secs(3),
            default_model: None,
            site_cost: Duration::from_secs(1),
            weights: Weights::default(),
        }
    }
}

fn model(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() { Err("name a model, or leave the flag out".to_owned()) } else { Ok(name.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_need_no_flag() {
        let limits = Config::try_parse_from(["echo-orchestrator"]).unwrap().limits;
        let default = Limits::default();
        assert_eq!((limits.queue_limit, limits.queue_wait), (default.queue_limit, default.queue_wait));
        assert_eq!((limits.evict_after, limits.default_model), (default.evict_after, default.default_model));
        assert_eq!((limits.outage_wait, limits.site_cost), (default.outage_wait, default.site_cost));
    }
}
