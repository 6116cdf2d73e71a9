//! The plan: who goes where now, and who waits for which node.

use super::ask::Ask;
use super::book::Book;
use super::candidate::Candidate;
use super::judge::{Bench, Others};
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
    let mut round = Round { book, now, doing: Vec::with_capacity(waiting.len().max(KEPT) + 1), waiting };
    let mut plan = Plan { steps: Vec::with_capacity(waiting.len()) };
    for (index, task) in waiting.iter().enumerate() {
        match &task.look {
            Look::Nearest(nodes, more) => plan.steps.extend(round.step(index, &task.ask, nodes, *more)),
            Look::Stands(stand) => {
                let verdict = stand.verdict.after((now - stand.at).max(0.0));
                round.doing_at(stand.key);
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
    doing: Vec<(Key, Doing)>,
    waiting: &'a [Waiting],
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

    fn doing_at(&mut self, key: Key) -> Option<(&'a Site, &mut Doing)> {
        let (book, now) = (self.book, self.now);
        let site = book.site(key.index())?;
        let index = self.doing.iter().position(|(of, _)| *of == key).unwrap_or_else(|| {
            self.doing.push((key, site.doing(&book.models, book.per_byte, now)));
            self.doing.len() - 1
        });
        Some((site, &mut self.doing[index].1))
    }

    fn judge<F: Fn(u64) -> bool>(&mut self, ask: &Ask, at: &Candidate, others: Others<F>) -> Option<Verdict> {
        let (book, now) = (self.book, self.now);
        let (site, doing) = self.doing_at(at.key)?;
        let facts = site.facts(ask.model)?;
        Some(Bench { book, site, facts, doing, now }.judge(ask, at, others))
    }

    /// Those behind find the node with this task in it.
    fn give(&mut self, ask: &Ask, key: Key, fit: Fit, verdict: &Verdict) {
        // Others may take the slot of one that yields to them.
        if verdict.held && verdict.yields {
            return;
        }
        let Some((_, doing)) = self.doing.iter_mut().find(|(of, _)| *of == key) else { return };
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
const KEPT: usize = 3;
