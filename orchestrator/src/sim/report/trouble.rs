//! A node that becomes slow and recovers: is it spared, and is it found again?

use serde::Serialize;

use super::case::{Case, play_all};
use super::statistics::mean;
use super::who::Who;
use crate::sim::trace::Weight;
use crate::sim::world::{Outcome, Run, Setup};

/// The trace `owner` before, while and after its fastest node is slow: mean completion, and that node's share of the tasks.
#[derive(Debug, Clone, Serialize)]
pub struct Thirds {
    pub policy: String,
    pub mean: [f64; 3],
    pub share: [f64; 3],
}

/// Plays the trace for each policy.
///
/// # Errors
/// When it comes to a standstill.
pub fn trouble(policies: &[(String, Who)], seeds: &[u64], threads: usize) -> Result<Vec<Thirds>, String> {
    let case = |who, seed| Case { trace: "owner", weight: Weight::default(), setup: Setup::new(seed), who };
    let cases: Vec<_> =
        policies.iter().flat_map(|(_, who)| seeds.iter().map(|&seed| case(*who, seed))).collect();
    let seen = play_all(&cases, threads, |_, run| thirds(run))?;
    let of = |all: &[[Third; 3]], third: usize, figure: fn(&Third) -> f64| {
        mean(&all.iter().map(|it| figure(&it[third])).collect::<Vec<_>>())
    };
    let told = |((name, _), all): (&(String, Who), &[[Third; 3]])| Thirds {
        policy: name.clone(),
        mean: [0, 1, 2].map(|third| of(all, third, |it| it.mean)),
        share: [0, 1, 2].map(|third| of(all, third, |it| it.share)),
    };
    Ok(policies.iter().zip(seen.chunks(seeds.len().max(1))).map(told).collect())
}

#[derive(Debug, Clone, Copy)]
struct Third {
    mean: f64,
    share: f64,
}

fn thirds(run: &Run) -> [Third; 3] {
    let [from, to] = [0, 1].map(|change| run.changes.get(change).map_or(f64::INFINITY, |it| it.at));
    let slow = run.changes.first().map(|it| it.node);
    let within = [(f64::NEG_INFINITY, from), (from, to), (to, f64::INFINITY)];
    within.map(|(from, to)| {
        let came = run.tickets.iter().filter(|it| it.arrived >= from && it.arrived < to);
        let (mut took, mut there) = (Vec::new(), 0_usize);
        for ticket in came {
            if let Outcome::Done { node, job } = ticket.outcome {
                took.push(job.ended - ticket.arrived);
                there += usize::from(Some(node) == slow);
            }
        }
        Third { mean: mean(&took), share: there as f64 / (took.len() as f64).max(1.0) }
    })
}

impl std::fmt::Display for Thirds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:14}", self.policy)?;
        for (third, (mean, share)) in
            ["before", "during", "after"].iter().zip(self.mean.iter().zip(self.share))
        {
            write!(f, "  {third} {mean:6.2} (share of the node {share:.2})")?;
        }
        Ok(())
    }
}
