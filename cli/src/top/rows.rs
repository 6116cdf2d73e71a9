//! The two lists and what is said below them, as lines of text.

use std::time::Instant;

use echo_bus::id::NodeId;

use super::state::{Seen, State};
use super::task::Task;
use super::view::{self, List, View};
use crate::clean::Clean;
use crate::figure;
use crate::table::{self, Column};

/// Steps of a bar.
const BAR: usize = 6;
/// Seconds of the past that are drawn.
const PAST: usize = 16;
/// Letters of a task's name that are shown in the list.
const NAME: usize = 8;

#[rustfmt::skip]
const NODES: [Column; 7] = [
    Column { title: "NODE",      rank: 9, least: 6,  most: 24,   right: false },
    Column { title: "STATE",     rank: 8, least: 9,  most: 12,   right: false },
    Column { title: "LOAD",      rank: 7, least: 10, most: 14,   right: false },
    Column { title: "TOK/S",     rank: 6, least: 5,  most: 6,    right: true },
    Column { title: "MEMORY",    rank: 5, least: 10, most: 11,   right: false },
    Column { title: "SPEED",     rank: 3, least: 8,  most: PAST, right: false },
    Column { title: "IN MEMORY", rank: 4, least: 9,  most: 60,   right: false },
];

#[rustfmt::skip]
const TASKS: [Column; 9] = [
    Column { title: "TASK",   rank: 5, least: NAME, most: NAME, right: false },
    Column { title: "STATE",  rank: 8, least: 7, most: 8,   right: false },
    Column { title: "NODE",   rank: 9, least: 6, most: 24,  right: false },
    Column { title: "MODEL",  rank: 3, least: 8, most: 24,  right: false },
    Column { title: "TOKENS", rank: 7, least: 6, most: 8,   right: true },
    Column { title: "TOK/S",  rank: 6, least: 5, most: 6,   right: true },
    Column { title: "WAIT",   rank: 4, least: 6, most: 11,  right: true },
    Column { title: "TRY",    rank: 2, least: 3, most: 4,   right: true },
    Column { title: "WHY",    rank: 1, least: 16, most: 120, right: false },
];

/// These nodes, the titles first.
pub fn nodes(nodes: &[(&NodeId, &Seen)], width: usize) -> Vec<String> {
    let row = |(id, seen): &(&NodeId, &Seen)| {
        let node = &seen.node;
        let load = (node.slots > 0).then(|| node.active as f64 / node.slots as f64);
        let memory = node.memory.part();
        vec![
            id.to_string(),
            node.word().to_owned(),
            format!("{} {}/{}", bar(load), node.active, node.slots),
            figure::rate(seen.pace.now()),
            memory.map_or("-".to_owned(), |part| format!("{} {:.0}%", bar(memory), part * 100.0)),
            seen.pace.bars(PAST),
            node.loaded(),
        ]
    };
    table::lines(&NODES, &nodes.iter().map(row).collect::<Vec<_>>(), width)
}

/// These tasks, the titles first; `time` is the edge's.
pub fn tasks(tasks: &[(&String, &Task)], width: usize, time: u64) -> Vec<String> {
    let row = |(name, task): &(&String, &Task)| {
        vec![
            name.chars().take(NAME).collect(),
            task.word().to_owned(),
            or_none(&task.node),
            or_none(&Clean::of(figure::model(task.model.as_str()))),
            task.tokens.to_string(),
            figure::rate(task.pace.now().filter(|_| task.is_running())),
            task.wait(time),
            task.attempt.to_string(),
            task.why(time),
        ]
    };
    table::lines(&TASKS, &tasks.iter().map(row).collect::<Vec<_>>(), width)
}

/// All about what is selected, in so many lines at most.
pub fn detail(state: &State, view: &View, width: usize, most: usize, now: Instant) -> Vec<String> {
    let text = match view.list {
        List::Nodes => about_node(state, view, now),
        List::Tasks => about_task(state, view, now),
    };
    let text = text.unwrap_or_default();
    let mut lines: Vec<String> = text.iter().take(1).map(|line| table::fit(line, width)).collect();
    for line in text.iter().skip(1).filter(|line| !line.is_empty()) {
        lines.extend(table::wrap(line, width, most.saturating_sub(lines.len())));
    }
    lines.truncate(most);
    lines
}

fn about_node(state: &State, view: &View, now: Instant) -> Option<Vec<String>> {
    let nodes = view::nodes(state);
    let (id, seen) = nodes.get(view.node_at(state))?;
    let node = &seen.node;
    let (site, word, engine, memory) =
        (part("at", &node.site), node.word(), node.engine(), node.memory.used());
    let first = format!("{id}{site}: {word}, {engine}, version {}, memory {memory}", node.version);
    let mut reasons = node.reasons();
    let silent = node.heard.map(|heard| figure::span(state.edge_time(now).saturating_sub(heard)));
    reasons.extend(
        silent.map(|ago| format!("not heard of for {ago}: off, asleep, cut off, or its agent has ended")),
    );
    Some(vec![first, reasons.join("; "), format!("models: {}", node.models())])
}

fn about_task(state: &State, view: &View, now: Instant) -> Option<Vec<String>> {
    let tasks = view::tasks(state);
    let (name, task) = tasks.get(view.task_at(state))?;
    let (client, place) = (part("of", &task.client), part("on", &task.node));
    let model = figure::model(task.model.as_str());
    let first = format!("task {name}{client}{place}, attempt {}, {model}", task.attempt);
    Some(vec![first, format!("why: {}", task.why(state.edge_time(now)))])
}

/// A part of a sentence, if there is something to say.
fn part(word: &str, text: &Clean) -> String {
    if text.is_empty() { String::new() } else { format!(" {word} {text}") }
}

fn bar(part: Option<f64>) -> String {
    let full = part.map_or(0, |part| (part.clamp(0.0, 1.0) * BAR as f64).ceil() as usize);
    "█".repeat(full) + &"░".repeat(BAR - full)
}

fn or_none(text: &Clean) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_string() }
}
