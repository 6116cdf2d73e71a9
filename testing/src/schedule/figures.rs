//! What was measured and what was simulated, side by side.

use std::fmt::Write as _;

use serde::Serialize;

/// Times of all tasks in seconds since they came: until the end, and until the first token.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Side {
    #[serde(skip)]
    pub(super) took: Vec<f64>,
    #[serde(skip)]
    pub(super) first: Vec<f64>,
    /// How often the trace was played, and the mean of each time.
    pub plays: u64,
    pub means: Vec<f64>,
    /// Of all times.
    pub loads: u64,
    pub failed: u64,
    /// Tasks by node.
    pub shares: Vec<u64>,
}

impl Side {
    pub fn ended(&mut self, took: f64, first: f64) {
        self.took.push(took);
        self.first.push(first);
    }

    /// Another play of the same trace.
    pub fn add(&mut self, other: &Self) {
        self.plays += other.plays;
        self.means.push(other.mean());
        self.took.extend(&other.took);
        self.first.extend(&other.first);
        self.loads += other.loads;
        self.failed += other.failed;
        self.shares.iter_mut().zip(&other.shares).for_each(|(sum, share)| *sum += share);
    }

    /// The least and the most that a play took on average.
    fn range(&self) -> String {
        let least = self.means.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.means.iter().copied().fold(0.0, f64::max);
        format!("{least:.2} to {most:.2}")
    }

    pub fn tasks(&self) -> usize {
        self.took.len()
    }

    pub fn mean(&self) -> f64 {
        mean(&self.took)
    }

    pub fn first(&self) -> f64 {
        mean(&self.first)
    }

    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.took.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (share * sorted.len() as f64) as usize;
        sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len() as f64).max(1.0)
}

/// One trace, once.
#[derive(Clone, Debug, Serialize)]
pub struct Sheet {
    pub trace: String,
    pub seed: u64,
    pub measured: Side,
    pub simulated: Side,
    /// Seconds by which this program itself was late on average: how busy the machine was.
    pub late: f64,
}

/// A table of all sheets; each cell is measured / simulated.
pub fn markdown(sheets: &[Sheet]) -> String {
    let mut table =
        "| trace, seed | tasks | mean, s | ratio | simulated means | p95 | p99 | first token | loads | failed | late, ms |\n\
        |---|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for sheet in sheets {
        let Sheet { trace, seed, measured, simulated, late } = sheet;
        let both = |of: &dyn Fn(&Side) -> f64| format!("{:.3} / {:.3}", of(measured), of(simulated));
        let each = |side: &Side, count: u64| count as f64 / side.plays.max(1) as f64;
        let counts =
            |of: &dyn Fn(&Side) -> u64| format!("{} / {:.0}", of(measured), each(simulated, of(simulated)));
        let ratio = measured.mean() / simulated.mean();
        let _ = writeln!(
            table,
            "| {trace}, {seed} | {} | {} | {ratio:.3} | {} | {} | {} | {} | {} | {} | {:.1} |",
            measured.tasks(),
            both(&Side::mean),
            simulated.range(),
            both(&|side| side.quantile(0.95)),
            both(&|side| side.quantile(0.99)),
            both(&Side::first),
            counts(&|side| side.loads),
            counts(&|side| side.failed),
            late * 1e3,
        );
    }
    table
}
