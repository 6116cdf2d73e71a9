//! Where those who wait go, by expected completion.

use std::sync::Arc;

use echo_bus::message::Request;
use echo_bus::model_name::ModelName;

use super::State;
use crate::expected::{self, Ask, Candidate, Look, Own, Step, Waiting};
use crate::holding::{Holding, Phase, Plan};
use crate::need::{Line, Need};
use crate::reason::Reason;
use crate::registry::{Key, Serving};
use crate::scheduler::{self, Choice, Takers};

/// As long as there are no more pairs of a task that is looked at and a node, all are judged at each event.
const PAIRS: usize = 256;
/// Now and then so many times as many of each line are looked at, as long as there are no more pairs of a task and a node.
/// Those at the front of a long line are right to wait for the next slot however long the line is; only who stands far
/// behind finds that to load the model elsewhere is sooner.
const FAR: usize = 4;
/// So many times as many are looked through for some that find a node.
const SCANNED: usize = 4;
const FAR_PAIRS: usize = 16_384;

/// What has changed since the last plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    All,
    /// All, and more of each line than usual.
    Far,
    /// This node.
    Node(Key),
    /// Nothing but that somebody waits who is held for no node yet.
    Newcomer,
}

impl State {
    /// Finds a node for an attempt that has just come, or lets it wait in the queue, which has room.
    pub(super) fn plan_or_wait(&mut self, mut holding: Box<Holding>) {
        let Line::Model(name) = &holding.need.line else { return };
        let model = self.book.models.id(name);
        if holding.prompt.is_none() {
            holding.prompt = Some(Arc::new(self.book.prompt(model, &holding.task.request)));
            if let Some(model) = model {
                self.book.arrived(model, self.seconds());
            }
        }
        if self.health.is_connected() && self.queue.is_empty() {
            let placed = model.and_then(|model| self.step_alone(&mut holding, model));
            return match placed {
                Some((waiting, step)) => self.go(holding, &waiting, &step),
                None => self.wait(holding),
            };
        }
        let (task, line) = (holding.task.task, holding.need.line.clone());
        let place = self.queue.join(holding.entry(), holding.since(self.started), task);
        holding.phase = Phase::Waiting { place, told: (0, self.now.at) };
        self.keep(holding);
        if self.queue.order().position(&line, place) as usize <= self.book.weights.looked_at {
            self.plan(Focus::Newcomer);
        }
        let waits = self.held.get(&task).is_some_and(|it| matches!(it.phase, Phase::Waiting { .. }));
        if let Some(holding) = waits.then(|| self.release(task)).flatten() {
            self.wait(holding);
        }
    }

    /// Nobody else waits: the node that it goes to now, if it does.
    fn step_alone(&self, holding: &mut Holding, model: expected::Id) -> Option<(Waiting, Step)> {
        let nodes = self.registry.having(holding.need.model()?);
        let waiting = self.waiting(holding, model, nodes, Focus::All);
        let plan = expected::assign(&self.book, std::slice::from_ref(&waiting), self.seconds());
        let step = plan.steps.into_iter().next()?;
        if step.verdict.held {
            holding.plan = Some(Plan::of(&step, self.seconds()));
            holding.outlook = self.wait_of(&waiting, &step);
            return None;
        }
        self.registry.node(step.key).is_free().then_some((waiting, step))
    }

    /// Decides about those who wait: all nodes for the first of each line, which is done now and then.
    pub(super) fn replan(&mut self) {
        self.planned = self.now.at;
        self.book.refresh();
        self.plan(Focus::Far);
    }

    /// Decides about those who wait after something has changed, and about nothing that has not.
    pub(super) fn plan(&mut self, focus: Focus) {
        if !self.health.is_connected() || self.queue.is_empty() {
            return;
        }
        let focus = if focus != Focus::Far && self.are_few() { Focus::All } else { focus };
        let waiting = self.looked_at(focus);
        let now = self.seconds();
        let plan = expected::assign(&self.book, &waiting, now);
        if focus == Focus::Far {
            // Who finds no node any more is not told what was expected before.
            self.forget_plans(&waiting);
        }
        for step in &plan.steps {
            let waiting = &waiting[step.task];
            if !step.verdict.held {
                self.follow(waiting, step);
                continue;
            }
            let outlook = self.wait_of(waiting, step);
            if let Some(holding) = self.held.get_mut(&waiting.task) {
                (holding.plan, holding.outlook) = (Some(Plan::of(step, now)), outlook);
            }
        }
    }

    /// There is so little to look at that nobody has to think about what has changed.
    fn are_few(&self) -> bool {
        let of = |line: &Line, waiting: usize| match line {
            Line::Model(name) => waiting.min(self.book.weights.looked_at) * self.registry.count_serving(name),
            _ => 0,
        };
        self.queue.lines().map(|(line, waiting)| of(line, waiting.len())).sum::<usize>() <= PAIRS
    }

    fn forget_plans(&mut self, waiting: &[Waiting]) {
        for it in waiting {
            if let Some(holding) = self.held.get_mut(&it.task) {
                (holding.plan, holding.outlook) = (None, None);
            }
        }
    }

    fn looked_at(&self, focus: Focus) -> Vec<Waiting> {
        let mut first = Vec::with_capacity(self.book.weights.looked_at.min(self.queue.len()));
        let order = self.queue.order();
        for (line, waiting) in order.lines() {
            let Line::Model(name) = line else { continue };
            let Some(model) = self.book.models.id(name) else { continue };
            let nodes = self.registry.having(name);
            if matches!(focus, Focus::Node(key) if nodes.at(key).is_none()) {
                continue;
            }
            let held = waiting.filter_map(|(rank, task)| Some((rank, self.held.get(&task)?)));
            let held = held.filter(|(_, holding)| is_planned(&holding.need));
            let (most, mut looked_at) = (self.looked_at_in(name, focus), 0);
            for (rank, holding) in held.take(most * SCANNED) {
                let waiting = self.waiting(holding, model, nodes, focus);
                // Who finds no node keeps nobody from one.
                looked_at +=
                    usize::from(!matches!(&waiting.look, Look::Nearest(nodes, _) if nodes.is_empty()));
                first.push((rank, waiting));
                if looked_at == most {
                    break;
                }
            }
        }
        first.sort_by_key(|(rank, _)| *rank);
        first.into_iter().map(|(_, waiting)| waiting).collect()
    }

    /// How many of a line are looked at.
    fn looked_at_in(&self, name: &ModelName, focus: Focus) -> usize {
        let usual = self.book.weights.looked_at;
        let far = FAR_PAIRS / self.registry.count_serving(name).max(1);
        if focus == Focus::Far { far.clamp(usual, usual * FAR) } else { usual }
    }

    fn waiting(&self, holding: &Holding, model: expected::Id, nodes: Serving<'_>, focus: Focus) -> Waiting {
        let ask = self.asked(holding, model);
        let takers = || Takers::of(&self.registry, nodes, &holding.need, &holding.bars());
        let look = match (&holding.plan, focus) {
            (Some(plan), Focus::Newcomer) => Look::Stands(plan.stand),
            (Some(plan), Focus::Node(key)) => self.near(takers(), &ask, plan, key),
            _ => {
                let of = nodes.len();
                self.nearest_of(&ask, takers().iter(), of, of, 0)
            }
        };
        Waiting { task: holding.task.task, ask, look }
    }

    fn asked(&self, holding: &Holding, model: expected::Id) -> Ask {
        let most = match &holding.task.request {
            _ if holding.need.is_load => Some(0),
            Request::Generate(it) => it.settings.max_tokens,
            Request::Chat(it) => it.settings.max_tokens,
            _ => Some(0),
        };
        let most = most.and_then(|most| u32::try_from(most).ok()).map_or(f64::INFINITY, f64::from);
        Ask {
            model,
            prompt: holding.prompt.clone().unwrap_or_default(),
            tokens: self.book.models.lengths(model).left(0.0).min(most),
            waited: holding.waited(self.now.at).as_secs_f64(),
            left: holding.deadline().saturating_duration_since(self.now.at).as_secs_f64(),
        }
    }

    /// The node that has changed, and the best of the last plan, which are judged again only if they may be better.
    fn near(&self, takers: Takers<'_>, ask: &Ask, plan: &Plan, changed: Key) -> Look {
        let now = self.seconds();
        let counted = plan.costs().any(|(key, _)| key == changed);
        let more = if counted { plan.more } else { plan.more.saturating_sub(1) };
        let known = plan.costs().filter(|(key, _)| *key != changed);
        let known =
            known.filter_map(|(key, cost)| Some(Candidate { estimate: cost - now, ..takers.at(key)? }));
        let near = takers.at(changed).into_iter().chain(known);
        self.nearest_of(ask, near, plan.looked_at() + 1, takers.having(), more)
    }

    fn nearest_of(
        &self,
        ask: &Ask,
        nodes: impl Iterator<Item = Candidate>,
        most: usize,
        of: usize,
        beside: usize,
    ) -> Look {
        let (nodes, more) = expected::nearest(&self.book, ask, nodes, (most, of), self.seconds());
        Look::Nearest(nodes, more + beside)
    }

    fn follow(&mut self, waiting: &Waiting, step: &Step) {
        if self.registry.node(step.key).is_free()
            && let Some(holding) = self.release(waiting.task)
        {
            self.go(holding, waiting, step);
        }
    }

    /// To the node of this step, which is free.
    fn go(&mut self, mut holding: Box<Holding>, waiting: &Waiting, step: &Step) {
        (holding.plan, holding.outlook) = (None, None);
        let (key, now) = (step.key, self.seconds());
        let attempt = holding.task.id();
        let reason = step.reason(waiting, |key| self.registry.node(key).id(), holding.first_wait);
        let words = || scheduler::unmeasured(&self.registry, &holding.need, &holding.bars(), key);
        let reason = Reason::expected(reason, (!step.verdict.parts.measured).then(words));
        self.ask(holding, Choice { key, reason, fit: step.fit });
        self.book.sync(key.index(), self.registry.node(key), now);
        let own = Own {
            placed: now,
            ready: now + step.verdict.ready,
            first: now + step.verdict.begun,
            prompt: waiting.ask.prompt.clone(),
            answers: waiting.ask.tokens > 0.0,
        };
        let model = waiting.ask.model;
        self.book.placed(key.index(), attempt, model, own);
        let at_best = self.book.at_best(key.index(), model);
        if let Some(name) = self.held.get(&attempt.task).and_then(|holding| holding.need.model()) {
            self.registry.note_at_best(key, name, at_best);
        }
        self.note_free(key);
    }

    /// What a task of this model takes there at best.
    pub(super) fn note_at_best(&mut self, key: Key, name: &ModelName) {
        let model = self.book.models.id(name);
        let at_best = model.map(|model| self.book.at_best(key.index(), model)).unwrap_or_default();
        self.registry.note_at_best(key, name, at_best);
    }

    /// The slots that are counted as used have changed.
    pub(super) fn note_count(&mut self, key: Key) {
        self.book.sync(key.index(), self.registry.node(key), self.seconds());
        self.note_free(key);
    }

    /// What runs there has changed, or what is known of it.
    pub(super) fn note_free(&mut self, key: Key) {
        let free_at = self.book.free_at(key.index(), self.seconds());
        self.registry.node_mut(key).note_free_at(free_at);
    }
}

/// It takes a slot, and goes where it is expected to be done first.
pub(super) fn is_planned(need: &Need) -> bool {
    !need.aside && matches!(need.line, Line::Model(_))
}
