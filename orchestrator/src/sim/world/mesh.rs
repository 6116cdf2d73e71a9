//! The engines with their agents, all tasks, and what happens next.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use echo_bus::id::NodeId;
use echo_bus::message::{CacheDigest, Heartbeat};

use super::run::Run;
use super::ticket::{Guess, Outcome, Ticket, Told};
use crate::sim::beat::Agent;
use crate::sim::digest::Text;
use crate::sim::engine::{Ask, Engine, Job};
use crate::sim::lack::Lack;
use crate::sim::rng::Rng;
use crate::sim::trace::{Trace, Turn};

/// How often an orchestrator looks at its clock, in seconds.
pub(super) const TICK: f64 = 0.05;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    Engine(usize),
    /// An agent wakes.
    Agent(usize),
    Arrive {
        script: usize,
        turn: usize,
    },
    Change {
        node: usize,
        factor: f64,
    },
    Tick,
}

/// Something that will happen; at the same time, in the order in which it was planned.
#[derive(Debug)]
struct Due {
    at: f64,
    serial: u64,
    what: What,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.total_cmp(&other.at).then(self.serial.cmp(&other.serial))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

/// All engines and tasks.
#[derive(Debug)]
pub struct Mesh {
    pub now: f64,
    beat: f64,
    trace: Trace,
    engines: Vec<Engine>,
    agents: Vec<Agent>,
    /// Which nodes have a model.
    serving: Vec<Vec<usize>>,
    tickets: Vec<Ticket>,
    /// The texts of tasks that have not been placed, where they are written out.
    texts: HashMap<usize, Text>,
    over: usize,
    total: usize,
    refusals: usize,
    due: BinaryHeap<Reverse<Due>>,
    serial: u64,
    /// The serial number of the one event of each engine, and of each agent, that is not out of date.
    engine_event: Vec<u64>,
    agent_event: Vec<u64>,
    /// Somebody hears the agents.
    heard: bool,
}

impl Mesh {
    pub(super) fn new(trace: Trace, beat: f64, lack: Lack, rng: &mut Rng) -> Self {
        let engines = trace.engines();
        let agents =
            engines.iter().map(|engine| Agent::new(engine, &trace.models, beat, lack, rng)).collect();
        let having = |model| (0..engines.len()).filter(|&node| engines[node].machine().has(model)).collect();
        Self {
            now: 0.0,
            beat,
            serving: (0..trace.models.len()).map(having).collect(),
            agents,
            tickets: Vec::with_capacity(trace.total()),
            texts: HashMap::new(),
            over: 0,
            total: trace.total(),
            refusals: 0,
            due: BinaryHeap::new(),
            serial: 0,
            engine_event: vec![0; engines.len()],
            agent_event: vec![0; engines.len()],
            heard: false,
            engines,
            trace,
        }
    }

    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Seconds between heartbeats.
    pub fn beat(&self) -> f64 {
        self.beat
    }

    pub fn engine(&self, node: usize) -> &Engine {
        &self.engines[node]
    }

    pub fn agent(&self, node: usize) -> &Agent {
        &self.agents[node]
    }

    /// The node with this id.
    pub fn find(&self, id: &NodeId) -> Option<usize> {
        self.agents.iter().position(|agent| agent.node == *id)
    }

    pub fn nodes(&self) -> usize {
        self.engines.len()
    }

    /// The nodes that have a model.
    pub fn serving(&self, model: usize) -> &[usize] {
        &self.serving[model]
    }

    pub fn ticket(&self, task: usize) -> &Ticket {
        &self.tickets[task]
    }

    /// A task's script up to and with its own turn.
    pub fn turns(&self, task: usize) -> &[Turn] {
        let ticket = &self.tickets[task];
        &self.trace.scripts[ticket.script].turns[..=ticket.turn]
    }

    /// The turns that its session has in all.
    pub fn length(&self, task: usize) -> usize {
        self.trace.scripts[self.tickets[task].script].turns.len()
    }

    /// Gives a task to an engine, which queues it if need be.
    pub fn enter(&mut self, task: usize, node: usize) {
        let ticket = &mut self.tickets[task];
        ticket.outcome = Outcome::Running { node };
        self.engines[node].enter(ticket.ask, self.now);
        if let Some(text) = self.texts.remove(&task) {
            self.agents[node].read(task, text);
        }
        self.touch(node);
        self.agents[node].changed(false, self.now);
        self.rouse(node);
    }

    /// The text of a task, which the agent that gets it will read.
    pub fn write(&mut self, task: usize, text: Text) {
        self.texts.insert(task, text);
    }

    /// Offers a task to an agent, which refuses what exceeds its slots.
    pub fn offer(&mut self, task: usize, node: usize) -> bool {
        if self.engines[node].is_full() {
            self.refusals += 1;
            return false;
        }
        self.enter(task, node);
        true
    }

    /// The mesh gives a task up; its client goes on with its script all the same.
    pub fn fail(&mut self, task: usize) {
        self.close(task, Outcome::Failed { at: self.now });
    }

    /// A task that waits was told how long it will; the first word counts.
    pub fn tell_wait(&mut self, task: usize, seconds: f64) {
        self.tickets[task].told.wait.get_or_insert(Guess { at: self.now, seconds });
    }

    /// A task that is placed was told when it will be done.
    pub fn tell_end(&mut self, task: usize, seconds: f64) {
        self.tickets[task].told.end = Some(Guess { at: self.now, seconds });
    }

    pub(super) fn plan(&mut self, at: f64, what: What) -> u64 {
        self.serial += 1;
        self.due.push(Reverse(Due { at, serial: self.serial, what }));
        self.serial
    }

    /// Plans all that is known beforehand.
    pub(super) fn begin(&mut self, heard: bool) {
        self.heard = heard;
        if heard {
            (0..self.engines.len()).for_each(|node| self.rouse(node));
            self.plan(TICK, What::Tick);
        }
        for script in 0..self.trace.scripts.len() {
            self.plan(self.trace.scripts[script].at, What::Arrive { script, turn: 0 });
        }
        for change in self.trace.changes.clone() {
            self.plan(change.at, What::Change { node: change.node, factor: change.factor });
        }
    }

    /// Goes on to what happens next.
    pub(super) fn next(&mut self) -> Option<What> {
        while let Some(Reverse(Due { at, serial, what })) = self.due.pop() {
            let is_old = match what {
                What::Engine(node) => self.engine_event[node] != serial,
                What::Agent(node) => self.agent_event[node] != serial,
                _ => false,
            };
            if !is_old {
                debug_assert!(at >= self.now, "time goes back");
                self.now = at;
                return Some(what);
            }
        }
        None
    }

    /// Lets an engine do what is due, and tells its agent; what has ended.
    pub(super) fn step(&mut self, node: usize) -> Vec<Job> {
        let was_full = self.engines[node].is_full();
        self.engines[node].step(self.now);
        let ended = self.engines[node].take_ended();
        self.touch(node);
        for &job in &ended {
            self.agents[node].ended(&job, self.now);
            self.close(job.ask.id, Outcome::Done { node, job });
        }
        if !ended.is_empty() {
            self.agents[node].changed(was_full, self.now);
            self.rouse(node);
        }
        ended
    }

    pub(super) fn wake(&mut self, node: usize) -> (Option<Heartbeat>, Option<CacheDigest>) {
        self.engines[node].advance(self.now);
        let beat = self.agents[node].wake(&self.engines[node], self.now);
        let digest = self.agents[node].digest(&self.engines[node], self.now);
        self.rouse(node);
        (beat, digest)
    }

    pub(super) fn arrive(&mut self, script: usize, turn: usize, owner: usize) -> usize {
        let id = self.tickets.len();
        let asked = self.trace.scripts[script].turns[turn];
        let ask = Ask {
            id,
            model: asked.model,
            prompt: f64::from(asked.prompt),
            answer: f64::from(asked.answer),
            session: asked.session,
            system: asked.system,
            system_tokens: f64::from(asked.system_tokens),
            calls_tool: asked.calls_tool,
        };
        let (outcome, client) = (Outcome::Waiting, self.trace.scripts[script].client);
        let told = Told::default();
        self.tickets.push(Ticket { ask, script, turn, client, arrived: self.now, owner, told, outcome });
        id
    }

    pub(super) fn change(&mut self, node: usize, factor: f64) {
        self.engines[node].set_factor(factor, self.now);
        self.touch(node);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over == self.total
    }

    pub(super) fn finish(self) -> Run {
        let loads = self.engines.iter().map(Engine::loads).sum();
        Run {
            tickets: self.tickets,
            changes: self.trace.changes,
            loads,
            refusals: self.refusals,
            seconds: self.now,
        }
    }

    fn close(&mut self, task: usize, outcome: Outcome) {
        let ticket = &mut self.tickets[task];
        ticket.outcome = outcome;
        let (script, turn) = (ticket.script, ticket.turn + 1);
        self.over += 1;
        if let Some(next) = self.trace.scripts[script].turns.get(turn) {
            self.plan(self.now + next.think, What::Arrive { script, turn });
        }
    }

    /// Something has changed in an engine: when does it do the next thing?
    fn touch(&mut self, node: usize) {
        self.engine_event[node] = match self.engines[node].next_event() {
            Some(next) => self.plan(next, What::Engine(node)),
            None => 0,
        };
    }

    /// An agent may want to be woken sooner.
    fn rouse(&mut self, node: usize) {
        if self.heard {
            self.agent_event[node] = self.plan(self.agents[node].wakes().max(self.now), What::Agent(node));
        }
    }
}
