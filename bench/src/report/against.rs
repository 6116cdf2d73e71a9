//! Two meshes side by side, pair by pair: what each figure is of the other's.
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

/// What is compared, and in which words.
struct Pair {
    base: Kind,
    other: Kind,
    title: &'static str,
    ratio: &'static str,
    columns: [&'static str; 2],
}

const PAIRS: [Pair; 2] = [
    Pair {
        base: Kind::MeshBefore,
        other: Kind::Mesh,
        title: "This state beside the other",
        ratio: "this state's figure to the other's",
        columns: ["before", "now"],
    },
    Pair {
        base: Kind::Mesh,
        other: Kind::MeshKeys,
        title: "Keys and TLS beside a bus without",
        ratio: "the figure with keys to the one without",
        columns: ["without", "with"],
    },
];

/// A table for each pair that was measured.
pub fn tables(report: &Report, out: &mut String) {
    PAIRS.iter().for_each(|pair| table(pair, &report.results.runs, out));
}

/// Writing to a string never fails.
fn table(pair: &Pair, runs: &[Run], out: &mut String) {
    let rows: Vec<_> = FIGURES.iter().filter_map(|figure| row(pair, runs, figure)).collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## {}\n", pair.title);
    let _ = writeln!(
        out,
        "Each pair of runs in turns gives one ratio, {}; then their median (least to most).\n",
        pair.ratio
    );
    let [base, other] = pair.columns;
    let _ = writeln!(
        out,
        "| workload | figure | {base} | {other} | ratio | pairs | |\n|---|---|---|---|---|---|---|"
    );
    rows.iter().for_each(|row| out.push_str(row));
}

fn row(pair: &Pair, runs: &[Run], figure: &Figure) -> Option<String> {
    let pairs = pairs(pair, runs, figure);
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

/// The figure of both, for each repetition that has both.
fn pairs(pair: &Pair, runs: &[Run], figure: &Figure) -> Vec<(f64, f64)> {
    let of =
        |kind: Kind| runs.iter().filter(move |run| run.system == kind && run.workload == figure.workload);
    let value = |run: &Run| run.figures.get(figure.key).copied();
    of(pair.other)
        .filter_map(|now| {
            let before = of(pair.base).find(|before| before.repetition == now.repetition)?;
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
            row(&PAIRS[0], &runs, figure).unwrap()
        };
        assert!(
            pairs([5.0, 10.0, 27.0, 5.0, 5.0]).contains("| 0.50 (0.50–0.90) | 5 | less, in every pair |"),
            "{}",
            pairs([5.0, 10.0, 27.0, 5.0, 5.0])
        );
        assert!(pairs([5.0, 10.0, 31.0, 5.0, 5.0]).contains("| 5 |  |"));
        assert!(pairs([11.0, 21.0, 31.0, 11.0, 11.0]).contains("more, in every pair"));
        assert_eq!(row(&PAIRS[0], &[run(Kind::Mesh, 1, 1.0)], figure), None, "nothing to compare with");
    }

    #[test]
    fn keys_are_beside_the_same_mesh_without_and_other_pairs_leave_no_table() {
        let runs = [run(Kind::Mesh, 1, 100.0), run(Kind::MeshKeys, 1, 125.0)];
        let told: Vec<_> = PAIRS
            .iter()
            .map(|pair| {
                let mut out = String::new();
                table(pair, &runs, &mut out);
                out
            })
            .collect();
        assert_eq!(told[0], "");
        assert!(
            told[1].contains("| without | with |") && told[1].contains("| 1.25 (1.25–1.25) | 1 |"),
            "{}",
            told[1]
        );
    }
}
