//! Where those who wait go, by expected completion.

use std::sync::Arc;

use echo_broker::id::TaskId;
use echo_broker::message::{Code, Failure, Request};

use super::{State, draining};
use crate::config::Policy;
use crate::expected::{self, Candidate, Own, Step, Waiting};
use crate::holding::{Holding, Phase};
use crate::need::Line;
use crate::registry::Key;
use crate::scheduler::{self, Choice};

/// So many of each line are looked at.
const LOOKED_AT: usize = 8;

impl State {
    /// It goes where it is expected to be done first.
    pub(super) fn is_planned(&self, holding: &Holding) -> bool {
        self.limits.policy == Policy::Expected
            && !holding.need.aside
            && matches!(holding.need.line, Line::Model(_))
    }

    /// Finds a node for an attempt that has just come, or lets it wait.
    pub(super) fn plan_or_wait(&mut self, mut holding: Holding) {
        let Line::Model(name) = &holding.need.line else { return };
        if self.draining {
            return self.fail(holding, draining());
        }
        if scheduler::all_skipped(&self.registry, &holding.need, &holding.bars()) {
            return self.refuse_everywhere(holding);
        }
        if self.is_without_another(&holding) {
            return self.fail(holding, super::place::without_another());
        }
        if holding.prompt.is_none() {
            holding.prompt = Some(Arc::new(self.book.prompt(name, &holding.task.request)));
            self.book.arrived(name, self.seconds());
        }
        let (task, line) = (holding.task.task, holding.need.line.clone());
        let has_room = self.queue.has_room(holding.bytes);
        let place = self.queue.join(&line, holding.since(self.started), task, holding.bytes);
        holding.phase = Phase::Waiting { place, told: (0, self.now.at) };
        self.keep(holding);
        self.replan();
        let waits = self.held.get(&task).is_some_and(|it| matches!(it.phase, Phase::Waiting { .. }));
        let Some(holding) = waits.then(|| self.release(task)).flatten() else { return };
        match has_room {
            true => self.wait(holding),
            false => {
                self.fail(holding, Failure::wait(Code::QueueFull, "the queue is full; submit the task again"))
            }
        }
    }

    /// Decides about the first of each line anew.
    pub(super) fn replan(&mut self) {
        self.planned = self.now.at;
        if self.limits.policy != Policy::Expected || !self.connected || self.queue.is_empty() {
            return;
        }
        self.book.refresh();
        let (tasks, waiting): (Vec<_>, Vec<_>) = self.looked_at().into_iter().unzip();
        let plan = expected::assign(&self.book, &waiting, self.seconds());
        for step in plan.steps.iter().filter(|step| !step.verdict.full) {
            self.follow(tasks[step.task], &waiting[step.task], step);
        }
    }

    fn looked_at(&self) -> Vec<(TaskId, Waiting)> {
        let mut first = Vec::new();
        for (line, waiting) in self.queue.lines() {
            let Line::Model(name) = line else { continue };
            let Some(model) = self.book.models.id(name) else { continue };
            let held = waiting.iter().filter_map(|(place, task)| Some((*place, *task, self.held.get(task)?)));
            let held = held.filter(|(_, _, holding)| self.is_planned(holding)).take(LOOKED_AT);
            first.extend(held.map(|(place, task, holding)| (place, task, self.waiting(holding, model))));
        }
        first.sort_by_key(|(place, _, _)| *place);
        first.into_iter().map(|(_, task, waiting)| (task, waiting)).collect()
    }

    fn waiting(&self, holding: &Holding, model: expected::Id) -> Waiting {
        let takers = scheduler::takers(&self.registry, &holding.need, &holding.bars());
        let candidates = takers.map(|(key, fit, says)| Candidate { key, fit, says }).collect();
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
        let words = step.words(waiting, |key| self.registry.node(key).id().as_str());
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
        }
    }

    /// The slots that are counted as used have changed.
    pub(super) fn note_count(&mut self, key: Key) {
        if self.limits.policy != Policy::Expected {
            return;
        }
        self.book.sync(key.index(), self.registry.node(key), self.seconds());
    }
}
