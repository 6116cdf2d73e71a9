//! What one decision of the orchestrator takes, without the bus: among idle nodes, and among full ones while others wait.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use echo_bus::clock::Now;
use echo_bus::id::{AttemptId, TaskId};
use echo_bus::message::{Heartbeat, Held, Task};
use echo_orchestrator::{
    Limits, State,
    event::{Action, Answer, Asked, Event},
};
use serde::Serialize;
use serde_json::json;

use crate::{fleet, form::Form};

/// Decisions that are timed, after some that are not.
const DECISIONS: u64 = 5_000;
const WARM_UP: u64 = 500;
/// Tasks that wait where all nodes are full.
pub const WAITING: usize = 100;
/// Slots of each node of the fleet, at least.
const SLOTS: usize = 4;

/// One decision of the orchestrator.
#[derive(Debug, Clone, Serialize)]
pub struct Placement {
    pub nodes: usize,
    /// Tasks that wait, all nodes being full: then it is a slot that becomes free.
    pub waiting: usize,
    pub p50_us: f64,
    pub p99_us: f64,
}

/// All decisions of a form.
///
/// # Errors
/// When a task of the benchmark cannot be read, or is not placed.
pub fn placements(form: &Form) -> anyhow::Result<Vec<Placement>> {
    let idle = form.nodes.iter().map(|&nodes| idle(nodes));
    idle.chain(form.nodes.iter().map(|&nodes| full(nodes))).collect()
}

/// A task that comes to so many idle nodes.
///
/// # Errors
/// See [`placements`].
pub fn idle(nodes: usize) -> anyhow::Result<Placement> {
    let mut placer = Placer::new(nodes)?;
    placer.time(WARM_UP)?;
    let times: anyhow::Result<Vec<_>> = (0..DECISIONS).map(|_| placer.time(1)).collect();
    summary(nodes, 0, &times?)
}

/// A slot that becomes free on one of so many full nodes, while others wait.
///
/// # Errors
/// See [`placements`].
pub fn full(nodes: usize) -> anyhow::Result<Placement> {
    let mut crowd = Crowd::new(nodes)?;
    for _ in 0..WARM_UP {
        crowd.free()?;
    }
    let times: anyhow::Result<Vec<_>> = (0..DECISIONS).map(|_| crowd.free()).collect();
    summary(nodes, WAITING, &times?)
}

fn summary(nodes: usize, waiting: usize, times: &[Duration]) -> anyhow::Result<Placement> {
    let nanos = |time: &Duration| u32::try_from(time.as_nanos()).unwrap_or(u32::MAX);
    let mut times: Vec<_> = times.iter().map(nanos).collect();
    times.sort_unstable();
    let at = |share| crate::stats::percentile(&times, share).map(|nanos| f64::from(nanos) / 1e3);
    let (p50_us, p99_us) = at(0.5).zip(at(0.99)).context("nothing was placed")?;
    Ok(Placement { nodes, waiting, p50_us, p99_us })
}

fn state() -> anyhow::Result<(State, Now)> {
    let now = Now { at: Instant::now(), unix_ms: 0 };
    Ok((State::new("bench".parse()?, "b".parse()?, Limits::default(), now), now))
}

fn task(number: usize, prompt: &str) -> anyhow::Result<Event> {
    let task = json!({"task": TaskId::from_u128(number as u128), "inbox": format!("_INBOX.edge.e.{number}"),
        "request": {"kind": "generate", "model": "model-7", "prompt": prompt}});
    let task: Task = serde_json::from_value(task).context("a task of the benchmark cannot be read")?;
    Ok(Event::Submitted { task: Ok(Box::new(task)), reply: None })
}

fn asked(actions: Vec<Action>) -> impl Iterator<Item = Asked> {
    actions.into_iter().filter_map(|action| match action {
        Action::Dispatch { asked, .. } => Some(asked),
        _ => None,
    })
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
    /// When a heartbeat of the fleet cannot be read.
    pub fn new(nodes: usize) -> anyhow::Result<Self> {
        let (state, now) = state()?;
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
            self.tasks += 1;
            let task = task(self.tasks, "hi")?;
            let start = Instant::now();
            let actions = self.state.apply(task, self.now);
            took += start.elapsed();
            self.accept(actions)?;
        }
        Ok(took)
    }

    /// The chosen node accepts. Before the nodes are full, they beat.
    fn accept(&mut self, actions: Vec<Action>) -> anyhow::Result<()> {
        let mut placed = false;
        for asked in asked(actions) {
            placed = true;
            let answer = Answer::Accepted { heartbeat: self.beats };
            self.state.apply(Event::Answered { asked, answer }, self.now);
        }
        anyhow::ensure!(placed, "a task was not placed though nodes are free");
        if self.tasks.is_multiple_of(self.nodes) {
            self.beat()?;
        }
        Ok(())
    }
}

/// The orchestrator's state with full nodes and tasks that wait.
struct Crowd {
    state: State,
    now: Now,
    nodes: usize,
    tasks: usize,
    beats: u64,
    running: BTreeMap<usize, Vec<TaskId>>,
}

impl Crowd {
    fn new(nodes: usize) -> anyhow::Result<Self> {
        let (state, now) = state()?;
        let mut crowd = Self { state, now, nodes, tasks: 0, beats: 1, running: BTreeMap::new() };
        for node in 0..nodes {
            let beat = crowd.beat(node)?;
            crowd.state.apply(Event::Beat(Box::new(beat)), now);
        }
        crowd.fill()?;
        Ok(crowd)
    }

    /// Tasks come until so many wait.
    fn fill(&mut self) -> anyhow::Result<()> {
        let enough = self.tasks + self.nodes * SLOTS + WAITING;
        while self.state.held() < WAITING {
            anyhow::ensure!(self.tasks <= enough, "nodes take more tasks than they have slots");
            self.tasks += 1;
            let task = task(self.tasks, &"x".repeat(2_000 + self.tasks % 500))?;
            let actions = self.state.apply(task, self.now);
            self.accept(actions)?;
        }
        Ok(())
    }

    fn accept(&mut self, actions: Vec<Action>) -> anyhow::Result<()> {
        for asked in asked(actions) {
            let node = asked.node.as_str().trim_start_matches("node-").parse()?;
            self.running.entry(node).or_default().push(asked.id.task);
            let answer = Answer::Accepted { heartbeat: self.number() };
            let actions = self.state.apply(Event::Answered { asked, answer }, self.now);
            self.accept(actions)?;
        }
        Ok(())
    }

    /// Of the newest heartbeat; odd ones of the fleet list the models.
    fn number(&self) -> u64 {
        2 * self.beats - 1
    }

    fn beat(&self, node: usize) -> anyhow::Result<Heartbeat> {
        let mut beat = fleet::heartbeat(node, self.number())?;
        if self.beats > 1 {
            beat.models = None;
        }
        let held =
            |task: &TaskId| Held { id: AttemptId { task: *task, attempt: 1 }, seq: None, ended: false };
        beat.active = self.running.get(&node).into_iter().flatten().map(held).collect();
        Ok(beat)
    }

    /// The time that it takes to give a slot away that has become free.
    fn free(&mut self) -> anyhow::Result<Duration> {
        self.beats += 1;
        self.now.at += Duration::from_millis(3);
        // Some node or other, and never the same one twice in a row.
        let node = self.beats as usize * 7_919 % self.nodes;
        if let Some(tasks) = self.running.get_mut(&node).filter(|tasks| !tasks.is_empty()) {
            tasks.remove(0);
        }
        let beat = Event::Beat(Box::new(self.beat(node)?));
        let start = Instant::now();
        let actions = self.state.apply(beat, self.now);
        let took = start.elapsed();
        self.accept(actions)?;
        if self.beats.is_multiple_of(16) {
            let actions = self.state.apply(Event::Tick, self.now);
            self.accept(actions)?;
        }
        self.fill()?;
        Ok(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_of_the_benchmark_is_placed() {
        assert!(Placer::new(3).unwrap().time(50).unwrap() > Duration::ZERO);
    }

    #[test]
    fn a_slot_that_becomes_free_is_given_away() {
        let mut crowd = Crowd::new(3).unwrap();
        let before = crowd.tasks;
        for _ in 0..20 {
            crowd.free().unwrap();
        }
        assert!(crowd.tasks > before + 10 && crowd.state.held() == WAITING, "{}", crowd.tasks - before);
    }
}
