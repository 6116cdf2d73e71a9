//! What can be set, and what holds when nothing is.

use std::time::Duration;

use clap::Parser;
use echo_bus::process::{BusArgs, LogArgs};

use crate::expected::Weights;

/// Places tasks on the nodes of the mesh, and holds those that must wait.
///
/// Needs nothing but the broker: it learns the mesh from the nodes' heartbeats. Several may run at once.
#[derive(Debug, Clone, Parser)]
#[command(name = "echo-orchestrator", version)]
pub struct Config {
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub bus: BusArgs,
    #[command(flatten)]
    pub logs: LogArgs,
}

/// How much waits, for how long, and who is gone.
#[derive(Debug, Clone, clap::Args)]
pub struct Limits {
    /// Tasks that wait at most; further ones are refused with the measured time after which to try again
    #[arg(long, env = "ECHO_QUEUE_LIMIT", default_value_t = 1024, value_name = "TASKS")]
    pub queue_limit: usize,
    /// How long a task waits at most for a free slot: 500ms, 60s, 2m
    #[arg(long, env = "ECHO_QUEUE_WAIT", default_value = "60s", value_parser = duration, value_name = "TIME")]
    pub queue_wait: Duration,
    /// How long a task waits at most while no node with its model can take anything: resting, drained, or without engine
    #[arg(long, env = "ECHO_OUTAGE_WAIT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub outage_wait: Duration,
    /// A node that is silent for longer is forgotten; heartbeats come every second
    #[arg(long, env = "ECHO_EVICT_AFTER", default_value = "3s", value_parser = duration, value_name = "TIME")]
    pub evict_after: Duration,
    /// The model of tasks that name none; without this the generating model that most nodes have
    #[arg(long, env = "ECHO_DEFAULT_MODEL", value_parser = model, value_name = "MODEL")]
    pub default_model: Option<String>,
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
            weights: Weights::default(),
        }
    }
}

fn model(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() { Err("name a model, or leave the flag out".to_owned()) } else { Ok(name.to_owned()) }
}

/// Reads `500ms`, `30s`, `2m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{text:?} is not a time: write 500ms, 30s, 2m or 1h")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    match number.checked_mul(unit_ms) {
        Some(0) => Err("the time must be longer than zero".to_owned()),
        Some(ms) if ms <= 86_400_000 => Ok(Duration::from_millis(ms)),
        _ => Err("a day at most".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "5", "s", "-1s", "1.5s", "5 s", "0s", "25h", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn the_defaults_need_no_flag() {
        let limits = Config::try_parse_from(["echo-orchestrator"]).unwrap().limits;
        let default = Limits::default();
        assert_eq!((limits.queue_limit, limits.queue_wait), (default.queue_limit, default.queue_wait));
        assert_eq!((limits.evict_after, limits.default_model), (default.evict_after, default.default_model));
    }
}
