//! This state of the project beside another: what each figure is of what it was, pair by pair.
//!
//! The two take turns, so a slow minute of the machine hits both of a pair. A ratio that lies on one side of 1 in every pair
//! is a change, if there are five pairs or more (chance alone does that once in sixteen times); anything else is noise.

use std::fmt::Write;

use super::{number::number, summary::Report};
use crate::{
    figure::{FIGURES, Figure},
    stats::{median, spread},
    system::Kind,
    workload::Run,
};

/// Nothing, where no other state was measured. Writing to a string never fails.
pub fn table(report: &Report, out: &mut String) {
    let rows: Vec<_> = FIGURES.iter().filter_map(|figure| row(&report.results.runs, figure)).collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## This state beside the other\n");
    let _ = writeln!(
        out,
        "Each pair of runs in turns gives one ratio, this state's figure to the other's; then their median (least to most).\n"
    );
    let _ = writeln!(
        out,
        "| workload | figure | before | now | ratio | pairs | |\n|---|---|---|---|---|---|---|"
    );
    rows.iter().for_each(|row| out.push_str(row));
}

fn row(runs: &[Run], figure: &Figure) -> Option<String> {
    let pairs = pairs(runs, figure);
    let ratios: Vec<f64> =
        pairs.iter().filter(|(before, _)| *before > 0.0).map(|(before, now)| now / before).collect();
    let (ratio, (least, most)) = (median(&ratios)?, spread(&ratios)?);
    let before: Vec<f64> = pairs.iter().map(|(before, _)| *before).collect();
    let now: Vec<f64> = pairs.iter().map(|(_, now)| *now).collect();
    let word = match (least > 1.0, most < 1.0) {
        _ if ratios.len() < 5 => "too few pairs",
        (true, _) => "more, in every pair",
        (_, true) => "less, in every pair",
        _ => "",
    };
    let unit = if figure.unit.is_empty() { String::new() } else { format!(", {}", figure.unit) };
    Some(format!(
        "| {} | {}{unit} | {} | {} | {} ({}–{}) | {} | {word} |\n",
        figure.workload.letter(),
        figure.title,
        number(median(&before)?),
        number(median(&now)?),
        number(ratio),
        number(least),
        number(most),
        ratios.len(),
    ))
}

/// The figure before and now, for each repetition that has both.
fn pairs(runs: &[Run], figure: &Figure) -> Vec<(f64, f64)> {
    let of =
        |kind: Kind| runs.iter().filter(move |run| run.system == kind && run.workload == figure.workload);
    let value = |run: &Run| run.figures.get(figure.key).copied();
    of(Kind::Mesh)
        .filter_map(|now| {
            let before = of(Kind::MeshBefore).find(|before| before.repetition == now.repetition)?;
            Some((value(before)?, value(now)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{figure::Figures, workload::Workload};

    fn run(system: Kind, repetition: usize, value: f64) -> Run {
        let figures = Figures::from([("cpu_per_token", value)]);
        Run {
            system,
            workload: Workload::B,
            repetition,
            figures,
            parts: Vec::new(),
            faults: Default::default(),
            errors: 0,
            messages: Vec::new(),
        }
    }

    #[test]
    fn a_change_is_what_every_pair_shows() {
        let figure = FIGURES
            .iter()
            .find(|figure| figure.workload == Workload::B && figure.key == "cpu_per_token")
            .unwrap();
        let pairs = |now: [f64; 5]| {
            let before = [10.0, 20.0, 30.0, 10.0, 10.0];
            let runs = (1..).zip(before.into_iter().zip(now));
            let runs: Vec<_> = runs
                .flat_map(|(at, (before, now))| [run(Kind::MeshBefore, at, before), run(Kind::Mesh, at, now)])
                .collect();
            row(&runs, figure).unwrap()
        };
        assert!(
            pairs([5.0, 10.0, 27.0, 5.0, 5.0]).contains("| 0.50 (0.50–0.90) | 5 | less, in every pair |"),
            "{}",
            pairs([5.0, 10.0, 27.0, 5.0, 5.0])
        );
        assert!(pairs([5.0, 10.0, 31.0, 5.0, 5.0]).contains("| 5 |  |"));
        assert!(pairs([11.0, 21.0, 31.0, 11.0, 11.0]).contains("more, in every pair"));
        assert_eq!(row(&[run(Kind::Mesh, 1, 1.0)], figure), None, "nothing to compare with");
    }
}
