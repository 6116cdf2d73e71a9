//! The plan: who goes where now, and who waits for which node.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::book::Book;
use super::cache::Prompt;
use super::facts::{OVERHEAD, shared};
use super::judge::{Bench, Others, TRIAL, Verdict};
use super::models::Id;
use super::node::{Doing, Rest};
use crate::facts::AtBest;
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
    /// Seconds it may wait at all.
    pub patience: f64,
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
    pub at_best: AtBest,
    /// Slots in use, and when it was used last: between equal nodes the least decides.
    pub used: u32,
    pub slots: u32,
    pub last_used: u64,
}

impl Waiting {
    fn needs_it_as_it_is(&self, key: Key) -> bool {
        self.candidates.iter().any(|it| it.key == key && it.fit == Fit::AsNeeded)
    }
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
    /// It goes there, or is held for it.
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
        let others = || waiting.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, it)| it);
        let waits = |session: u64| others().any(|it| it.prompt.session == session);
        let wants_it_so = |key: Key| others().any(|it| it.model == task.model && it.needs_it_as_it_is(key));
        let others_do = |at: &Candidate| Others {
            waits: &waits,
            want_it_so: at.fit == Fit::Otherwise && wants_it_so(at.key),
        };
        // Most nodes need no look at what they do: another one is better than they are at best.
        let bounds: Vec<f64> = task.candidates.iter().map(|at| self.bound(task, at)).collect();
        let nearest = Nearest::of(&task.candidates, &bounds);
        let first = nearest.0.first()?.index;
        let mut best: Option<(Ranked, Verdict)> = None;
        let mut instead_of = Vec::new();
        let rest = (0..task.candidates.len()).filter(|index| *index != first);
        for index in std::iter::once(first).chain(rest) {
            let at = &task.candidates[index];
            let least = Ranked::new(bounds[index], at, index);
            if best.as_ref().is_some_and(|(best, _)| !least.is_before(best)) {
                continue;
            }
            let Some(verdict) = self.judge(task, at, others_do(at)) else { continue };
            if verdict.held && !self.book.weights.holds {
                continue;
            }
            let ranked = Ranked::new(verdict.cost, at, index);
            let loser = match &best {
                Some((known, _)) if !ranked.is_before(known) => Some((at.key, verdict)),
                _ => best.replace((ranked, verdict)).map(|(was, it)| (task.candidates[was.index].key, it)),
            };
            note(&mut instead_of, loser);
        }
        let (ranked, verdict) = best?;
        let chosen = &task.candidates[ranked.index];
        self.look_beside(task, chosen.key, &nearest, &mut instead_of, others_do);
        self.give(task, chosen, &verdict);
        let more = task.candidates.len() - 1 - instead_of.len();
        Some(Step { task: index, key: chosen.key, fit: chosen.fit, verdict, instead_of, more })
    }

    /// Judges a few more nodes, for the words, and to compare with until the next whole plan.
    fn look_beside<F: Fn(u64) -> bool>(
        &mut self,
        task: &Waiting,
        chosen: Key,
        nearest: &Nearest,
        instead_of: &mut Vec<(Key, Verdict)>,
        others_do: impl Fn(&Candidate) -> Others<F>,
    ) {
        for at in nearest.0.iter().map(|it| &task.candidates[it.index]) {
            let known = at.key == chosen || instead_of.iter().any(|(key, _)| *key == at.key);
            if known || instead_of.len() == KEPT {
                continue;
            }
            let verdict = self.judge(task, at, others_do(at));
            note(instead_of, verdict.map(|verdict| (at.key, verdict)));
        }
    }

    /// What the task costs at least on a node, whatever that does.
    fn bound(&self, task: &Waiting, at: &Candidate) -> f64 {
        let AtBest { per_token, per_prompt_token, load, kept } = at.at_best;
        let kept = if kept >= LITTLE { self.common(task, at.key) } else { kept };
        let prompt = (task.prompt.tokens - kept).max(1.0) * per_prompt_token;
        let load = if at.fit == Fit::AsNeeded { 0.0 } else { load };
        let trial = if at.says { 0.0 } else { TRIAL };
        let answer = task.tokens * per_token;
        let company = if task.candidates.len() > MANY { company(at, answer) } else { 0.0 };
        load + OVERHEAD + prompt + answer + company + trial
    }

    /// The most that one of its slots has in common with the prompt.
    fn common(&self, task: &Waiting, key: Key) -> f64 {
        let mirror = self.book.site(key.index()).and_then(|site| site.mirror(task.model));
        mirror.map_or(0.0, |mirror| mirror.most_common(&task.prompt))
    }

    fn judge<F: Fn(u64) -> bool>(
        &mut self,
        task: &Waiting,
        at: &Candidate,
        others: Others<F>,
    ) -> Option<Verdict> {
        let (book, now) = (self.book, self.now);
        let site = book.site(at.key.index())?;
        site.facts(task.model)?;
        let doing = self.doing.entry(at.key).or_insert_with(|| site.doing(&book.models, book.per_byte, now));
        Some(Bench { book, site, doing, now }.judge(task, at, others))
    }

    /// Those behind find the node with this task in it.
    fn give(&mut self, task: &Waiting, at: &Candidate, verdict: &Verdict) {
        // Others may take the slot of one that yields to them.
        if verdict.held && verdict.yields {
            return;
        }
        let Some(doing) = self.doing.get_mut(&at.key) else { return };
        if at.fit == Fit::Otherwise {
            doing.reloads.push(task.model);
        }
        let answer = verdict.expected - verdict.begun;
        doing.rest.push(Rest { left: verdict.expected, model: Some(task.model), answer });
        let known = doing.there.contains(&task.model) || doing.coming.iter().any(|(id, _)| *id == task.model);
        if !known {
            doing.coming.push((task.model, Some(verdict.ready)));
        }
        if !verdict.held {
            doing.prompts = doing.prompts.max(verdict.begun);
            doing.taken.extend(verdict.slot.map(|slot| (task.model, slot)));
        }
    }
}

/// A node by what a task costs there, then by how busy it is, then by when it was used last.
#[derive(Debug, Clone, Copy)]
struct Ranked {
    cost: f64,
    order: (u32, u64),
    index: usize,
}

impl Ranked {
    fn new(cost: f64, at: &Candidate, index: usize) -> Self {
        Self { cost, order: (at.used, at.last_used), index }
    }

    fn is_before(&self, other: &Self) -> bool {
        let gap = self.cost - other.cost;
        gap < -SAME || (gap <= SAME && self.order < other.order)
    }
}

/// The best few by what a task costs there at least.
struct Nearest(Vec<Ranked>);

impl Nearest {
    fn of(candidates: &[Candidate], bounds: &[f64]) -> Self {
        let mut kept: Vec<Ranked> = Vec::with_capacity(KEPT + 2);
        for (index, (at, bound)) in candidates.iter().zip(bounds).enumerate() {
            let it = Ranked::new(*bound, at, index);
            if kept.len() > KEPT && !kept.last().is_some_and(|last| it.is_before(last)) {
                continue;
            }
            let place = kept.iter().position(|other| it.is_before(other)).unwrap_or(kept.len());
            kept.insert(place, it);
            kept.truncate(KEPT + 1);
        }
        Self(kept)
    }
}

/// Of more nodes than this, a busy one is passed over if it is worse than another as long as it is as busy: what runs
/// there could end before that matters, but to find that out for each of many takes longer than it is worth.
const MANY: usize = 32;

/// How much longer an answer takes beside those that run there, and until one of them has ended if it has to.
fn company(at: &Candidate, answer: f64) -> f64 {
    let slower = answer / shared(1.0, at.used as usize + 1);
    let wait = if at.used >= at.slots { slower / f64::from(at.slots.max(1)) } else { 0.0 };
    slower - answer + wait
}

/// So few tokens in a cache are taken for common ones without a look.
const LITTLE: f64 = 64.0;

/// Keeps the best of those that were not chosen.
fn note(kept: &mut Vec<(Key, Verdict)>, loser: Option<(Key, Verdict)>) {
    let Some(loser) = loser else { return };
    let place = kept.iter().position(|(_, other)| loser.1.cost < other.cost).unwrap_or(kept.len());
    if place < KEPT {
        kept.insert(place, loser);
        kept.truncate(KEPT);
    }
}

/// Nodes that are kept beside the chosen one.
const KEPT: usize = 3;
/// Costs that differ by less are the same, in seconds.
const SAME: f64 = 1e-6;
