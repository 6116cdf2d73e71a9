//! Policies side by side on one trace.

use std::fmt;

use serde::Serialize;

use super::case::{Case, known, play_all};
use super::figures::Figures;
use super::statistics::{mean, spread};
use super::who::{Who, oracles_of};
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

/// What can be done by somebody who knows every duration, seed by seed.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The mean of each oracle.
    oracles: Vec<(String, f64)>,
    best: Vec<Figures>,
    /// The best of those that keep the order of arrival.
    in_order: Vec<Figures>,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Sheet {
    /// The trace, and how it was played if not as usual.
    pub title: String,
    pub seeds: usize,
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
    pub of_best: Multiple,
    pub of_in_order: Multiple,
}

/// The mean as a multiple of another one, and its spread over the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Multiple {
    pub mean: f64,
    pub spread: f64,
}

impl Question {
    fn case(&self, who: Who, seed: u64, orchestrators: usize) -> Case<'_> {
        let setup = Setup { seed, orchestrators, beat: self.beat };
        Case { trace: &self.trace, weight: self.weight, setup, who }
    }

    /// Plays the oracles. They know all, so they are one orchestrator, and hear no heartbeats.
    ///
    /// # Errors
    /// When there is no such trace, or when it comes to a standstill.
    pub fn reference(&self, threads: usize) -> Result<Reference, String> {
        let first = self.seeds.first().copied().unwrap_or_default();
        let oracles = oracles_of(&known(&self.trace, first, self.weight)?);
        let cases =
            oracles.iter().flat_map(|(_, who)| self.seeds.iter().map(|&seed| self.case(*who, seed, 1)));
        let figures = play_all(&cases.collect::<Vec<_>>(), threads, |_, run| Figures::of(run))?;
        let knew: Vec<_> = oracles.iter().zip(figures.chunks(self.seeds.len().max(1))).collect();
        let best_of = |among: fn(Who) -> bool| {
            let among: Vec<_> = knew.iter().filter(|((_, who), _)| among(*who)).map(|(_, all)| all).collect();
            let of = |seed: usize| among.iter().map(|all| all[seed]).min_by(|a, b| a.mean.total_cmp(&b.mean));
            (0..self.seeds.len()).filter_map(of).collect()
        };
        Ok(Reference {
            best: best_of(|_| true),
            in_order: best_of(Who::knows_in_order),
            oracles: knew
                .iter()
                .map(|((name, _), all)| ((*name).to_owned(), Figures::mean_of(all).mean))
                .collect(),
        })
    }

    /// Plays the policies.
    ///
    /// # Errors
    /// When there is no such trace, or when it comes to a standstill.
    pub fn answer(&self, reference: &Reference, threads: usize) -> Result<Sheet, String> {
        let each = |who: Who| self.seeds.iter().map(move |&seed| self.case(who, seed, self.orchestrators));
        let cases: Vec<_> = self.policies.iter().flat_map(|(_, who)| each(*who)).collect();
        let figures = play_all(&cases, threads, |_, run| Figures::of(run))?;
        let asked = self.policies.iter().map(|(name, _)| name.as_str());
        let asked = asked.zip(figures.chunks(self.seeds.len().max(1)));
        let knew = [("in order", &*reference.in_order), ("oracle", &*reference.best)];
        Ok(Sheet {
            title: self.title(),
            seeds: self.seeds.len(),
            best: Figures::mean_of(&reference.best).mean,
            oracles: reference.oracles.clone(),
            rows: asked.chain(knew).map(|(name, all)| Row::of(name, all, reference)).collect(),
        })
    }

    fn title(&self) -> String {
        let mut title = format!("`{}`", self.trace);
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

impl Row {
    fn of(policy: &str, all: &[Figures], reference: &Reference) -> Self {
        let means: Vec<_> = all.iter().map(|it| it.mean).collect();
        Self {
            policy: policy.to_owned(),
            figures: Figures::mean_of(all),
            mean_spread: spread(&means),
            of_best: Multiple::of(all, &reference.best),
            of_in_order: Multiple::of(all, &reference.in_order),
        }
    }
}

impl Multiple {
    /// Of runs of the same seeds.
    pub(super) fn of(all: &[Figures], others: &[Figures]) -> Self {
        let ratios: Vec<_> = all.iter().zip(others).map(|(it, other)| it.mean / other.mean).collect();
        Self { mean: mean(&ratios), spread: spread(&ratios) }
    }
}

impl fmt::Display for Multiple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ±{:.2}", self.mean, self.spread)
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<_> = self.oracles.iter().map(|(name, mean)| format!("{name} {mean:.2}")).collect();
        writeln!(f, "== {}, {} seeds; best {:.2} ({})", self.title, self.seeds, self.best, each.join(", "))?;
        let names = ["mean", "±", "p50", "p95", "p99", "first", "p50", "p95", "p99", "loads", "refused"];
        write!(f, "{:10}", "")?;
        for name in names {
            write!(f, "{name:>9}")?;
        }
        writeln!(f, "   of in order      of best")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
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
        write!(f, "{:9.0}{:9.2}", it.loads, it.refused)?;
        for multiple in [self.of_in_order, self.of_best] {
            write!(f, "  {:>12}", multiple.to_string())?;
        }
        if it.failed > 0.0 {
            write!(f, "  {:.1} of {:.0} failed", it.failed, it.tasks)?;
        }
        for (what, errors) in [("wait", it.waits), ("completion", it.ends)] {
            if errors.told > 0.0 {
                write!(f, "\n{:10}  {what} {errors}", "")?;
            }
        }
        Ok(())
    }
}
