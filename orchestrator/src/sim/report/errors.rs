//! How wrong it was what tasks were told.

use serde::Serialize;

use super::statistics::{mean, quantile};
use crate::sim::world::Guess;

/// A shorter time counts as this long where an error is measured by what came, in seconds.
const SHORTEST: f64 = 1.0;

/// How far what was told was from what came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Errors {
    /// Tasks that were told.
    pub told: f64,
    /// In seconds.
    pub p50: f64,
    pub p90: f64,
    /// As a share of what came.
    pub of_it_p50: f64,
    pub of_it_p90: f64,
    /// Seconds that too much was told, on average; less than nothing is too little.
    pub bias: f64,
}

impl Errors {
    /// Of guesses, and the moments when it came.
    pub(super) fn of(guesses: &[(Guess, f64)]) -> Self {
        let (mut missed, mut shares, mut too_much) = (Vec::new(), Vec::new(), Vec::new());
        for (guess, moment) in guesses {
            let came = moment - guess.at;
            too_much.push(guess.seconds - came);
            missed.push((guess.seconds - came).abs());
            shares.push((guess.seconds - came).abs() / came.max(SHORTEST));
        }
        missed.sort_by(f64::total_cmp);
        shares.sort_by(f64::total_cmp);
        Self {
            told: guesses.len() as f64,
            p50: quantile(&missed, 0.5),
            p90: quantile(&missed, 0.9),
            of_it_p50: quantile(&shares, 0.5),
            of_it_p90: quantile(&shares, 0.9),
            bias: mean(&too_much),
        }
    }

    pub(super) fn mean_of(all: &[Self]) -> Self {
        // Where nobody was told anything, nothing was wrong.
        let spoke = || all.iter().filter(|it| it.told > 0.0);
        let of = |figure: fn(&Self) -> f64| mean(&spoke().map(figure).collect::<Vec<_>>());
        Self {
            told: mean(&all.iter().map(|it| it.told).collect::<Vec<_>>()),
            p50: of(|it| it.p50),
            p90: of(|it| it.p90),
            of_it_p50: of(|it| it.of_it_p50),
            of_it_p90: of(|it| it.of_it_p90),
            bias: of(|it| it.bias),
        }
    }
}

impl std::fmt::Display for Errors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [half, most] = [self.of_it_p50, self.of_it_p90].map(|share| share * 100.0);
        let Self { told, p50, p90, bias, .. } = self;
        write!(
            f,
            "{told:.0} told, off by {p50:.1} s ({half:.0}%), p90 {p90:.1} s ({most:.0}%), mean {bias:+.1} s"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_what_was_told_against_what_came() {
        let guesses: Vec<_> =
            (1..=10).map(|more| (Guess { at: 5.0, seconds: 4.0 + f64::from(more) }, 9.0)).collect();
        let errors = Errors::of(&guesses);
        assert_eq!((errors.told, errors.p50, errors.p90), (10.0, 6.0, 10.0));
        assert_eq!((errors.of_it_p50, errors.bias), (1.5, 5.5));
        let at_once = Errors::of(&[(Guess { at: 5.0, seconds: 0.5 }, 5.0)]);
        assert_eq!(at_once.of_it_p50, 0.5, "what came at once is no reason for an endless share");
        assert_eq!(Errors::of(&[]), Errors::default());
    }
}
