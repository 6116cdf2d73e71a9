//! What a task costs on one node, in seconds, and when it is expected to be done there.

use super::ask::Ask;
use super::book::Book;
use super::bounds::within;
use super::cache::odds;
use super::candidate::Candidate;
use super::facts::{Facts, OVERHEAD, TRIAL};
use super::free_slot::until_a_slot;
use super::models::Id;
use super::node::{Doing, Rest, Site};
use super::verdict::{Parts, Verdict};
use crate::fit::Fit;

/// Until a node is heard of again that has just refused a task, in seconds.
const UNTIL_HEARD: f64 = 0.5;
/// The price of a wait that is longer than the task may wait, in seconds.
const HOPELESS: f64 = 1e6;
/// What is thrown out costs its load if it is wanted within so many seconds.
const HORIZON: f64 = 60.0;
/// So many tokens of a cached prompt are not worth keeping.
const SHORT: f64 = 512.0;
/// A task that has waited for so many seconds, or for so much of its time, is not kept off a slot by the worth of others'
/// prompts.
const PATIENCE: f64 = 45.0;
const MOST_OF_ITS_TIME: f64 = 0.75;
/// So many loads long others may be taken before a task because the model is as they need it.
const OVERTAKEN: f64 = 3.0;
/// What others do to a task that would have the model loaded anew.
#[derive(Debug, Clone, Copy)]
pub struct Others<F> {
    /// Whether a session's next prompt waits in the queue.
    pub waits: F,
    /// Somebody waits for whom the model is right as it is there.
    pub want_it_so: bool,
}

/// When a model is there.
#[derive(Debug, Clone, Copy)]
struct Ready {
    at: f64,
    /// When the load begins.
    from: f64,
    /// What the models cost that go for it.
    evicted: f64,
    /// It is there now, as the task needs it, and stays.
    loaded: bool,
}

/// What a node offers to all tasks of a model alike, until one of them is meant for it. Many tasks of one model wait, and
/// each of them is judged on each node.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// For whom this holds: the model, how it is there for the task, and whether the node is heard.
    of: (Id, Fit, bool),
    full: bool,
    /// Until a slot is free.
    wait: f64,
    /// Somebody before it has the model loaded anew, be it as this one needs it or not.
    reloads: bool,
    /// Somebody uses the model.
    in_use: bool,
    ready: Ready,
    /// Seconds to load it.
    load: f64,
    prompt_speed: f64,
}

impl Terms {
    /// Whether they are those of such a task.
    pub fn are_of(&self, model: Id, at: &Candidate) -> bool {
        self.of == (model, at.fit, at.is_heard)
    }
}

/// A node in this round.
pub struct Bench<'a> {
    pub book: &'a Book,
    pub site: &'a Site,
    /// Of the model that is asked for.
    pub facts: &'a Facts,
    pub doing: &'a Doing,
    pub now: f64,
}

impl Bench<'_> {
    /// What it offers to tasks of this model.
    pub fn terms(&self, model: Id, at: &Candidate) -> Terms {
        let (book, site, doing) = (self.book, self.site, self.doing);
        let full = doing.rest.len() >= site.slots;
        let wait = if full {
            until_a_slot(&doing.rest, site.slots, book.models.lengths(model).spread())
        } else if at.is_heard {
            0.0
        } else {
            UNTIL_HEARD
        };
        let reloads = doing.reloads.contains(&model);
        Terms {
            of: (model, at.fit, at.is_heard),
            full,
            wait,
            reloads,
            in_use: doing.rest.iter().any(|it| it.model == Some(model)),
            ready: self.ready(model, at.fit == Fit::Otherwise || reloads, wait),
            load: site.load(self.facts, book.per_byte),
            prompt_speed: site.prompt_speed(&book.models, self.facts),
        }
    }

    /// Judges a task here, which has these terms.
    pub fn judge<F: Fn(u64) -> bool>(
        &self,
        task: &Ask,
        at: &Candidate,
        terms: &Terms,
        others_do: Others<F>,
    ) -> Verdict {
        let (book, doing) = (self.book, self.doing);
        let Terms { full, wait, reloads, in_use, ready, load, prompt_speed, .. } = *terms;
        let anew = at.fit == Fit::Otherwise || reloads;
        let overdue = is_overdue(task, load);
        let yields = at.fit == Fit::Otherwise && !reloads && !overdue;
        let waits_for_users = anew && in_use && !overdue;
        let held = full || !at.is_heard || waits_for_users || (yields && others_do.want_it_so);
        let slot = ready.loaded.then(|| self.slot(task)).flatten();
        let cached = slot.map_or(0.0, |slot| self.common(task, slot));
        let prompt = (task.prompt.tokens - cached).max(1.0) / prompt_speed + OVERHEAD;
        let begun = ready.at.max(doing.prompts) + prompt;
        let others = doing.rest.iter().filter(|it| it.left > begun).count();
        let speed = self.speed(others + 1);
        let tokens = task.tokens;
        let answer = tokens / speed;
        // What is sent to a node waits there for what it throws out, as a part of its load.
        let until = if waits_for_users { ready.from } else { wait };
        let parts = Parts {
            wait: until,
            load: ready.at - until,
            queue: (doing.prompts - ready.at).max(0.0),
            prompt,
            answer,
            others: self.lost_by_others(&ready, prompt, begun, (answer, speed), others),
            evicted: ready.evicted,
            lost: match slot {
                Some(slot) if !held && !self.is_impatient(task) => {
                    self.lost_prompt(task, slot, prompt_speed, others_do.waits)
                }
                _ => 0.0,
            },
            trial: if at.says { 0.0 } else { TRIAL },
            away: book.away(at.distance),
            cached,
            tokens,
            at_once: others + 1,
            measured: self.facts.alone.is_some(),
        };
        let expected = begun + answer;
        // To be held beyond its time is worse than any node that it can go to now.
        let hopeless = held && wait * (1.0 + book.weights.uncertain) >= task.left;
        let cost = expected + parts.cost(&book.weights, wait) + if hopeless { HOPELESS } else { 0.0 };
        let slot = slot.filter(|_| !held);
        Verdict { cost, expected, begun, ready: ready.at, held, yields, slot, parts }
    }

    fn is_impatient(&self, task: &Ask) -> bool {
        task.waited > PATIENCE.min((task.waited + task.left) * MOST_OF_ITS_TIME)
    }

    fn speed(&self, at_once: usize) -> f64 {
        let at_once = if self.book.weights.company { at_once } else { 1 };
        self.site.speed_of(&self.book.models, self.facts, at_once, self.now)
    }

    fn load(&self, id: Id) -> f64 {
        self.site.facts(id).map_or(0.0, |facts| self.site.load(facts, self.book.per_byte))
    }

    fn size(&self, id: Id) -> f64 {
        self.site.facts(id).map_or(0.0, |facts| facts.size)
    }

    /// When the model is there for a task that has a slot after `wait`.
    fn ready(&self, id: Id, anew: bool, wait: f64) -> Ready {
        let doing = self.doing;
        let load = self.site.load(self.facts, self.book.per_byte);
        let mut free = self.site.memory - doing.there.iter().map(|&it| self.size(it)).sum::<f64>();
        if anew {
            // Whoever uses it as it is ends first, and who needs it so later loads it again.
            let from = wait.max(self.last_end(Some(id)));
            return Ready { at: from + load, from, evicted: self.evicted(&[id]), loaded: false };
        }
        if doing.there.contains(&id) {
            let goes = doing.coming.iter().any(|(it, _)| *it != id && free < self.size(*it));
            let from = if goes { wait.max(self.last_end(None)) } else { wait };
            let at = if goes { from + load } else { wait };
            return Ready { at, from, evicted: 0.0, loaded: !goes };
        }
        if let Some((_, ready)) = doing.coming.iter().find(|(it, _)| *it == id) {
            let at = wait.max(ready.unwrap_or(load));
            return Ready { at, from: wait, evicted: 0.0, loaded: false };
        }
        free -= doing.coming.iter().map(|(it, _)| self.size(*it)).sum::<f64>();
        let (victims, until) = self.victims(self.facts.size, free);
        let from = wait.max(until);
        Ready { at: from + load, from, evicted: self.evicted(&victims), loaded: false }
    }

    fn last_end(&self, of: Option<Id>) -> f64 {
        let those = self.doing.rest.iter().filter(|it| of.is_none() || it.model == of);
        those.map(|it| it.left).fold(0.0, f64::max)
    }

    /// The models that go to make room: idle ones, least wanted first, then those that end first. When the last of
    /// them can go.
    fn victims(&self, need: f64, mut free: f64) -> (Vec<Id>, f64) {
        let (mut victims, mut until) = (Vec::new(), 0.0);
        if free >= need {
            return (victims, until);
        }
        let used = |id: Id| self.doing.rest.iter().any(|it| it.model == Some(id));
        let wanted = |id: Id| self.book.models.get(id).arrivals(self.now);
        let all = self.doing.there.iter().copied().chain(self.doing.coming.iter().map(|(id, _)| *id));
        let mut order: Vec<_> = all.map(|id| (self.last_end(Some(id)), wanted(id), used(id), id)).collect();
        order.sort_by(|a, b| {
            a.2.cmp(&b.2).then(a.0.total_cmp(&b.0)).then(a.1.total_cmp(&b.1)).then(a.3.cmp(&b.3))
        });
        for (end, _, _, id) in order {
            if free >= need {
                break;
            }
            free += self.size(id);
            victims.push(id);
            until = end;
        }
        (victims, until)
    }

    /// A model thrown out costs its load times the chance that it is wanted soon.
    fn evicted(&self, victims: &[Id]) -> f64 {
        let cost = |&id: &Id| {
            let mesh = self.book.models.get(id);
            let soon = 1.0 - (-mesh.arrivals(self.now) * HORIZON).exp();
            self.load(id) * soon
        };
        victims.iter().map(cost).sum()
    }

    fn slot(&self, task: &Ask) -> Option<usize> {
        let taken: Vec<_> =
            self.doing.taken.iter().filter(|(id, _)| *id == task.model).map(|(_, slot)| *slot).collect();
        self.site.mirror(task.model)?.pick(&task.prompt, &taken)
    }

    fn common(&self, task: &Ask, slot: usize) -> f64 {
        self.site.mirror(task.model).map_or(0.0, |mirror| mirror.common(slot, &task.prompt))
    }

    /// What it takes to work off again the prompt that loses its slot, as often as it is still to come.
    fn lost_prompt(&self, task: &Ask, slot: usize, speed: f64, waits: impl Fn(u64) -> bool) -> f64 {
        let Some(mirror) = self.site.mirror(task.model) else { return 0.0 };
        let (lost, slot) = (mirror.lost(slot, &task.prompt), &mirror.slots[slot]);
        if slot.is_empty() || (slot.session != 0 && slot.session == task.prompt.session) {
            return 0.0;
        }
        let lost = (lost - SHORT).max(0.0);
        let waits = slot.session != 0 && waits(slot.session);
        odds(slot, waits, self.now) * lost / speed
    }

    /// Those who run there all but stand still during its prompt, and are slower during its answer.
    fn lost_by_others(
        &self,
        ready: &Ready,
        prompt: f64,
        begun: f64,
        (answer, speed): (f64, f64),
        others: usize,
    ) -> f64 {
        let rest = &self.doing.rest;
        let stalled = rest.iter().filter(|it| it.left > ready.at).count() as f64 * prompt;
        if others == 0 {
            return stalled;
        }
        let slower = (self.speed(others) / speed - 1.0).clamp(0.0, 10.0);
        // Both ends are uncertain: the expected overlap is less than the shorter of the two.
        let overlap = |it: &Rest| {
            let left = it.left - begun;
            if left > 0.0 { left * answer / (left + answer).max(1e-9) } else { 0.0 }
        };
        stalled + rest.iter().map(overlap).sum::<f64>() * slower
    }
}

/// With fewer, an engine that two kinds of tasks want would do little but load; with more, one kind would wait for
/// the other's pleasure. Nobody waits for others until its own time in the queue is over.
fn is_overdue(task: &Ask, load: f64) -> bool {
    let time = task.waited + task.left;
    task.waited >= (OVERTAKEN * within(load, 0.1, 60.0)).min(time / 2.0)
}
