//! How long tasks took.

use serde::Serialize;

use super::errors::Errors;
use super::statistics::{mean, quantile};
use crate::sim::world::{Outcome, Run};

/// Figures of one play, or means of several. Times are seconds since a task came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    pub mean: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub first_mean: f64,
    pub first_p50: f64,
    pub first_p95: f64,
    pub first_p99: f64,
    /// Models that were loaded.
    pub loads: f64,
    /// Tasks that an agent refused because it was full, for each task.
    pub refused: f64,
    /// Tasks that the mesh gave up; they count with the time until then.
    pub failed: f64,
    pub tasks: f64,
    /// Of the waits that were told, and of the completions.
    pub waits: Errors,
    pub ends: Errors,
}

impl Figures {
    pub fn of(run: &Run) -> Self {
        let (mut took, mut first, mut failed) = (Vec::new(), Vec::new(), 0_usize);
        let (mut waits, mut ends) = (Vec::new(), Vec::new());
        for ticket in &run.tickets {
            match ticket.outcome {
                Outcome::Done { job, .. } => {
                    took.push(job.ended - ticket.arrived);
                    first.push(job.first - ticket.arrived);
                    waits.extend(ticket.told.wait.map(|guess| (guess, job.entered)));
                    ends.extend(ticket.told.end.map(|guess| (guess, job.ended)));
                }
                Outcome::Failed { at } => {
                    took.push(at - ticket.arrived);
                    failed += 1;
                }
                Outcome::Waiting | Outcome::Running { .. } => {}
            }
        }
        took.sort_by(f64::total_cmp);
        first.sort_by(f64::total_cmp);
        let tasks = took.len() as f64;
        Self {
            mean: mean(&took),
            p50: quantile(&took, 0.5),
            p95: quantile(&took, 0.95),
            p99: quantile(&took, 0.99),
            first_mean: mean(&first),
            first_p50: quantile(&first, 0.5),
            first_p95: quantile(&first, 0.95),
            first_p99: quantile(&first, 0.99),
            loads: run.loads as f64,
            refused: run.refusals as f64 / tasks.max(1.0),
            failed: failed as f64,
            tasks,
            waits: Errors::of(&waits),
            ends: Errors::of(&ends),
        }
    }

    /// The mean of each figure.
    pub fn mean_of(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| mean(&all.iter().map(figure).collect::<Vec<_>>());
        Self {
            mean: of(|it| it.mean),
            p50: of(|it| it.p50),
            p95: of(|it| it.p95),
            p99: of(|it| it.p99),
            first_mean: of(|it| it.first_mean),
            first_p50: of(|it| it.first_p50),
            first_p95: of(|it| it.first_p95),
            first_p99: of(|it| it.first_p99),
            loads: of(|it| it.loads),
            refused: of(|it| it.refused),
            failed: of(|it| it.failed),
            tasks: of(|it| it.tasks),
            waits: Errors::mean_of(&all.iter().map(|it| it.waits).collect::<Vec<_>>()),
            ends: Errors::mean_of(&all.iter().map(|it| it.ends).collect::<Vec<_>>()),
        }
    }
}
