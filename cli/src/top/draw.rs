//! What `top` looks like. It draws what it is given, and decides nothing.

use std::ops::Range;
use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::Clear;
use unicode_width::UnicodeWidthStr as _;

use super::rows;
use super::state::State;
use super::view::{self, Dialog, List, View};
use crate::figure;
use crate::table;

/// Lower terminals show one list at a time, and nothing below it.
const ROOMY: usize = 16;
/// Lines about what is selected.
const DETAIL: usize = 4;

const HELP: [&str; 12] = [
    "↑ ↓  k j     select",
    "PgUp PgDn    ten lines",
    "Home End     first, last",
    "Tab          nodes or tasks",
    "d            drain the node: it finishes",
    "             and takes nothing new",
    "r            resume the node",
    "c            cancel the task",
    "?            this",
    "q  Esc       quit",
    "",
    "Any key goes back.",
];

/// How a node in this state looks. Where NO_COLOR is set, the terminal's library leaves colours out.
fn style_of(status: &str) -> Style {
    match status {
        "draining" => Style::new().fg(Color::Yellow),
        "unavailable" | "silent" => Style::new().fg(Color::Red),
        _ => Style::new(),
    }
}

/// All of it.
pub fn draw(frame: &mut Frame<'_>, state: &State, view: &View, edge: &str, now: Instant) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let mut lines = vec![header(state, edge, width)];
    lines.extend(trouble(state, width, now));
    let room = height.saturating_sub(lines.len() + 1);
    let mut body = body(state, view, width, room, now);
    body.resize(room, Line::default());
    lines.extend(body);
    lines.truncate(height.saturating_sub(1));
    lines.push(footer(view, width, now));
    frame.render_widget(Text::from(lines), area);
    if view.dialog == Dialog::Help {
        help(frame, area);
    }
}

fn header(state: &State, edge: &str, width: usize) -> Line<'static> {
    let running = state.tasks.values().filter(|task| task.is_running()).count();
    let waiting = view::tasks(state).len() - running;
    let (nodes, tasks) = (figure::count(state.nodes.len(), "node"), figure::count(running, "task"));
    let all = format!("{nodes}, {tasks} running, {waiting} waiting");
    let named = format!("echo-mesh  {all}");
    let with_edge = format!("{named}  {edge}");
    let text = [with_edge, named].into_iter().find(|text| text.width() <= width);
    Line::styled(text.unwrap_or_else(|| table::fit(&all, width)), Modifier::BOLD)
}

fn trouble(state: &State, width: usize, now: Instant) -> Vec<Line<'static>> {
    let text = match state.trouble(now) {
        Some(trouble) => trouble,
        None if !state.has_begun() => "asking the edge …".to_owned(),
        None => return Vec::new(),
    };
    let style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
    table::wrap(&text, width, 2).into_iter().map(|line| Line::styled(line, style)).collect()
}

fn body(state: &State, view: &View, width: usize, room: usize, now: Instant) -> Vec<Line<'static>> {
    if room < ROOMY - 2 {
        return match view.list {
            List::Nodes => nodes(state, view, width, room),
            List::Tasks => tasks(state, view, width, room, now),
        };
    }
    let room = room - DETAIL - 2;
    // Its title, the titles of the columns, and the nodes; the tasks get what is left, and at least half.
    let for_nodes = (state.nodes.len() + 2).max(3).min(room / 2);
    let mut lines = nodes(state, view, width, for_nodes);
    lines.push(Line::default());
    lines.extend(tasks(state, view, width, room - for_nodes, now));
    lines.resize(room + 1, Line::default());
    lines.push(Line::styled("─".repeat(width), Modifier::DIM));
    lines.extend(rows::detail(state, view, width, DETAIL, now).into_iter().map(Line::raw));
    lines
}

fn nodes(state: &State, view: &View, width: usize, room: usize) -> Vec<Line<'static>> {
    let (all, at) = (view::nodes(state), view.node_at(state));
    let is_here = view.list == List::Nodes;
    let mut lines = vec![title("NODES", all.len(), is_here, width)];
    if all.is_empty() && state.has_begun() {
        lines.push(Line::raw(table::fit("none yet: `echo-mesh up` or `join` makes one", width)));
        return lines;
    }
    let shown = window(all.len(), at, room);
    let styles = all[shown.clone()].iter().map(|(_, seen)| style_of(seen.node.status.as_str())).collect();
    let rows = rows::nodes(&all[shown.clone()], width);
    lines.extend(listed(rows, styles, is_here.then(|| at - shown.start)));
    lines
}

fn tasks(state: &State, view: &View, width: usize, room: usize, now: Instant) -> Vec<Line<'static>> {
    let (all, at) = (view::tasks(state), view.task_at(state));
    let is_here = view.list == List::Tasks;
    let mut lines = vec![title("TASKS", all.len(), is_here, width)];
    if all.is_empty() {
        lines.push(Line::raw(table::fit("none", width)));
        return lines;
    }
    let shown = window(all.len(), at, room);
    let rows = rows::tasks(&all[shown.clone()], width, state.edge_time(now));
    let styles = vec![Style::new(); shown.len()];
    lines.extend(listed(rows, styles, is_here.then(|| at - shown.start)));
    lines
}

/// Those around the selected one for which there is room below two lines of titles.
fn window(count: usize, selected: usize, room: usize) -> Range<usize> {
    let room = room.saturating_sub(2).max(1);
    let first = selected.saturating_sub(room / 2).min(count.saturating_sub(room));
    first..(first + room).min(count)
}

fn title(name: &str, count: usize, is_here: bool, width: usize) -> Line<'static> {
    let mark = if is_here { "▶" } else { " " };
    Line::styled(table::fit(&format!("{mark} {name} ({count})"), width), Modifier::BOLD)
}

/// The titles of the columns, and the rows.
fn listed(rows: Vec<String>, styles: Vec<Style>, selected: Option<usize>) -> Vec<Line<'static>> {
    let mut rows = rows.into_iter();
    let mut lines: Vec<Line<'static>> =
        rows.next().map(|row| Line::styled(row, Modifier::DIM)).into_iter().collect();
    for (at, (row, style)) in rows.zip(styles).enumerate() {
        let style = if selected == Some(at) { style.add_modifier(Modifier::REVERSED) } else { style };
        lines.push(Line::styled(row, style));
    }
    lines
}

fn footer(view: &View, width: usize, now: Instant) -> Line<'static> {
    if let Dialog::Cancel(task) = &view.dialog {
        let text = format!("Cancel task {}? y/n", task.chars().take(8).collect::<String>());
        return Line::styled(table::fit(&text, width), Modifier::BOLD);
    }
    if let Some(note) = view.note(now) {
        return Line::raw(table::fit(note, width));
    }
    let keys = match view.list {
        List::Nodes => "q quit  ? help  Tab tasks  d drain  r resume  ↑↓ select",
        List::Tasks => "q quit  ? help  Tab nodes  c cancel  ↑↓ select",
    };
    Line::styled(table::fit(keys, width), Modifier::DIM)
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let below = Rect { y: area.y + 1.min(area.height), height: area.height.saturating_sub(1), ..area };
    frame.render_widget(Clear, below);
    let lines = HELP.iter().map(|line| Line::raw(table::fit(line, area.width.into())));
    // Of a low terminal the end is what says how to go on.
    let skipped = HELP.len().saturating_sub(below.height.into());
    frame.render_widget(Text::from_iter(lines.skip(skipped)), below);
}
