//! The report as Markdown: a table for each workload, systems by figures.

use std::fmt::Write;

use super::{
    against, growth,
    number::number,
    summary::{Report, Summary, figures_of},
};
use crate::{
    figure::{Figure, Relation},
    system::Kind,
    workload::{Run, Workload},
};

/// The whole report.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    head(report, &mut out);
    for workload in Workload::ALL {
        table(report, workload, &mut out);
    }
    against::tables(report, &mut out);
    growth::tables(&report.results.growth, &mut out);
    parts(report, &mut out);
    out
}

/// What was run, on what, and what is missing. Writing to a string never fails.
fn head(report: &Report, out: &mut String) {
    let machine = &report.machine;
    let _ = writeln!(out, "# Benchmark, {} form\n", report.form);
    let _ = writeln!(out, "`{}` took {} s.", report.command, report.seconds);
    let _ = writeln!(
        out,
        "{} cores ({}), {:.0} GiB, {}.",
        machine.cores, machine.cpu, machine.memory_gib, machine.kernel
    );
    let versions: Vec<_> =
        machine.versions.iter().map(|(name, version)| format!("{name}: {version}")).collect();
    let _ = writeln!(out, "Versions: {}.\n", versions.join("; "));
    let _ = writeln!(
        out,
        "Each cell is the median of the repetitions (least to most); then what it is of the direct figure (×), or what it adds to it (+)."
    );
    for left_out in &report.results.left_out {
        let _ =
            writeln!(out, "\nLeft out: {}: {}.", left_out.system.name(), left_out.why.trim_end_matches('.'));
    }
}

fn table(report: &Report, workload: Workload, out: &mut String) {
    let measured = |figure: &&Figure| {
        report.systems().into_iter().any(|system| report.summary(system, figure).is_some())
    };
    let figures: Vec<_> = figures_of(workload).filter(measured).collect();
    if figures.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## {}: {}\n", workload.letter(), workload.title());
    let titles = figures.iter().map(|figure| match figure.unit {
        "" => figure.title.to_owned(),
        unit => format!("{}, {unit}", figure.title),
    });
    let titles: Vec<_> = titles.collect();
    let _ = writeln!(out, "| system | {} | faults |", titles.join(" | "));
    let _ = writeln!(out, "|---|{}---|", "---|".repeat(figures.len()));
    for system in report.systems() {
        let runs: Vec<_> = report
            .results
            .runs
            .iter()
            .filter(|run| run.system == system && run.workload == workload)
            .collect();
        if runs.is_empty() {
            continue;
        }
        let cells = figures.iter().map(|figure| {
            report.summary(system, figure).map_or("–".to_owned(), |summary| cell(figure, summary))
        });
        let cells: Vec<_> = cells.collect();
        let _ = writeln!(out, "| {} | {} | {} |", system.name(), cells.join(" | "), faults(&runs));
    }
}

fn cell(figure: &Figure, summary: Summary) -> String {
    let mut cell = number(summary.median);
    if summary.min < summary.max {
        let _ = write!(cell, " ({}–{})", number(summary.min), number(summary.max));
    }
    match (figure.relation, summary.to_direct) {
        (Relation::Share, Some(share)) => drop(write!(cell, " ×{}", number(share))),
        (Relation::Added, Some(added)) if added < 0.0 => drop(write!(cell, " −{}", number(-added))),
        (Relation::Added, Some(added)) => drop(write!(cell, " +{}", number(added))),
        _ => {}
    }
    cell
}

/// Everything that went wrong, in all repetitions together.
fn faults(runs: &[&Run]) -> String {
    let sum = |of: fn(&Run) -> u64| runs.iter().map(|run| of(run)).sum::<u64>();
    let counts = [
        ("errors", sum(|run| run.errors)),
        ("lost", sum(|run| run.faults.lost)),
        ("doubled", sum(|run| run.faults.doubled)),
        ("swapped", sum(|run| run.faults.swapped)),
        ("strange", sum(|run| run.faults.strange)),
    ];
    let found: Vec<_> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}

/// CPU and memory of each process in the last repetition of each workload.
fn parts(report: &Report, out: &mut String) {
    let _ = writeln!(out, "\n## Processes one by one\n");
    let _ = writeln!(out, "Of the last repetition; memory is what was held at the end of it.\n");
    let _ = writeln!(out, "| workload | system | process | CPU, ms | memory, MiB |\n|---|---|---|---|---|");
    for workload in Workload::ALL {
        for system in report.systems().into_iter().filter(|system| *system != Kind::Direct) {
            let runs =
                report.results.runs.iter().filter(|run| run.system == system && run.workload == workload);
            let Some(run) = runs.max_by_key(|run| run.repetition) else { continue };
            for part in &run.parts {
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {} | {} |",
                    workload.letter(),
                    system.name(),
                    part.name,
                    number(part.cpu_ms),
                    number(part.resident_mib)
                );
            }
        }
    }
}
