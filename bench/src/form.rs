//! How much is done: the short form, the full one, and the smoke test.

use std::time::Duration;

use crate::system::Kind;

/// The size of everything.
#[derive(Debug, Clone)]
pub struct Form {
    pub name: &'static str,
    pub repetitions: usize,
    /// The same for a system that takes a minute for each.
    pub slow_repetitions: usize,
    /// Repetitions of the workloads that take a whole start each: memory and failover.
    pub long_repetitions: usize,
    pub overhead_requests: usize,
    pub streaming_clients: usize,
    pub streaming_requests: usize,
    /// For a system that cannot keep the pace: no request is begun after it.
    pub streaming_limit: Duration,
    /// How long saturation and whole answers run.
    pub saturation: Duration,
    pub open_streams: [usize; 2],
    /// A system that needs longer to open all streams of a step holds fewer.
    pub opening: Duration,
    /// Between the opening of the streams and the look at the memory: buffers are given back, some tokens pass.
    pub settle: Duration,
    pub failover: Failover,
    pub nodes: &'static [usize],
    pub in_flight: &'static [usize],
    /// How long one step of the growth is watched.
    pub watch: Duration,
}

/// When the engine is killed, when it is back, and when the clients stop asking.
#[derive(Debug, Clone, Copy)]
pub struct Failover {
    pub kill: Duration,
    pub revive: Duration,
    pub end: Duration,
}

impl Form {
    /// How often the workloads a to d are repeated on a system.
    pub fn repetitions_of(&self, kind: Kind) -> usize {
        if kind == Kind::Litellm { self.slow_repetitions.min(self.repetitions) } else { self.repetitions }
    }

    /// Ten minutes with every system installed.
    pub fn short() -> Self {
        Self {
            name: "short",
            repetitions: 3,
            slow_repetitions: 1,
            long_repetitions: 1,
            overhead_requests: 200,
            streaming_clients: 200,
            streaming_requests: 1_000,
            streaming_limit: Duration::from_secs(10),
            saturation: Duration::from_secs(2),
            open_streams: [1_000, 10_000],
            opening: Duration::from_secs(15),
            settle: Duration::from_millis(1_500),
            failover: Failover {
                kill: Duration::from_secs(3),
                revive: Duration::from_secs(6),
                end: Duration::from_secs(10),
            },
            nodes: &[2, 10, 100, 1_000],
            in_flight: &[1, 10, 100, 1_000, 10_000],
            watch: Duration::from_secs(3),
        }
    }

    /// More repetitions, each longer.
    pub fn full() -> Self {
        Self {
            name: "full",
            repetitions: 7,
            slow_repetitions: 3,
            opening: Duration::from_secs(60),
            long_repetitions: 3,
            streaming_limit: Duration::from_secs(60),
            saturation: Duration::from_secs(5),
            watch: Duration::from_secs(10),
            ..Self::short()
        }
    }

    /// Proves in a minute that everything runs and that no token is lost; its figures mean nothing.
    pub fn smoke() -> Self {
        Self {
            name: "smoke",
            repetitions: 1,
            overhead_requests: 20,
            streaming_clients: 40,
            streaming_requests: 80,
            saturation: Duration::from_millis(500),
            open_streams: [50, 200],
            settle: Duration::from_millis(300),
            failover: Failover {
                kill: Duration::from_millis(1_000),
                revive: Duration::from_millis(1_500),
                end: Duration::from_millis(3_500),
            },
            nodes: &[2, 50],
            in_flight: &[1, 50],
            watch: Duration::from_secs(1),
            ..Self::short()
        }
    }
}
