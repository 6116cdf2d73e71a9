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
        (its.wait - best.wait, format!("full: {} to a free slot", seconds(its.wait))),
        (its.load - best.load, format!("{} to load", seconds(its.load))),
        (its.queue - best.queue, format!("another prompt first: {}", seconds(its.queue))),
        (
            its.prompt - best.prompt,
            format!("{:.0} of {:.0} prompt tokens cached", its.cached, task.prompt.tokens),
        ),
        (its.answer - best.answer, speed(its)),
        (its.others - best.others, format!("slows others by {}", seconds(its.others))),
        (its.evicted - best.evicted, format!("throws out a model that is wanted: {}", seconds(its.evicted))),
        (its.lost - best.lost, format!("loses a cached prompt: {}", seconds(its.lost))),
        (its.trial - best.trial, "does not say that it can do this".to_owned()),
    ];
    let [first, rest @ ..] = worse;
    let worst = rest.into_iter().fold(first, |worst, it| if it.0 > worst.0 { it } else { worst });
    if worst.0 < 0.05 { "as good".to_owned() } else { worst.1 }
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
