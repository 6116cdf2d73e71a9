//! Growth of the mesh: the orchestrator under many nodes, the edge under many streams, a placement among many nodes.

use std::time::{Duration, Instant};

use anyhow::Context;
use echo_broker::message::Task;
use echo_orchestrator::{
    Limits, State,
    event::{Action, Answer, Event, Now},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    client::request::Ask,
    fleet::{self, Fleet},
    form::Form,
    hold::Held,
    process::{spent, usage},
    system::{System, bare_mesh},
};

/// A token every two seconds: ten thousand streams are then five thousand tokens a second.
const ASK: Ask = Ask { tokens: 100_000, delay: 2_000, stream: true };
const OPENING: Duration = Duration::from_secs(60);
/// Placements that are timed, after some that are not.
const PLACEMENTS: u64 = 5_000;
const WARM_UP: u64 = 500;

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

/// One decision of the orchestrator, without the bus.
#[derive(Debug, Clone, Serialize)]
pub struct Placement {
    pub nodes: usize,
    pub p50_us: f64,
    pub p99_us: f64,
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

/// What one placement takes among so many nodes.
///
/// # Errors
/// When a task of the benchmark is none.
pub fn placement(nodes: usize) -> anyhow::Result<Placement> {
    let mut placer = Placer::new(nodes)?;
    placer.time(WARM_UP)?;
    let mut times = Vec::new();
    for _ in 0..PLACEMENTS {
        let took = placer.time(1)?;
        times.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
    }
    times.sort_unstable();
    let at = |share| crate::stats::percentile(&times, share).map(|nanos| f64::from(nanos) / 1e3);
    let (p50_us, p99_us) = at(0.5).zip(at(0.99)).context("nothing was placed")?;
    Ok(Placement { nodes, p50_us, p99_us })
}

/// The orchestrator's state with idle nodes, for one placement after the other.
pub struct Placer {
    state: State,
    now: Now,
    nodes: usize,
    tasks: usize,
    beats: u64,
}

impl Placer {
    /// # Errors
    /// When a heartbeat of the fleet is none.
    pub fn new(nodes: usize) -> anyhow::Result<Self> {
        let now = Now { at: Instant::now(), unix_ms: 0 };
        let state = State::new("bench".parse()?, "b".parse()?, Limits::default(), now);
        let mut placer = Self { state, now, nodes, tasks: 0, beats: 0 };
        placer.beat()?;
        Ok(placer)
    }

    /// All nodes say that they are idle: what was placed before counts no more.
    fn beat(&mut self) -> anyhow::Result<()> {
        self.beats += 1;
        for node in 0..self.nodes {
            let beat = fleet::heartbeat(node, self.beats)?;
            self.state.apply(Event::Beat(Box::new(beat)), self.now);
        }
        Ok(())
    }

    /// The time that so many placements take. What the nodes answer, and their beats, are not part of it.
    ///
    /// # Errors
    /// When a task is not placed.
    pub fn time(&mut self, placements: u64) -> anyhow::Result<Duration> {
        let mut took = Duration::ZERO;
        for _ in 0..placements {
            let task = self.task()?;
            let start = Instant::now();
            let actions = self.place(task);
            took += start.elapsed();
            self.accept(actions)?;
        }
        Ok(took)
    }

    fn task(&mut self) -> anyhow::Result<Task> {
        self.tasks += 1;
        let task = json!({"inbox": format!("_INBOX.edge.e.{}", self.tasks),
            "request": {"kind": "generate", "model": "model-7", "prompt": "hi"}});
        serde_json::from_value(task).context("a task of the benchmark is none")
    }

    /// The decision itself.
    fn place(&mut self, task: Task) -> Vec<Action> {
        self.state.apply(Event::Submitted { task: Ok(Box::new(task)), reply: None }, self.now)
    }

    /// The chosen node accepts. Before the nodes are full, they beat.
    fn accept(&mut self, actions: Vec<Action>) -> anyhow::Result<()> {
        let mut placed = false;
        for action in actions {
            if let Action::Dispatch { asked, .. } = action {
                placed = true;
                let answer = Answer::Accepted { heartbeat: self.beats };
                self.state.apply(Event::Answered { asked, answer }, self.now);
            }
        }
        anyhow::ensure!(placed, "a task was not placed though nodes are free");
        if self.tasks.is_multiple_of(self.nodes) {
            self.beat()?;
        }
        Ok(())
    }
}

/// All placements of a form.
///
/// # Errors
/// See [`placement`].
pub fn placements(form: &Form) -> anyhow::Result<Vec<Placement>> {
    form.nodes.iter().map(|nodes| placement(*nodes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_of_the_benchmark_is_placed() {
        assert!(Placer::new(3).unwrap().time(50).unwrap() > Duration::ZERO);
    }
}
