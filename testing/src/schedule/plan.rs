//! What is to be played, and what the simulator makes of it.

use std::path::PathBuf;

use super::figures::Side;
use echo_orchestrator::sim::{
    report::Who,
    text::Texts,
    trace::{NAMES, Trace, Weight},
    world::{Outcome, Run, Setup, World},
};

/// The simulator plays a trace so many times, with agents that begin at other moments: a heartbeat that comes a little later
/// decides where a model is loaded, and with that all that follows.
const PHASES: u64 = 10;

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Plan {
    pub trace: String,
    pub seed: u64,
    /// Scripts that begin later, in the time of the trace, are left out.
    pub minutes: f64,
    pub compress: f64,
    /// The simulator's policy to compare with.
    pub policy: String,
    /// Where the programs are; absent: beside this one.
    pub programs: Option<PathBuf>,
}

impl Plan {
    pub fn trace(&self) -> Result<Trace, String> {
        let trace = Trace::of(&self.trace, self.seed, Weight::default());
        let trace = trace
            .ok_or_else(|| format!("there is no trace {:?}; there are {}", self.trace, NAMES.join(", ")))?;
        if !trace.changes.is_empty() {
            return Err(format!("{} changes its engines, which scripted ones do not", self.trace));
        }
        let mut trace = trace.until(self.minutes * 60.0).compressed(self.compress);
        // Scripted answers end plainly, and so they do for the simulator: what is told of tool calls is not played.
        trace.scripts.iter_mut().flat_map(|it| &mut it.turns).for_each(|turn| turn.calls_tool = false);
        Ok(trace)
    }

    /// What the simulator makes of it.
    ///
    /// # Errors
    /// When there is no such trace or policy, or when nothing goes on.
    pub fn simulate(&self) -> Result<Side, String> {
        let who = Who::of(&self.policy, Texts::Whole);
        let who = who.ok_or_else(|| format!("there is no policy {:?}", self.policy))?;
        let trace = self.trace()?;
        let nodes = trace.machines.len();
        let mut all = Side { shares: vec![0; nodes], ..Side::default() };
        for phase in 0..PHASES {
            let setup = Setup::new(self.seed + 1_000 * phase);
            let run = World::new(trace.clone(), setup, who.lack(), |number, mesh| who.policy(number, mesh))
                .run()?;
            all.add(&simulated(&run, nodes));
        }
        Ok(all)
    }
}

fn simulated(run: &Run, nodes: usize) -> Side {
    let mut side = Side { plays: 1, loads: run.loads as u64, shares: vec![0; nodes], ..Side::default() };
    for ticket in &run.tickets {
        match ticket.outcome {
            Outcome::Done { node, job } => {
                side.shares[node] += 1;
                side.ended(job.ended - ticket.arrived, job.first - ticket.arrived);
            }
            _ => side.failed += 1,
        }
    }
    side
}
