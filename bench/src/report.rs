//! What was measured, for machines and for people.

pub mod growth;
mod plot;
pub mod table;

use std::{fs, path::Path};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    figure::{FIGURES, Figure, Relation},
    machine::Machine,
    runner::Results,
    stats::{median, spread},
    system::Kind,
    workload::Workload,
};

/// Everything that goes into the files.
#[derive(Debug, Serialize)]
pub struct Report {
    pub form: &'static str,
    pub command: String,
    /// Unix seconds.
    pub time: u64,
    pub seconds: u64,
    pub machine: Machine,
    #[serde(flatten)]
    pub results: Results,
}

/// One figure of one system over all repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// Against the direct one: a share, or what is added.
    pub to_direct: Option<f64>,
}

impl Report {
    /// The systems that were measured, in their order.
    pub fn systems(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| self.results.runs.iter().any(|run| run.system == *kind)).collect()
    }

    pub fn summary(&self, system: Kind, figure: &Figure) -> Option<Summary> {
        let values = self.values(system, figure);
        let (median, (min, max)) = (median(&values)?, spread(&values)?);
        let direct = crate::stats::median(&self.values(Kind::Direct, figure));
        let to_direct = direct.filter(|_| system != Kind::Direct).and_then(|direct| match figure.relation {
            Relation::Share => (direct > 0.0).then(|| median / direct),
            Relation::Added => Some(median - direct),
            Relation::Alone => None,
        });
        Some(Summary { median, min, max, to_direct })
    }

    fn values(&self, system: Kind, figure: &Figure) -> Vec<f64> {
        let runs =
            self.results.runs.iter().filter(|run| run.system == system && run.workload == figure.workload);
        runs.filter_map(|run| run.figures.get(figure.key).copied()).collect()
    }

    /// Writes the files into a folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("bench.json", serde_json::to_string_pretty(&self.json())?)?;
        write("bench.svg", plot::svg(self))?;
        write("bench.md", table::markdown(self))
    }

    fn json(&self) -> Value {
        let mut summaries = Vec::new();
        for figure in FIGURES {
            for system in self.systems() {
                if let Some(summary) = self.summary(system, figure) {
                    summaries.push(json!({"system": system, "workload": figure.workload, "figure": figure.key,
                        "title": figure.title, "unit": figure.unit, "relation": figure.relation, "summary": summary}));
                }
            }
        }
        let mut json = json!(self);
        json["summaries"] = summaries.into();
        json
    }
}

/// A number with as many digits as a reader can use.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 10_000.0 => grouped(value),
        _ if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}

/// The figures of one workload.
pub fn figures_of(workload: Workload) -> impl Iterator<Item = &'static Figure> {
    FIGURES.iter().filter(move |figure| figure.workload == workload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.0123, 0.5, 2.345, 23.45, 234.5, 12_345.6, 1_234_567.0, -1.5].map(number);
        assert_eq!(shown, ["0", "0.012", "0.50", "2.35", "23.4", "234", "12,346", "1,234,567", "-1.50"]);
    }
}
