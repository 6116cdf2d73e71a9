//! How far what was told was from what came.

use std::fmt;

use serde::Serialize;

use super::figures::{mean, quantile};
use crate::sim::world::{Outcome, Run};

/// What takes less than this counts as so long, in seconds: the error of a moment is a moment too.
const LEAST: f64 = 1.0;

/// Errors as shares of what came. A task that was told nothing is in none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Errors {
    /// Of the wait that was told when a task came into the queue.
    pub wait_p50: f64,
    pub wait_p90: f64,
    /// Tasks that were told a wait.
    pub waits: f64,
    /// Of the time from arrival to end, as expected when the task was placed.
    pub whole_p50: f64,
    pub whole_p90: f64,
    /// Tasks of which a whole was told.
    pub wholes: f64,
}

impl Errors {
    pub fn of(run: &Run) -> Self {
        let (mut waits, mut wholes) = (Vec::new(), Vec::new());
        for ticket in &run.tickets {
            let Outcome::Done { job, .. } = ticket.outcome else { continue };
            let error = |told: u64, came: f64| (told as f64 / 1e3 - came).abs() / came.max(LEAST);
            waits.extend(
                ticket
                    .told
                    .wait
                    .filter(|told| *told > 0)
                    .map(|told| error(told, job.entered - ticket.arrived)),
            );
            wholes.extend(ticket.told.whole.map(|told| error(told, job.ended - ticket.arrived)));
        }
        waits.sort_by(f64::total_cmp);
        wholes.sort_by(f64::total_cmp);
        Self {
            wait_p50: quantile(&waits, 0.5),
            wait_p90: quantile(&waits, 0.9),
            waits: waits.len() as f64,
            whole_p50: quantile(&wholes, 0.5),
            whole_p90: quantile(&wholes, 0.9),
            wholes: wholes.len() as f64,
        }
    }

    /// The mean of each.
    pub fn mean_of(all: &[Self]) -> Self {
        let of = |error: fn(&Self) -> f64| mean(&all.iter().map(error).collect::<Vec<_>>());
        Self {
            wait_p50: of(|it| it.wait_p50),
            wait_p90: of(|it| it.wait_p90),
            waits: of(|it| it.waits),
            whole_p50: of(|it| it.whole_p50),
            whole_p90: of(|it| it.whole_p90),
            wholes: of(|it| it.wholes),
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| share * 100.0;
        write!(
            f,
            "wait {:.0}% (p90 {:.0}%) of {:.0}, whole {:.0}% (p90 {:.0}%) of {:.0}",
            percent(self.wait_p50),
            percent(self.wait_p90),
            self.waits,
            percent(self.whole_p50),
            percent(self.whole_p90),
            self.wholes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::report::{Case, Who};
    use crate::sim::text::Texts;
    use crate::sim::trace::Weight;
    use crate::sim::world::Setup;

    fn errors(who: Who) -> Errors {
        let (weight, setup) =
            (Weight { load: None, count: None }, Setup { seed: 1, orchestrators: 1, beat: 1.0 });
        Errors::of(&Case { trace: "burst", weight, setup, who }.play().unwrap())
    }

    #[test]
    fn what_is_told_is_near_what_comes() {
        let told = errors(Who::Echo(Texts::Short));
        assert!(told.waits > 100.0 && told.wholes > 400.0, "{told}");
        assert!(told.wait_p50 < 0.5 && told.whole_p50 < 0.5, "{told}");
        assert_eq!(errors(Who::LeastConnections), Errors::default(), "it tells nothing");
    }
}
