//! Policies side by side on one trace.

use std::fmt;

use serde::Serialize;

use super::figures::{mean, spread};
use super::{Case, Figures, Who, known, oracles_of, play_all};
use crate::sim::trace::Weight;
use crate::sim::world::Setup;

/// What is compared.
#[derive(Debug, Clone)]
pub struct Question {
    pub trace: String,
    pub weight: Weight,
    pub seeds: Vec<u64>,
    pub orchestrators: usize,
    /// Seconds between heartbeats.
    pub beat: f64,
    pub policies: Vec<(String, Who)>,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Sheet {
    pub title: String,
    /// The mean of the best oracle, seed by seed.
    pub best: f64,
    /// The mean of each oracle.
    pub oracles: Vec<(String, f64)>,
    pub rows: Vec<Row>,
}

/// One policy.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub policy: String,
    pub figures: Figures,
    /// The spread of the mean over the seeds.
    pub mean_spread: f64,
    /// The mean as a multiple of the best, and its spread over the seeds.
    pub of_best: f64,
    pub of_best_spread: f64,
}

impl Question {
    /// Plays all of it. The oracles know all, so they are one orchestrator.
    ///
    /// # Errors
    /// When there is no such trace, or when it comes to a standstill.
    pub fn answer(&self, threads: usize) -> Result<Sheet, String> {
        let case = |who, seed, orchestrators| Case {
            trace: &self.trace,
            weight: self.weight,
            setup: Setup { seed, orchestrators, beat: self.beat },
            who,
        };
        let first = self.seeds.first().copied().unwrap_or_default();
        let oracles = oracles_of(&known(&self.trace, first, self.weight)?);
        let knowing = oracles.iter().flat_map(|(_, who)| self.seeds.iter().map(|&seed| case(*who, seed, 1)));
        let asked = self.policies.iter();
        let asked =
            asked.flat_map(|(_, who)| self.seeds.iter().map(|&seed| case(*who, seed, self.orchestrators)));
        let cases: Vec<_> = knowing.chain(asked).collect();
        let figures = play_all(&cases, threads, |_, run| Figures::of(run))?;
        let mut by_policy = figures.chunks(self.seeds.len().max(1));
        let knew: Vec<_> = by_policy.by_ref().take(oracles.len()).collect();
        let best: Vec<_> = (0..self.seeds.len())
            .map(|seed| knew.iter().map(|all| all[seed].mean).fold(f64::INFINITY, f64::min))
            .collect();
        Ok(Sheet {
            title: self.title(),
            best: mean(&best),
            oracles: oracles
                .iter()
                .zip(&knew)
                .map(|((name, _), all)| ((*name).to_owned(), Figures::mean_of(all).mean))
                .collect(),
            rows: self.policies.iter().zip(by_policy).map(|((name, _), all)| row(name, all, &best)).collect(),
        })
    }

    fn title(&self) -> String {
        let mut title = format!("{}, {} seeds", self.trace, self.seeds.len());
        if let Some(load) = self.weight.load {
            title += &format!(", load {load}");
        }
        if self.orchestrators > 1 {
            title += &format!(", {} orchestrators", self.orchestrators);
        }
        if (self.beat - 1.0).abs() > f64::EPSILON {
            title += &format!(", a heartbeat every {} s", self.beat);
        }
        title
    }
}

fn row(policy: &str, all: &[Figures], best: &[f64]) -> Row {
    let means: Vec<_> = all.iter().map(|it| it.mean).collect();
    let ratios: Vec<_> = means.iter().zip(best).map(|(mean, best)| mean / best).collect();
    Row {
        policy: policy.to_owned(),
        figures: Figures::mean_of(all),
        mean_spread: spread(&means),
        of_best: mean(&ratios),
        of_best_spread: spread(&ratios),
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<_> = self.oracles.iter().map(|(name, mean)| format!("{name} {mean:.2}")).collect();
        writeln!(f, "== {}; best {:.2} ({})", self.title, self.best, each.join(", "))?;
        let names = ["mean", "±", "p50", "p95", "p99", "first", "p50", "p95", "p99", "loads", "refused"];
        write!(f, "{:10}", "")?;
        for name in names {
            write!(f, "{name:>9}")?;
        }
        writeln!(f, "   of best")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        let mut telling = self.rows.iter().filter(|row| row.figures.errors.wholes > 0.0);
        telling.try_for_each(|row| {
            writeln!(f, "{:10}what was told is off by: {}", row.policy, row.figures.errors)
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.figures;
        write!(f, "{:10}", self.policy)?;
        for value in [it.mean, self.mean_spread, it.p50, it.p95, it.p99] {
            write!(f, "{value:9.2}")?;
        }
        for value in [it.first_mean, it.first_p50, it.first_p95, it.first_p99] {
            write!(f, "{value:9.2}")?;
        }
        write!(f, "{:9.0}{:9.2}  {:6.2} ±{:.2}", it.loads, it.refused, self.of_best, self.of_best_spread)?;
        if it.failed > 0.0 { write!(f, "  {:.1} of {:.0} failed", it.failed, it.tasks) } else { Ok(()) }
    }
}
