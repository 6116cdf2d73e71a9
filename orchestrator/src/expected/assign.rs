//! The plan: who goes where now, and who waits for which node.

use super::ask::Ask;
use super::book::Book;
use super::candidate::Candidate;
use super::judge::{Bench, Others, Terms};
use super::node::{Doing, Rest, Site};
use super::verdict::Verdict;
use super::waiting::{Look, Waiting};
use crate::fit::Fit;
use crate::registry::Key;

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
    /// It goes there, or is held for it.
    pub verdict: Verdict,
    /// The next best nodes, and how many there are beyond those.
    pub instead_of: Vec<(Key, Verdict)>,
    pub more: usize,
}

/// Decides about tasks in their order. A task without a candidate is in no step, and neither is one that stands.
pub fn assign(book: &Book, waiting: &[Waiting], now: f64) -> Plan {
    // Mostly all of them may go to the same nodes.
    let nodes = waiting.iter().map(|it| it.nodes().len()).max().unwrap_or_default();
    let mut round = Round { book, now, looked_at: Vec::with_capacity(nodes), waiting };
    let mut plan = Plan { steps: Vec::with_capacity(waiting.len()) };
    for (index, task) in waiting.iter().enumerate() {
        match &task.look {
            Look::Nearest(nodes, more) => plan.steps.extend(round.step(index, &task.ask, nodes, *more)),
            Look::Stands(stand) => {
                let verdict = stand.verdict.after((now - stand.at).max(0.0));
                round.look_at(stand.key);
                round.give(&task.ask, stand.key, stand.fit, &verdict);
            }
        }
    }
    plan
}

/// One round: each node with all that was meant for it so far.
struct Round<'a> {
    book: &'a Book,
    now: f64,
    /// By node; few are looked at in one round.
    looked_at: Vec<Looked>,
    waiting: &'a [Waiting],
}

/// A node in this round.
struct Looked {
    key: Key,
    doing: Doing,
    /// What it offers to the tasks that were judged last, while it does the same as then.
    terms: Option<Terms>,
}

impl<'a> Round<'a> {
    fn step(&mut self, index: usize, ask: &Ask, nodes: &[Candidate], more: usize) -> Option<Step> {
        let waiting = self.waiting;
        let others = || waiting.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, it)| it);
        let waits = |session: u64| others().any(|it| it.ask.prompt.session == session);
        let wants_it_so =
            |key: Key| others().any(|it| it.ask.model == ask.model && it.needs_it_as_it_is(key));
        let others_do = |at: &Candidate| Others {
            waits: &waits,
            want_it_so: at.fit == Fit::Otherwise && wants_it_so(at.key),
        };
        let mut best: Option<(usize, Verdict)> = None;
        let mut instead_of = Vec::new();
        for (index, at) in nodes.iter().enumerate() {
            let is_worse = |(best, verdict): &(usize, Verdict)| {
                !nodes[index].is_before(nodes[index].estimate, &nodes[*best], verdict.cost)
            };
            // For the words, and to compare with until all are judged again, a few more are looked at.
            if instead_of.len() >= KEPT && best.as_ref().is_some_and(is_worse) {
                break;
            }
            let Some(verdict) = self.judge(ask, at, others_do(at)) else { continue };
            if verdict.held && !self.book.weights.holds {
                continue;
            }
            let loser = match &best {
                Some((known, its)) if !at.is_before(verdict.cost, &nodes[*known], its.cost) => {
                    (index, verdict)
                }
                _ => match best.replace((index, verdict)) {
                    Some(before) => before,
                    None => continue,
                },
            };
            note(&mut instead_of, (nodes[loser.0].key, loser.1));
        }
        let (chosen, verdict) = best?;
        let chosen = &nodes[chosen];
        self.give(ask, chosen.key, chosen.fit, &verdict);
        let more = more + nodes.len() - 1 - instead_of.len();
        Some(Step { task: index, key: chosen.key, fit: chosen.fit, verdict, instead_of, more })
    }

    fn look_at(&mut self, key: Key) -> Option<(&'a Site, &mut Looked)> {
        let (book, now) = (self.book, self.now);
        let site = book.site(key.index())?;
        let index = self.looked_at.iter().position(|it| it.key == key).unwrap_or_else(|| {
            let doing = site.doing(&book.models, book.per_byte, now);
            self.looked_at.push(Looked { key, doing, terms: None });
            self.looked_at.len() - 1
        });
        Some((site, &mut self.looked_at[index]))
    }

    fn judge<F: Fn(u64) -> bool>(&mut self, ask: &Ask, at: &Candidate, others: Others<F>) -> Option<Verdict> {
        let (book, now) = (self.book, self.now);
        let (site, Looked { doing, terms, .. }) = self.look_at(at.key)?;
        let facts = site.facts(ask.model)?;
        let bench = Bench { book, site, facts, doing, now };
        let known = terms.filter(|terms| terms.are_of(ask.model, at));
        let terms = terms.insert(known.unwrap_or_else(|| bench.terms(ask.model, at)));
        Some(bench.judge(ask, at, terms, others))
    }

    /// Those behind find the node with this task in it.
    fn give(&mut self, ask: &Ask, key: Key, fit: Fit, verdict: &Verdict) {
        // Others may take the slot of one that yields to them.
        if verdict.held && verdict.yields {
            return;
        }
        let Some(Looked { doing, terms, .. }) = self.looked_at.iter_mut().find(|it| it.key == key) else {
            return;
        };
        *terms = None;
        if fit == Fit::Otherwise {
            doing.reloads.push(ask.model);
        }
        let answer = verdict.expected - verdict.begun;
        doing.rest.push(Rest { left: verdict.expected, model: Some(ask.model), answer });
        let known = doing.there.contains(&ask.model) || doing.coming.iter().any(|(id, _)| *id == ask.model);
        if !known {
            doing.coming.push((ask.model, Some(verdict.ready)));
        }
        if !verdict.held {
            doing.prompts = doing.prompts.max(verdict.begun);
            doing.taken.extend(verdict.slot.map(|slot| (ask.model, slot)));
        }
    }
}

/// Keeps the best of those that were not chosen.
fn note(kept: &mut Vec<(Key, Verdict)>, loser: (Key, Verdict)) {
    let place = kept.iter().position(|(_, other)| loser.1.cost < other.cost).unwrap_or(kept.len());
    if place < KEPT {
        kept.insert(place, loser);
        kept.truncate(KEPT);
    }
}

/// Nodes that are kept beside the chosen one.
pub const KEPT: usize = 3;
