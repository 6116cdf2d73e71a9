//! Why this node, in few words: what is expected of it, and what speaks against the next best ones.

use super::assign::{Ask, Step};
use super::judge::Parts;
use crate::registry::Key;

/// Other nodes that are named.
const NAMED: usize = 2;

impl Step {
    /// The words, with the names of nodes.
    pub fn words<'a>(&self, task: &Ask, name: impl Fn(Key) -> &'a str) -> String {
        let mut words = format!("{} expected", seconds(self.verdict.expected));
        for (number, (key, verdict)) in self.instead_of.iter().take(NAMED).enumerate() {
            words += if number == 0 { "; " } else { ", " };
            let because = because(&verdict.parts, &self.verdict.parts, task);
            words += &format!("{} {} ({because})", name(*key), seconds(verdict.expected));
        }
        let more = self.more + self.instead_of.len().saturating_sub(NAMED);
        if more > 0 {
            words += &format!(", {more} more");
        }
        words
    }
}

/// The part in which a node is worst compared with the chosen one.
fn because(its: &Parts, best: &Parts, task: &Ask) -> String {
    let worse = [
        (its.wait - best.wait, Reason::Wait),
        (its.load - best.load, Reason::Load),
        (its.queue - best.queue, Reason::Queue),
        (its.prompt - best.prompt, Reason::Prompt),
        (its.answer - best.answer, Reason::Answer),
        (its.others - best.others, Reason::Others),
        (its.evicted - best.evicted, Reason::Evicted),
        (its.lost - best.lost, Reason::Lost),
        (its.trial - best.trial, Reason::Trial),
    ];
    let worst = worse.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    match worst.filter(|(by, _)| *by >= 0.05) {
        None => "as good".to_owned(),
        Some((_, reason)) => reason.words(its, task),
    }
}

/// What speaks against a node.
#[derive(Debug, Clone, Copy)]
enum Reason {
    Wait,
    Load,
    Queue,
    Prompt,
    Answer,
    Others,
    Evicted,
    Lost,
    Trial,
}

impl Reason {
    fn words(self, its: &Parts, task: &Ask) -> String {
        match self {
            Self::Wait => format!("full: {} to a free slot", seconds(its.wait)),
            Self::Load => format!("{} to load", seconds(its.load)),
            Self::Queue => format!("another prompt first: {}", seconds(its.queue)),
            Self::Prompt => format!("{:.0} of {:.0} prompt tokens cached", its.cached, task.prompt.tokens),
            Self::Answer => speed(its),
            Self::Others => format!("slows others by {}", seconds(its.others)),
            Self::Evicted => format!("throws out a model that is wanted: {}", seconds(its.evicted)),
            Self::Lost => format!("loses a cached prompt: {}", seconds(its.lost)),
            Self::Trial => "does not say that it can do this".to_owned(),
        }
    }
}

fn speed(parts: &Parts) -> String {
    let speed = parts.tokens / parts.answer.max(1e-9);
    match parts.at_once {
        0 | 1 => format!("{speed:.0} tokens/s"),
        more => format!("{speed:.0} tokens/s with {more} at once"),
    }
}

fn seconds(seconds: f64) -> String {
    if seconds < 100.0 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}
