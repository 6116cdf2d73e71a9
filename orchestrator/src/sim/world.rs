//! The loop that plays a trace: arrivals, engines, agents and clocks, with one or several orchestrators.

mod mesh;
mod run;
#[cfg(test)]
mod tests;
mod ticket;

use echo_bus::message::{CacheDigest, Heartbeat};

use super::engine::Job;
use super::lack::Lack;
use super::rng::Rng;
use super::trace::Trace;
pub use mesh::Mesh;
use mesh::{TICK, What};
pub use run::Run;
pub use ticket::{Guess, Outcome, Ticket};

/// A trace that takes longer than this many seconds has come to a standstill.
const STANDSTILL: f64 = 1e6;

/// Who gives tasks to nodes.
pub trait Policy {
    /// It learns from heartbeats and its clock, and from nothing else.
    fn listens(&self) -> bool {
        false
    }
    /// A task has come to this orchestrator.
    fn submit(&mut self, task: usize, mesh: &mut Mesh);
    /// A task of this orchestrator has ended.
    fn ended(&mut self, _job: &Job, _node: usize, _mesh: &mut Mesh) {}
    /// All that has ended now has been told.
    fn freed(&mut self, _mesh: &mut Mesh) {}
    fn heard(&mut self, _beat: &Heartbeat, _mesh: &mut Mesh) {}
    fn heard_caches(&mut self, _digest: &CacheDigest, _mesh: &mut Mesh) {}
    fn tick(&mut self, _mesh: &mut Mesh) {}
}

/// How a trace is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setup {
    pub seed: u64,
    pub orchestrators: usize,
    /// Seconds between heartbeats.
    pub beat: f64,
}

impl Setup {
    pub fn new(seed: u64) -> Self {
        Self { seed, orchestrators: 1, beat: 1.0 }
    }
}

/// A mesh and its orchestrators.
pub struct World {
    mesh: Mesh,
    policies: Vec<Box<dyn Policy>>,
    listens: bool,
    rng: Rng,
}

impl World {
    /// A trace that has not begun, and for each orchestrator the policy that this number gets.
    pub fn new(
        trace: Trace,
        setup: Setup,
        lack: Lack,
        policy: impl Fn(usize, &Mesh) -> Box<dyn Policy>,
    ) -> Self {
        let mut rng = Rng::new(setup.seed.wrapping_mul(7_919).wrapping_add(13));
        let mesh = Mesh::new(trace, setup.beat, lack, &mut rng);
        let policies: Vec<_> = (0..setup.orchestrators).map(|number| policy(number, &mesh)).collect();
        let listens = policies.iter().any(|policy| policy.listens());
        Self { mesh, policies, listens, rng }
    }

    /// Plays the trace to its end.
    ///
    /// # Errors
    /// When it comes to a standstill.
    pub fn run(mut self) -> Result<Run, String> {
        self.mesh.begin(self.listens);
        while !self.mesh.is_over() {
            let Some(what) = self.mesh.next() else { return Err("nothing happens any more".to_owned()) };
            if self.mesh.now > STANDSTILL {
                return Err(format!("tasks wait for ever under {}", self.mesh.trace().name));
            }
            self.happen(what);
        }
        Ok(self.mesh.finish())
    }

    fn happen(&mut self, what: What) {
        let (mesh, policies) = (&mut self.mesh, &mut self.policies);
        match what {
            What::Engine(node) => {
                let ended = mesh.step(node);
                for job in &ended {
                    policies[mesh.ticket(job.ask.id).owner].ended(job, node, mesh);
                }
                if !ended.is_empty() {
                    policies.iter_mut().for_each(|policy| policy.freed(mesh));
                }
            }
            What::Agent(node) => {
                let (beat, digest) = mesh.wake(node);
                if let Some(beat) = beat {
                    policies.iter_mut().for_each(|policy| policy.heard(&beat, mesh));
                }
                if let Some(digest) = digest {
                    policies.iter_mut().for_each(|policy| policy.heard_caches(&digest, mesh));
                }
            }
            What::Arrive { script, turn } => {
                let owner = self.rng.below(policies.len());
                let task = mesh.arrive(script, turn, owner);
                policies[owner].submit(task, mesh);
            }
            What::Change { node, factor } => mesh.change(node, factor),
            What::Tick => {
                mesh.plan(mesh.now + TICK, What::Tick);
                policies.iter_mut().for_each(|policy| policy.tick(mesh));
            }
        }
    }
}
