//! What is said of all runs of one system together.

use serde::Serialize;

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
}

/// The figures of one workload.
pub fn figures_of(workload: Workload) -> impl Iterator<Item = &'static Figure> {
    FIGURES.iter().filter(move |figure| figure.workload == workload)
}
