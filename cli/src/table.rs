//! A table of text that fits a width: cells shrink as far as they may, then whole columns go, the least important first.

use ratatui::crossterm::terminal;
use unicode_width::UnicodeWidthStr as _;

use crate::say::is_watched;

/// Between two columns.
const GAP: usize = 2;

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub title: &'static str,
    /// Goes before those with a higher one where there is no room. The highest stays.
    pub rank: u8,
    /// How far it may shrink.
    pub least: usize,
    /// How far it may grow.
    pub most: usize,
    /// For figures.
    pub right: bool,
}

/// The lines of a table, the titles first; none is wider than `width`. A row has a cell for each column.
pub fn lines(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let natural: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width());
            cells.max().unwrap_or(0).min(column.most).max(column.title.width())
        })
        .collect();
    let widths = fitted(columns, &natural, width);
    let titles: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
    std::iter::once(&titles).chain(rows).map(|row| line(columns, &widths, row, width)).collect()
}

/// The width of each column; `None` for one that there is no room for.
fn fitted(columns: &[Column], natural: &[usize], width: usize) -> Vec<Option<usize>> {
    let least = |at: usize| natural[at].min(columns[at].least.max(columns[at].title.width()));
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let total = |kept: &[usize], of: &dyn Fn(usize) -> usize| {
        kept.iter().map(|at| of(*at)).sum::<usize>() + GAP * kept.len().saturating_sub(1)
    };
    while kept.len() > 1 && total(&kept, &least) > width {
        let lowest = kept.iter().copied().min_by_key(|at| columns[*at].rank);
        kept.retain(|at| Some(*at) != lowest);
    }
    let mut spare = width.saturating_sub(total(&kept, &least));
    let mut widths = vec![None; columns.len()];
    // The more important one gets its room first.
    kept.sort_by_key(|at| std::cmp::Reverse(columns[*at].rank));
    for at in kept {
        let more = (natural[at] - least(at)).min(spare);
        spare -= more;
        widths[at] = Some(least(at) + more);
    }
    widths
}

fn line(columns: &[Column], widths: &[Option<usize>], row: &[String], width: usize) -> String {
    let mut line = String::new();
    for (at, column) in columns.iter().enumerate() {
        let Some(room) = widths[at] else { continue };
        if !line.is_empty() {
            line.push_str(&" ".repeat(GAP));
        }
        let cell = fit(row.get(at).map_or("", String::as_str), room);
        let empty = " ".repeat(room - cell.width().min(room));
        line.push_str(&if column.right { empty + &cell } else { cell + &empty });
    }
    fit(line.trim_end(), width)
}

/// As much of a text as there is room for; `…` stands for the rest.
pub fn fit(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    // Measured whole each time: what a character takes depends on its neighbours.
    let ends = text.char_indices().map(|(at, _)| format!("{}…", &text[..at]));
    ends.take_while(|begin| begin.width() <= room).last().unwrap_or_default()
}

/// The text in lines that fit, broken at spaces where that can be; at most so many.
pub fn wrap(text: &str, room: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let count = lines.len();
        match lines.last_mut() {
            Some(last) if last.width() + 1 + word.width() <= room => {
                last.push(' ');
                last.push_str(word);
            }
            Some(last) if count >= most => {
                *last = fit(&format!("{last} {word}…"), room);
                return lines;
            }
            _ if most > 0 => lines.push(fit(word, room)),
            _ => {}
        }
    }
    lines
}

/// The width of the terminal; where there is none, lines are as long as they need to be.
pub fn width() -> usize {
    let known = if is_watched() { terminal::size().ok() } else { None };
    known.map(|(columns, _)| usize::from(columns)).filter(|columns| *columns > 0).unwrap_or(400)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { title: "NODE", rank: 9, least: 4, most: 20, right: false },
        Column { title: "MODELS", rank: 5, least: 6, most: 30, right: false },
        Column { title: "TOK/S", rank: 1, least: 5, most: 6, right: true },
    ];

    fn rows() -> Vec<Vec<String>> {
        vec![
            vec!["node-a".into(), "mistral, qwen, llama".into(), "31".into()],
            vec!["b".into(), "模型".into(), "2.5".into()],
        ]
    }

    #[test]
    fn a_wide_terminal_shows_all_and_a_narrow_one_what_matters() {
        let wide = ["NODE    MODELS                TOK/S", "node-a  mistral, qwen, llama     31"];
        assert_eq!(lines(&COLUMNS, &rows(), 80)[..2], wide);
        let tight = ["NODE    MODELS        TOK/S", "node-a  mistral, qw…     31"];
        assert_eq!(lines(&COLUMNS, &rows(), 27)[..2], tight);
        let narrow = ["NODE    MODELS", "node-a  mistra…", "b       模型"];
        assert_eq!(lines(&COLUMNS, &rows(), 15), narrow);
        assert_eq!(lines(&COLUMNS, &rows(), 5)[1], "node…");
    }

    #[test]
    fn words_are_wrapped_and_the_rest_is_marked() {
        assert_eq!(wrap("one two three", 8, 3), ["one two", "three"]);
        assert_eq!(wrap("one two three four", 7, 2), ["one two", "three …"]);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            cells in prop::collection::vec(prop::collection::vec("\\PC{0,40}", 0..5), 0..6),
            width in 0_usize..100,
        ) {
            for line in lines(&COLUMNS, &cells, width) {
                prop_assert!(line.width() <= width, "{line:?} is wider than {width}");
            }
            for text in cells.iter().flatten() {
                prop_assert!(wrap(text, width, 3).iter().all(|line| line.width() <= width));
            }
        }
    }
}
