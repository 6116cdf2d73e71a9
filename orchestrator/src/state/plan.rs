//! Where those who wait go, by expected completion.

use std::sync::Arc;

use echo_broker::id::TaskId;
use echo_broker::message::Request;

use super::State;
use crate::expected::{self, Candidate, Own, Step, Waiting};
use crate::holding::{Holding, Phase};
use crate::model_name::ModelName;
use crate::need::{Line, Need};
use crate::registry::Key;
use crate::scheduler::{self, Choice};

/// So many of each line are looked at when something has changed.
const LOOKED_AT: usize = 8;
/// And so many now and then. Those at the front of a long line are right to wait for the next slot however long the line
/// is; only who stands far behind finds that to load the model elsewhere is sooner.
const LOOKED_FAR: usize = 64;

/// What has changed since the last plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    All,
    /// This node.
    Node(Key),
    /// Nothing but that somebody waits who is held for no node yet.
    Newcomer,
}

impl State {
    /// Finds a node for an attempt that has just come, or lets it wait in the queue, which has room.
    pub(super) fn plan_or_wait(&mut self, mut holding: Holding) {
        let Line::Model(name) = &holding.need.line else { return };
        if holding.prompt.is_none() {
            holding.prompt = Some(Arc::new(self.book.prompt(name, &holding.task.request)));
            self.book.arrived(name, self.seconds());
        }
        let (task, line) = (holding.task.task, holding.need.line.clone());
        let place = self.queue.join(&line, holding.since(self.started), task, holding.bytes);
        holding.phase = Phase::Waiting { place, told: (0, self.now.at) };
        self.keep(holding);
        if self.queue.position(&line, place) as usize <= LOOKED_AT {
            self.plan(Focus::Newcomer);
        }
        let waits = self.held.get(&task).is_some_and(|it| matches!(it.phase, Phase::Waiting { .. }));
        if let Some(holding) = waits.then(|| self.release(task)).flatten() {
            self.wait(holding);
        }
    }

    /// Decides about those who wait: all nodes for the first of each line, which is done now and then.
    pub(super) fn replan(&mut self) {
        self.planned = self.now.at;
        self.book.refresh();
        self.plan(Focus::All);
    }

    /// Decides about those who wait after something has changed, and about nothing that has not.
    pub(super) fn plan(&mut self, focus: Focus) {
        if !self.connected || self.queue.is_empty() {
            return;
        }
        let (tasks, waiting): (Vec<_>, Vec<_>) = self.looked_at(focus).into_iter().unzip();
        let plan = expected::assign(&self.book, &waiting, self.seconds());
        for step in &plan.steps {
            let task = tasks[step.task];
            if step.verdict.held {
                let nodes = std::iter::once(step.key).chain(step.instead_of.iter().map(|(key, _)| *key));
                if let Some(holding) = self.held.get_mut(&task) {
                    holding.waits_for.clear();
                    holding.waits_for.extend(nodes);
                }
            } else {
                self.follow(task, &waiting[step.task], step);
            }
        }
    }

    fn looked_at(&self, focus: Focus) -> Vec<(TaskId, Waiting)> {
        let mut first = Vec::new();
        let most = if focus == Focus::All { LOOKED_FAR } else { LOOKED_AT };
        for (line, waiting) in self.queue.lines() {
            let Line::Model(name) = line else { continue };
            let Some(model) = self.book.models.id(name) else { continue };
            if matches!(focus, Focus::Node(key) if self.registry.model_at(key, name).is_none()) {
                continue;
            }
            let held = waiting.iter().filter_map(|(place, task)| Some((*place, *task, self.held.get(task)?)));
            let held = held.filter(|(_, _, holding)| is_planned(&holding.need)).take(most);
            for (place, task, holding) in held {
                let candidates = self.candidates(holding, focus);
                first.push((place, task, self.waiting(holding, model, candidates)));
            }
        }
        first.sort_by_key(|(place, _, _)| *place);
        first.into_iter().map(|(_, task, waiting)| (task, waiting)).collect()
    }

    /// The nodes that a task may go to: of those that have not changed, only the best of the last plan.
    fn candidates(&self, holding: &Holding, focus: Focus) -> Vec<Candidate> {
        let (need, bars) = (&holding.need, holding.bars());
        if focus == Focus::All || holding.waits_for.is_empty() {
            return scheduler::takers(&self.registry, need, &bars).collect();
        }
        let changed = match focus {
            Focus::Node(key) if !holding.waits_for.contains(&key) => Some(key),
            _ => None,
        };
        let at = |key: Key| {
            self.registry.get(key).and_then(|_| scheduler::taker_at(&self.registry, need, &bars, key))
        };
        holding.waits_for.iter().copied().chain(changed).filter_map(at).collect()
    }

    fn waiting(&self, holding: &Holding, model: expected::Id, candidates: Vec<Candidate>) -> Waiting {
        let most = match &holding.task.request {
            Request::Generate(it) => it.settings.max_tokens,
            Request::Chat(it) => it.settings.max_tokens,
            _ => Some(0),
        };
        let most = most.and_then(|most| u32::try_from(most).ok()).map_or(f64::INFINITY, f64::from);
        Waiting {
            model,
            prompt: holding.prompt.clone().unwrap_or_default(),
            tokens: self.book.models.lengths(model).left(0.0).min(most),
            waited: self.now.at.saturating_duration_since(holding.arrived).as_secs_f64(),
            patience: self.limits.queue_wait.as_secs_f64(),
            candidates,
        }
    }

    fn follow(&mut self, task: TaskId, waiting: &Waiting, step: &Step) {
        let key = step.key;
        if !self.registry.node(key).is_free() {
            return;
        }
        let Some(holding) = self.release(task) else { return };
        let (attempt, now) = ((task, holding.attempt()), self.seconds());
        let name = holding.need.model().cloned();
        let words = match step.verdict.parts.measured {
            true => step.words(waiting, |key| self.registry.node(key).id().as_str()),
            false => scheduler::unmeasured(&self.registry, &holding.need, &holding.bars(), key),
        };
        self.ask(holding, Choice { key, words, fit: step.fit });
        self.note_count(key);
        let own = Own {
            placed: now,
            ready: now + step.verdict.ready,
            first: now + step.verdict.begun,
            prompt: waiting.prompt.clone(),
            answers: waiting.tokens > 0.0,
        };
        if let Some(name) = name {
            self.book.placed(key.index(), attempt, &name, own);
            self.note_at_best(key, &name);
        }
    }

    /// What a task of this model takes there at best.
    pub(super) fn note_at_best(&mut self, key: Key, name: &ModelName) {
        let at_best = self.book.at_best(key.index(), name);
        self.registry.note_at_best(key, name, at_best);
    }

    /// The slots that are counted as used have changed.
    pub(super) fn note_count(&mut self, key: Key) {
        self.book.sync(key.index(), self.registry.node(key), self.seconds());
    }
}

/// It takes a slot, and goes where it is expected to be done first.
pub(super) fn is_planned(need: &Need) -> bool {
    !need.aside && matches!(need.line, Line::Model(_))
}
