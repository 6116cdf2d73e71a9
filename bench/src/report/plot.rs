//! The report as a picture: a panel for each headline figure, a bar for each system, the direct one as the line to reach.

use std::fmt::Write;

use super::{
    number::number,
    summary::{Report, Summary},
};
use crate::{figure::FIGURES, stats::median, system::Kind, workload::Workload};

/// The figures that are shown, and whether more is better.
const SHOWN: [(Workload, &str, bool); 8] = [
    (Workload::A, "e2e_p50", false),
    (Workload::B, "first_p50", false),
    (Workload::B, "cpu_per_token", false),
    (Workload::C, "tokens_per_second", true),
    (Workload::D, "requests_per_second", true),
    (Workload::E, "idle", false),
    (Workload::E, "some_per_stream", false),
    (Workload::F, "errors", false),
];

const COLUMNS: usize = 2;
const PANEL: usize = 440;
const NAMES: usize = 100;
const BARS: usize = 230;
const ROW: usize = 20;
const TITLE: usize = 40;
const MARGIN: usize = 20;

/// A bar that is longer than so many times the middle one is cut, so that the others can still be told apart.
const LONGEST: f64 = 4.0;

type Bar = (Kind, Summary);

/// The picture as an SVG file.
pub fn svg(report: &Report) -> String {
    let panels: Vec<_> = SHOWN.iter().filter_map(|shown| panel(report, *shown)).collect();
    let rows = report.systems().len();
    let height = TITLE + rows * ROW + MARGIN;
    let (width, total) = (PANEL * COLUMNS + MARGIN, height * panels.len().div_ceil(COLUMNS) + MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{total}\" viewBox=\"0 0 {width} {total}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (place, panel) in panels.iter().enumerate() {
        let (x, y) = (MARGIN + place % COLUMNS * PANEL, MARGIN + place / COLUMNS * height);
        let _ = writeln!(out, "<g transform=\"translate({x},{y})\">\n{panel}</g>");
    }
    out.push_str("</svg>\n");
    out
}

/// One figure of all systems; none where nobody has it.
fn panel(report: &Report, (workload, key, more): (Workload, &str, bool)) -> Option<String> {
    let figure = FIGURES.iter().find(|figure| figure.workload == workload && figure.key == key)?;
    let bars: Vec<Bar> = report
        .systems()
        .into_iter()
        .filter_map(|system| Some((system, report.summary(system, figure)?)))
        .collect();
    let full = scale(&bars)?;
    let direction = if more { "more is better" } else { "less is better" };
    let mut out = format!(
        "<text x=\"0\" y=\"14\" font-weight=\"bold\" fill=\"#222222\">{}: {}{}</text>\n\
         <text x=\"0\" y=\"30\" font-size=\"10\" fill=\"#666666\">{direction}; median, and least to most as a line</text>\n",
        workload.letter(),
        figure.title,
        if figure.unit.is_empty() { String::new() } else { format!(", {}", figure.unit) },
    );
    for (row, bar) in bars.iter().enumerate() {
        draw(bar, TITLE + row * ROW, full, &mut out);
    }
    Some(out)
}

/// The value of a full bar.
fn scale(bars: &[Bar]) -> Option<f64> {
    let medians: Vec<_> = bars.iter().map(|(_, summary)| summary.median).collect();
    let most = bars.iter().map(|(_, summary)| summary.max).reduce(f64::max)?;
    let middle = median(&medians)?;
    Some(if middle > 0.0 { most.min(LONGEST * middle) } else { most })
}

/// A row: the name, the bar, the spread, the number. The names of systems need no escaping.
fn draw((system, summary): &Bar, y: usize, full: f64, out: &mut String) {
    let color = match system {
        Kind::Direct => "#9a9a9a",
        kind if kind.is_mesh() => "#d9622b",
        _ => "#4c78a8",
    };
    let length = |value: f64| if full > 0.0 { (value / full).min(1.0) * BARS as f64 } else { 0.0 };
    let at = |value: f64| NAMES as f64 + length(value);
    let (bar, cut) = (length(summary.median), if summary.median > full { "cut: " } else { "" });
    let (number, under, middle) = (number(summary.median), y + 11, y + 7);
    let (name, end) = (system.name(), at(summary.max) + 6.0);
    let _ = write!(
        out,
        "<text x=\"{}\" y=\"{under}\" text-anchor=\"end\" fill=\"#222222\">{name}</text>\n\
         <rect x=\"{NAMES}\" y=\"{y}\" width=\"{bar:.1}\" height=\"14\" fill=\"{color}\"/>\n\
         <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#222222\"/>\n\
         <text x=\"{end:.1}\" y=\"{under}\" fill=\"#222222\">{cut}{number}</text>\n",
        NAMES - 6,
        at(summary.min),
        at(summary.max),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(median: f64) -> Bar {
        (Kind::Direct, Summary { median, min: median, max: median, to_direct: None })
    }

    #[test]
    fn one_huge_bar_does_not_flatten_the_others() {
        assert_eq!(scale(&[bar(1.0), bar(2.0), bar(3.0)]), Some(3.0));
        assert_eq!(scale(&[bar(1.0), bar(2.0), bar(5_000.0)]), Some(8.0));
        assert_eq!(scale(&[bar(0.0), bar(0.0), bar(9.0)]), Some(9.0));
        assert_eq!(scale(&[]), None);
    }

    #[test]
    fn a_cut_bar_says_so_and_stays_within() {
        let mut out = String::new();
        draw(&bar(5_000.0), 0, 8.0, &mut out);
        assert!(out.contains("cut: 5000") && out.contains(&format!("width=\"{BARS}.0\"")), "{out}");
    }
}
