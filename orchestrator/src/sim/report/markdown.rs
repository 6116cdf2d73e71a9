//! Tables for documents.

use super::errors::Errors;
use super::table::{Row, Sheet};

/// All traces in one table, and what was told against what came in another.
pub fn markdown(sheets: &[Sheet]) -> String {
    let mut text =
        "| trace | policy | mean | p95 | p99 | first token | loads | of best in order | of best |\n"
            .to_owned();
    text += "|---|---|---|---|---|---|---|---|---|\n";
    for sheet in sheets {
        sheet.rows.iter().for_each(|row| text += &figures(&sheet.title, row));
    }
    text += "\n| trace | told | tasks | off by, median | p90 | of what came, median | p90 |\n";
    text += "|---|---|---|---|---|---|---|\n";
    for sheet in sheets {
        for row in &sheet.rows {
            text += &errors(&sheet.title, "wait", &row.figures.waits);
            text += &errors(&sheet.title, "completion", &row.figures.ends);
        }
    }
    text
}

fn figures(trace: &str, row: &Row) -> String {
    let it = &row.figures;
    let [mean, p95, p99, first] = [it.mean, it.p95, it.p99, it.first_mean].map(seconds);
    format!(
        "| {trace} | {} | {mean} | {p95} | {p99} | {first} | {:.0} | {} | {} |\n",
        row.policy, it.loads, row.of_in_order, row.of_best
    )
}

fn errors(trace: &str, what: &str, it: &Errors) -> String {
    if it.told == 0.0 {
        return String::new();
    }
    let [p50, p90] = [it.p50, it.p90].map(seconds);
    let [half, most] = [it.of_it_p50, it.of_it_p90].map(|share| share * 100.0);
    format!("| {trace} | {what} | {:.0} | {p50} | {p90} | {half:.0}% | {most:.0}% |\n", it.told)
}

/// As exact as anybody reads it.
fn seconds(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}
