//! The table: one line for each row, for people and for programs.

use serde_json::{Value, json};

use super::{
    figures::{percentile, short},
    row::Row,
    tally::Tally,
};

/// A row and what its runs came to.
pub struct Outcome {
    pub row: Row,
    pub tally: Tally,
}

const HEAD: [&str; 14] = [
    "row",
    "fault",
    "promise",
    "runs",
    "tasks",
    "answered",
    "failed honestly",
    "hung up",
    "run again",
    "lost",
    "doubled",
    "gap p50 / p99",
    "whole again p50 / p99",
    "broken promises",
];

const LEGEND: &str = "\
A task is answered when its client got every token once, in order, with one proper end; it failed honestly when it got the
documented error, in mid-stream with the partial answer. Hung up: the client left, or its edge was killed under it; what it
saw until then was a beginning of the answer. Run again: the fault hit between a dispatch and its acceptance, so the task was
run elsewhere and the first engine finished it, too; its client saw one answer. Lost: tokens, the end or the answer are missing
or out of order. Doubled: a token or an end came twice, or an engine finished a task once more than its client heard of. Gap:
the longest time between two tokens of an answer that met the fault. Whole again: from the end of the fault, or the start of
what had ended, until every node is idle, every count is 0 and a task for each node is answered.
";

/// A Markdown table whose columns are even, so that it can be read as it is.
pub fn markdown(results: &[Outcome]) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(results.iter().map(line));
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..HEAD.len()).map(width).collect();
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} "));
        out += &format!("|{}|\n", cells.collect::<Vec<_>>().join("|"));
        if number == 0 {
            let rules = widths.iter().map(|width| "-".repeat(width + 2));
            out += &format!("|{}|\n", rules.collect::<Vec<_>>().join("|"));
        }
    }
    out + "\n" + LEGEND
}

fn line(result: &Outcome) -> [String; 14] {
    let (row, tally) = (&result.row, &result.tally);
    let two = |measured: &[std::time::Duration]| {
        let both = percentile(measured, 50).zip(percentile(measured, 99));
        both.map_or("–".to_owned(), |(p50, p99)| format!("{} / {}", short(p50), short(p99)))
    };
    [
        row.name.to_owned(),
        row.fault.to_owned(),
        row.promise.to_owned(),
        tally.runs.to_string(),
        tally.tasks.to_string(),
        tally.answered.to_string(),
        tally.honest.values().sum::<u64>().to_string(),
        tally.gone.to_string(),
        tally.again.to_string(),
        tally.lost.len().to_string(),
        tally.doubled.len().to_string(),
        two(&tally.gaps),
        two(&tally.wholes),
        tally.broken.len().to_string(),
    ]
}

/// Everything, with what went wrong in words.
pub fn json(results: &[Outcome]) -> Value {
    results.iter().map(object).collect()
}

fn object(result: &Outcome) -> Value {
    let (row, tally) = (&result.row, &result.tally);
    let millis = |measured: &[std::time::Duration], percent| {
        percentile(measured, percent).map(|time| time.as_secs_f64() * 1000.0)
    };
    json!({
        "row": row.name, "fault": row.fault, "promise": row.promise, "runs": tally.runs, "tasks": tally.tasks,
        "answered": tally.answered, "failed_honestly": tally.honest, "hung_up": tally.gone, "run_again": tally.again, "lost": tally.lost,
        "doubled": tally.doubled, "broken_promises": tally.broken,
        "gap_ms": {"p50": millis(&tally.gaps, 50), "p99": millis(&tally.gaps, 99)},
        "whole_ms": {"p50": millis(&tally.wholes, 50), "p99": millis(&tally.wholes, 99)},
    })
}
