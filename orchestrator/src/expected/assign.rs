//! The plan: who goes where now, and who waits for which node.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::book::Book;
use super::cache::Prompt;
use super::judge::{Bench, Verdict};
use super::models::Id;
use super::node::{Doing, Rest};
use crate::registry::Key;
use crate::scheduler::Fit;

/// A task that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub model: Id,
    pub prompt: Arc<Prompt>,
    /// Tokens that its answer is expected to have.
    pub tokens: f64,
    /// Seconds it has waited here.
    pub waited: f64,
    /// Where it may go, be it later.
    pub candidates: Vec<Candidate>,
}

/// A node that a task may go to.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    pub key: Key,
    pub fit: Fit,
    /// It is known to do what the task needs.
    pub says: bool,
}

/// What was decided, task by task in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
}

/// What one task does.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Which of those that wait.
    pub task: usize,
    pub key: Key,
    pub fit: Fit,
    /// It goes there if that is not full, and is held for it if it is.
    pub verdict: Verdict,
    /// The next best nodes, and how many there are beyond those.
    pub instead_of: Vec<(Key, Verdict)>,
    pub more: usize,
}

/// Decides about tasks in their order. A task without a candidate is in no step.
pub fn assign(book: &Book, waiting: &[Waiting], now: f64) -> Plan {
    let mut round = Round { book, now, doing: BTreeMap::new(), waiting };
    let mut plan = Plan::default();
    for (index, task) in waiting.iter().enumerate() {
        plan.steps.extend(round.step(index, task));
    }
    plan
}

/// One round: each node with all that was meant for it so far.
struct Round<'a> {
    book: &'a Book,
    now: f64,
    doing: BTreeMap<Key, Doing>,
    waiting: &'a [Waiting],
}

impl Round<'_> {
    fn step(&mut self, index: usize, task: &Waiting) -> Option<Step> {
        let waiting = self.waiting;
        let others_wait = |session: u64| {
            waiting.iter().enumerate().any(|(other, it)| other != index && it.prompt.session == session)
        };
        let mut best: Option<(Verdict, &Candidate, (usize, u64))> = None;
        let (mut instead_of, mut judged): (Vec<(Key, Verdict)>, usize) = (Vec::new(), 0);
        for candidate in &task.candidates {
            let Some(verdict) = self.judge(task, candidate, others_wait) else { continue };
            let Some(site) = self.book.site(candidate.key.index()) else { continue };
            let order = (site.running.len(), site.last_used);
            judged += 1;
            let better = best.as_ref().is_none_or(|(best, _, least)| {
                let gap = verdict.cost - best.cost;
                gap < -SAME || (gap <= SAME && order < *least)
            });
            let loser = match better {
                true => best.replace((verdict, candidate, order)).map(|(verdict, it, _)| (it.key, verdict)),
                false => Some((candidate.key, verdict)),
            };
            note(&mut instead_of, loser);
        }
        let (verdict, candidate, _) = best?;
        self.give(task, candidate.key, &verdict);
        let more = judged - 1 - instead_of.len();
        Some(Step { task: index, key: candidate.key, fit: candidate.fit, verdict, instead_of, more })
    }

    fn judge(&mut self, task: &Waiting, at: &Candidate, waits: impl Fn(u64) -> bool) -> Option<Verdict> {
        let (book, now) = (self.book, self.now);
        let site = book.site(at.key.index())?;
        site.facts(task.model)?;
        let doing = self.doing.entry(at.key).or_insert_with(|| site.doing(&book.models, book.per_byte, now));
        Some(Bench { book, site, doing, now }.judge(task, at, waits))
    }

    /// Those behind find the node with this task in it.
    fn give(&mut self, task: &Waiting, key: Key, verdict: &Verdict) {
        let Some(doing) = self.doing.get_mut(&key) else { return };
        let answer = verdict.expected - verdict.begun;
        doing.rest.push(Rest { left: verdict.expected, model: Some(task.model), answer });
        let known = doing.there.contains(&task.model) || doing.coming.iter().any(|(id, _)| *id == task.model);
        if !known {
            doing.coming.push((task.model, Some(verdict.ready)));
        }
        if !verdict.full {
            doing.prompts = doing.prompts.max(verdict.begun);
            doing.taken.extend(verdict.slot.map(|slot| (task.model, slot)));
        }
    }
}

/// Keeps the best of those that were not chosen.
fn note(kept: &mut Vec<(Key, Verdict)>, loser: Option<(Key, Verdict)>) {
    let Some(loser) = loser else { return };
    let place = kept.iter().position(|(_, other)| loser.1.cost < other.cost).unwrap_or(kept.len());
    if place < NAMED {
        kept.insert(place, loser);
        kept.truncate(NAMED);
    }
}

/// Nodes that are named beside the chosen one.
const NAMED: usize = 2;
/// Costs that differ by less are the same, in seconds.
const SAME: f64 = 1e-6;
