//! Growth of the mesh: the orchestrator under many nodes, the edge under many streams, a placement among many nodes.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{
    client::request::Ask,
    fleet::Fleet,
    hold::Held,
    placement::Placement,
    process::{spent, usage},
    system::{System, bare_mesh},
};

/// A token every two seconds: ten thousand streams are then five thousand tokens a second.
const ASK: Ask = Ask { tokens: 100_000, delay: 2_000, stream: true };
const OPENING: Duration = Duration::from_secs(60);

#[derive(Debug, Default, Serialize)]
pub struct Growth {
    pub nodes: Vec<Nodes>,
    pub in_flight: Vec<InFlight>,
    pub placement: Vec<Placement>,
}

/// The orchestrator with so many nodes and no task.
#[derive(Debug, Clone, Serialize)]
pub struct Nodes {
    pub nodes: usize,
    /// Nodes that it still knew at the end.
    pub known: usize,
    pub cpu_percent: f64,
    pub resident_mib: f64,
    pub nats_cpu_percent: f64,
}

/// The mesh with so many streams, each with a token every two seconds.
#[derive(Debug, Clone, Serialize)]
pub struct InFlight {
    pub asked: usize,
    pub held: usize,
    /// Streams that failed or had a fault.
    pub faults: usize,
    /// CPU of the edge for one stream, in microseconds a second.
    pub edge_cpu: f64,
    /// The same of all parts together.
    pub all_cpu: f64,
    pub edge_resident_mib: f64,
}

/// The orchestrator's CPU and memory with so many nodes.
///
/// # Errors
/// When it does not learn of them.
pub async fn nodes(count: usize, watch: Duration) -> anyhow::Result<Nodes> {
    let (programs, url) = bare_mesh().await;
    let roots: Vec<_> = programs.iter().map(|program| (program.name().to_owned(), program.pid())).collect();
    let fleet = Fleet::start(&url, count).await?;
    let (before, start) = (usage(&roots), Instant::now());
    tokio::time::sleep(watch).await;
    let (after, seconds) = (usage(&roots), start.elapsed().as_secs_f64());
    let percent = |of: &str| {
        let cpu = spent(&before, &after).into_iter().find(|(name, _)| name == of);
        cpu.map_or(0.0, |(_, cpu)| cpu.as_secs_f64() / seconds * 100.0)
    };
    let resident = after.iter().find(|(name, _)| name == "orchestrator").map_or(0, |(_, used)| used.resident);
    let row = Nodes {
        nodes: count,
        known: fleet.known().await?,
        cpu_percent: percent("orchestrator"),
        resident_mib: resident as f64 / f64::from(1 << 20),
        nats_cpu_percent: percent("broker/nats-server"),
    };
    drop((fleet, programs));
    Ok(row)
}

/// The edge's CPU with so many streams.
pub async fn in_flight(system: &System, streams: usize, watch: Duration) -> InFlight {
    let held = Held::open(&system.targets, system.dialect(), ASK, streams, OPENING).await;
    let (before, start) = (system.usage(), Instant::now());
    tokio::time::sleep(watch).await;
    let (after, seconds) = (system.usage(), start.elapsed().as_secs_f64());
    let open = held.open_now();
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / seconds / open.max(1) as f64;
    let spent = spent(&before, &after);
    let edge = spent.iter().find(|(name, _)| name == "edge").map_or(Duration::ZERO, |(_, cpu)| *cpu);
    let resident = after.iter().find(|(name, _)| name == "edge").map_or(0, |(_, used)| used.resident);
    let row = InFlight {
        asked: streams,
        held: open,
        faults: held.ended() + held.faults(),
        edge_cpu: each(edge),
        all_cpu: each(spent.iter().map(|(_, cpu)| *cpu).sum()),
        edge_resident_mib: resident as f64 / f64::from(1 << 20),
    };
    held.leave().await;
    row
}
