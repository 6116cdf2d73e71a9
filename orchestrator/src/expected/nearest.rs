//! The nodes that are worth a look: of many, the few that are best at first sight.

use super::ask::Ask;
use super::book::Book;
use super::candidate::{Candidate, SAME};
use super::facts::{OVERHEAD, TRIAL, shared};
use crate::facts::AtBest;
use crate::fit::Fit;
use crate::registry::Key;

/// So many nodes are judged for a task at most.
pub const NEAREST: usize = 16;
/// So few tokens in a cache are taken for common ones without a look.
const LITTLE: f32 = 64.0;
/// What is kept is known as an `f32`: a little more is surely no less than what there is.
const ROUNDED: f64 = 1.000_001;

/// The nearest of these nodes, best first, and how many others there are; `most` is how many come, `of` how many have the model. Of many, a busy
/// one counts with the company that it has now, though that may leave; of few, with what is possible at best, so that none
/// is missed.
pub fn nearest(
    book: &Book,
    ask: &Ask,
    nodes: impl Iterator<Item = Candidate>,
    (most, of): (usize, usize),
    now: f64,
) -> (Vec<Candidate>, usize) {
    let mut kept: Vec<Candidate> = Vec::with_capacity(most.min(NEAREST));
    let (many, mut more) = (of > NEAREST, 0);
    nodes.for_each(|mut it| {
        let full = kept.len() == NEAREST;
        let worst = kept.last().filter(|_| full).map_or(f64::INFINITY, |last| last.estimate + SAME);
        it.estimate = estimate(book, ask, &it, (many, worst), now);
        let before = |other: &Candidate| it.is_before(it.estimate, other, other.estimate);
        if full {
            more += 1;
            if !(it.estimate <= worst && kept.last().is_some_and(before)) {
                return;
            }
            kept.pop();
        }
        let place = kept.iter().position(before).unwrap_or(kept.len());
        kept.insert(place, it);
    });
    (kept, more)
}

/// No less than what is known of it already. Of a node that is worse than `worst` at best, its best is enough.
fn estimate(book: &Book, ask: &Ask, at: &Candidate, (many, worst): (bool, f64), now: f64) -> f64 {
    let AtBest { per_token, per_prompt_token, load, kept } = at.at_best;
    let load = if at.fit == Fit::AsNeeded { 0.0 } else { f64::from(load) };
    let trial = if at.says { 0.0 } else { TRIAL };
    let away = book.away(at.distance);
    let answer = ask.tokens * f64::from(per_token);
    let with = |kept: f64| {
        let prompt = (ask.prompt.tokens - kept).max(1.0) * f64::from(per_prompt_token);
        let company = if many { company(book, at, prompt, answer, now) } else { 0.0 };
        load + OVERHEAD + prompt + answer + company + trial + away
    };
    if kept < LITTLE {
        return at.estimate.max(with(f64::from(kept)));
    }
    // To look into the caches of all nodes takes longer than all else: not where that could make no difference.
    if at.estimate > 0.0 && with(0.0) <= at.estimate {
        return at.estimate;
    }
    let best = at.estimate.max(with(f64::from(kept) * ROUNDED));
    if best > worst { best } else { at.estimate.max(with(common(book, ask, at.key))) }
}

/// What those who run there cost the task, and the task them.
fn company(book: &Book, at: &Candidate, prompt: f64, answer: f64, now: f64) -> f64 {
    if at.used == 0 {
        return 0.0;
    }
    let others = at.used.min(at.slots.saturating_sub(1));
    let wait = (at.free_at - now).max(0.0) * (1.0 + book.weights.uncertain);
    wait + answer / shared(1.0, others as usize + 1) - answer + prompt * f64::from(others)
}

/// The most that one of its slots has in common with the prompt.
fn common(book: &Book, ask: &Ask, key: Key) -> f64 {
    let mirror = book.site(key.index()).and_then(|site| site.mirror(ask.model));
    mirror.map_or(0.0, |mirror| mirror.most_common(&ask.prompt))
}
