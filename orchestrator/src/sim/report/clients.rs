//! One client that floods, and one that does not: how long the tasks of each wait.

use serde::Serialize;

use super::case::{Case, play_all};
use super::statistics::{mean, quantile};
use super::who::Who;
use crate::sim::trace::Weight;
use crate::sim::world::{Outcome, Run, Setup};

/// The trace `flood` as long as something of the flood waits: seconds until a task has a slot.
#[derive(Debug, Clone, Serialize)]
pub struct Waits {
    pub policy: String,
    pub polite: Wait,
    pub flood: Wait,
}

/// Of one client; the means of several plays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Wait {
    pub tasks: f64,
    pub mean: f64,
    pub p95: f64,
    /// Until the answer is whole.
    pub whole: f64,
}

/// Plays the trace for each policy.
///
/// # Errors
/// When it comes to a standstill.
pub fn clients(policies: &[(String, Who)], seeds: &[u64], threads: usize) -> Result<Vec<Waits>, String> {
    let case = |who, seed| Case { trace: "flood", weight: Weight::default(), setup: Setup::new(seed), who };
    let cases: Vec<_> =
        policies.iter().flat_map(|(_, who)| seeds.iter().map(|&seed| case(*who, seed))).collect();
    let seen = play_all(&cases, threads, |_, run| ["polite", "flood"].map(|client| Wait::of(run, client)))?;
    let told = |((name, _), all): (&(String, Who), &[[Wait; 2]])| Waits {
        policy: name.clone(),
        polite: Wait::mean_of(all.iter().map(|it| it[0])),
        flood: Wait::mean_of(all.iter().map(|it| it[1])),
    };
    Ok(policies.iter().zip(seen.chunks(seeds.len().max(1))).map(told).collect())
}

impl Wait {
    pub fn of(run: &Run, client: &str) -> Self {
        let jobs = run.tickets.iter().filter_map(|ticket| match ticket.outcome {
            Outcome::Done { job, .. } => Some((ticket, job)),
            _ => None,
        });
        let flood = jobs.clone().filter(|(ticket, _)| ticket.client == Some("flood"));
        let (from, to) = flood.fold((f64::INFINITY, 0.0_f64), |(from, to), (ticket, job)| {
            (from.min(ticket.arrived), to.max(job.entered))
        });
        let meanwhile = jobs.filter(|(ticket, _)| {
            ticket.client == Some(client) && ticket.arrived >= from && ticket.arrived <= to
        });
        let (mut waits, whole): (Vec<_>, Vec<_>) =
            meanwhile.map(|(ticket, job)| (job.entered - ticket.arrived, job.ended - ticket.arrived)).unzip();
        waits.sort_by(f64::total_cmp);
        Self {
            tasks: waits.len() as f64,
            mean: mean(&waits),
            p95: quantile(&waits, 0.95),
            whole: mean(&whole),
        }
    }

    fn mean_of(all: impl Iterator<Item = Self> + Clone) -> Self {
        let of = |figure: fn(&Self) -> f64| mean(&all.clone().map(|it| figure(&it)).collect::<Vec<_>>());
        Self {
            tasks: of(|it| it.tasks),
            mean: of(|it| it.mean),
            p95: of(|it| it.p95),
            whole: of(|it| it.whole),
        }
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:20}", self.policy)?;
        for (client, it) in [("polite", self.polite), ("flood", self.flood)] {
            let Wait { tasks, mean, p95, whole } = it;
            write!(f, "  {client}: {tasks:.0} tasks wait {mean:.1} s, p95 {p95:.1} s, whole {whole:.1} s")?;
        }
        Ok(())
    }
}
