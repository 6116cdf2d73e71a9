//! The policy of the product without each of its parts.

use std::fmt;

use serde::Serialize;

use super::case::{Case, play_all};
use super::figures::Figures;
use super::table::Multiple;
use super::who::Who;
use crate::sim::parts::{Proposal, without};
use crate::sim::trace::Weight;
use crate::sim::world::Setup;

/// What each part is worth on each trace.
#[derive(Debug, Clone, Serialize)]
pub struct Parts {
    pub traces: Vec<String>,
    /// By part, the mean without it as a multiple of the mean with all of them, trace by trace.
    pub rows: Vec<(String, Vec<Multiple>)>,
}

/// Plays traces without each part.
///
/// # Errors
/// When there is no such trace, or when it comes to a standstill.
pub fn parts(traces: &[&str], weight: Weight, seeds: &[u64], threads: usize) -> Result<Parts, String> {
    let without = without();
    let all = std::iter::once(Proposal::default()).chain(without.iter().map(|(_, proposal)| *proposal));
    let case =
        |trace, proposal, seed| Case { trace, weight, setup: Setup::new(seed), who: Who::Echo(proposal) };
    let of = |proposal| {
        traces.iter().flat_map(move |trace| seeds.iter().map(move |&seed| case(*trace, proposal, seed)))
    };
    let cases: Vec<_> = all.flat_map(of).collect();
    let figures = play_all(&cases, threads, |_, run| Figures::of(run))?;
    let each = seeds.len().max(1);
    let (whole, rest) = figures.split_at(traces.len() * each);
    let compared = |all: &[Figures]| {
        all.chunks(each).zip(whole.chunks(each)).map(|(all, whole)| Multiple::of(all, whole)).collect()
    };
    let rows = without.iter().zip(rest.chunks((traces.len() * each).max(1)));
    Ok(Parts {
        traces: traces.iter().map(|trace| (*trace).to_owned()).collect(),
        rows: rows.map(|((name, _), all)| ((*name).to_owned(), compared(all))).collect(),
    })
}

/// A table for documents.
impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<_> = self.traces.iter().map(|trace| format!("`{trace}`")).collect();
        writeln!(f, "| without | {} |", named.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(named.len()))?;
        self.rows.iter().try_for_each(|(name, on)| {
            let on: Vec<_> = on.iter().map(|multiple| format!("{:.2}", multiple.mean)).collect();
            writeln!(f, "| {name} | {} |", on.join(" | "))
        })
    }
}
