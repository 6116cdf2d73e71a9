//! What time does: silent nodes are forgotten, waits end, and edges get a pulse for the tasks that wait here (the renewal of a lease:
//! an edge that answers none is dead).

use std::time::{Duration, Instant};

use echo_bus::holding::{EDGE_DEAD, PULSE};
use echo_bus::id::{Peer, ProcessId, Role, TaskId};
use echo_bus::message::{Code, Excluded, Failure, Pulse, What};

use super::outlook::Behind;
use super::place::without_another;
use super::plan::is_planned;
use super::{State, held, millis};
use crate::event::Action;
use crate::holding::Phase;
use crate::need::Line;
use crate::scheduler;

/// How often it is decided anew where those who wait go, if nothing happens.
const PLAN: Duration = Duration::from_millis(250);
/// How often a task hears of its new position, at most.
const TELL: Duration = Duration::from_secs(1);
/// Tasks that hear of their position in one tick, at most.
const TOLD_AT_ONCE: usize = 256;

/// What is to be done about those who wait.
#[derive(Default)]
struct Review {
    over: Vec<TaskId>,
    relieved: Vec<TaskId>,
    judged: Vec<TaskId>,
    /// They want a second opinion, and nobody is left to give one.
    alone: Vec<TaskId>,
    told: Vec<(TaskId, u32)>,
}

impl State {
    pub(super) fn tick(&mut self) {
        let now = self.now.at;
        self.health.tick(self.now);
        self.fence.expire(now);
        self.handed.expire(now);
        self.queue.forget_idle();
        if self.health.is_connected() {
            self.evict();
        }
        self.note_outages();
        self.review();
        if now.saturating_duration_since(self.planned) >= PLAN {
            self.replan();
        }
        if self.health.is_connected() && now >= self.next_pulse {
            self.next_pulse = now + PULSE;
            self.pulse();
        }
    }

    fn evict(&mut self) {
        let patience = self.limits.evict_after;
        let (health, now) = (&self.health, self.now.at);
        for (key, node) in self.registry.evict(|heard| health.silent_for(heard, now) > patience) {
            self.book.forget(key.index());
            self.announce_node(
                What::Left,
                &node,
                format!("was silent for more than {} ms", patience.as_millis()),
            );
        }
    }

    /// Whoever waits for nodes that are all out of order hears so before long, and why.
    fn note_outages(&mut self) {
        let now = self.now.at;
        if !self.health.is_connected() {
            return self.outages.clear();
        }
        for (line, _) in self.queue.lines() {
            if let Line::Model(name) = line
                && !self.outages.contains_key(name)
            {
                self.outages.insert(name.clone(), now);
            }
        }
        let mut over = Vec::new();
        let (registry, patience) = (&self.registry, self.limits.outage_wait);
        self.outages.retain(|name, since| {
            let Some(outage) = scheduler::outage(registry, name) else { return false };
            let lasts = now.saturating_duration_since(*since);
            if lasts >= patience && !outage.is_passing {
                over.push((name.clone(), outage.why));
            }
            true
        });
        for (name, why) in over {
            let spelled = self.registry.spelled(&name).unwrap_or_default();
            let message = format!("no node with {spelled} can take a task now: {why}");
            self.fail_line(&Line::Model(name), &Failure::give_up(Code::Unavailable, message));
        }
    }

    fn fail_line(&mut self, line: &Line, failure: &Failure) {
        let waiting: Vec<_> = self.queue.line(line).collect();
        for task in waiting {
            if let Some(holding) = self.release(task) {
                self.fail(holding, failure.clone());
            }
        }
    }

    fn review(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let review = self.look_at_waiting();
        for task in review.over {
            self.expire(task);
        }
        for task in review.judged {
            self.judge_again(task);
        }
        for task in review.alone {
            if let Some(holding) = self.release(task) {
                self.fail(holding, without_another());
            }
        }
        for task in review.relieved {
            self.relieve(task);
        }
        // Of one line are many, and to look at all of its nodes is not for each.
        let mut known: Option<(Line, Option<Behind>)> = None;
        for (task, position) in review.told {
            let Some(line) = self.held.get(&task).map(|holding| &holding.need.line) else { continue };
            if known.as_ref().is_none_or(|(of, _)| of != line) {
                known = Some((line.clone(), self.behind(line, &self.queue.order())));
            }
            let behind = known.as_ref().and_then(|(_, behind)| *behind);
            self.tell_again(task, position, behind);
        }
    }

    fn look_at_waiting(&self) -> Review {
        let (now, mut review) = (self.now.at, Review::default());
        let order = self.queue.order();
        for (_, line) in order.lines() {
            for (position, (_, task)) in (1..).zip(line) {
                let Some(holding) = self.held.get(&task) else { continue };
                let Phase::Waiting { told, .. } = holding.phase else { continue };
                if now >= holding.deadline() {
                    review.over.push(task);
                } else if holding.judged_at.is_some_and(|at| now >= at) {
                    review.judged.push(task);
                } else if holding.relief.is_some_and(|at| now >= at) {
                    review.relieved.push(task);
                } else if self.is_without_another(holding) {
                    review.alone.push(task);
                } else if told.0 != position
                    && now.saturating_duration_since(told.1) >= TELL
                    && review.told.len() < TOLD_AT_ONCE
                {
                    review.told.push((task, position));
                }
            }
        }
        review
    }

    /// The wait is over.
    fn expire(&mut self, task: TaskId) {
        let Some(holding) = self.release(task) else { return };
        let waited = millis(holding.waited(self.now.at));
        let failure = match scheduler::judge(&self.registry, &holding.need) {
            Err(failure) => failure,
            Ok(()) if self.now.at >= holding.ends => Failure::give_up(
                Code::Expired,
                format!("the task's time was over after {waited} ms in the queue"),
            ),
            Ok(()) => Failure::give_up(
                Code::Expired,
                format!("no slot became free within {waited} ms; try again later"),
            ),
        };
        self.fail(holding, failure);
    }

    /// The mesh is known by now: who still serves nobody's model is refused.
    fn judge_again(&mut self, task: TaskId) {
        let Some(holding) = self.held.get_mut(&task) else { return };
        holding.judged_at = None;
        let tried = &holding.task.excluded;
        let is_there = |it: &Excluded| self.registry.find(&it.node, &it.boot).is_some();
        // A node that was lost may come back with its models.
        if holding.has_history() && (tried.is_empty() || !tried.iter().all(is_there)) {
            return;
        }
        if let Err(failure) = scheduler::judge(&self.registry, &holding.need)
            && let Some(holding) = self.release(task)
        {
            self.fail(holding, failure);
        }
    }

    /// The nodes that lost this task are allowed again, if nobody else is left.
    fn relieve(&mut self, task: TaskId) {
        let Some(holding) = self.held.get_mut(&task) else { return };
        holding.relief = None;
        if is_planned(&holding.need) {
            // The next whole plan finds it, and all that are relieved with it.
            return;
        }
        let choice = self.held.get(&task).and_then(|holding| self.choice_for(holding));
        if let Some(choice) = choice
            && let Some(holding) = self.release(task)
        {
            self.ask(holding, choice);
        }
    }

    fn tell_again(&mut self, task: TaskId, position: u32, behind: Option<Behind>) {
        // Others may have left during this tick; the next one tells.
        let Some(mut holding) = self.held.remove(&task) else { return };
        if let Phase::Waiting { told, .. } = &mut holding.phase {
            *told = (position, self.now.at);
            let expected = self.expected_wait(&holding, position, behind);
            self.tell_position(&holding, position, expected);
        }
        self.held.insert(task, holding);
    }

    /// One question for each edge of which something is held, and never two at once.
    fn pulse(&mut self) {
        let (now, health) = (self.now.at, &self.health);
        self.edges.retain(|_, edge| edge.asked || !edge.held.is_empty());
        let dead = |answered: Instant| health.silent_for(answered, now) > EDGE_DEAD;
        let (dead, alive): (Vec<_>, Vec<_>) = self
            .edges
            .iter()
            .filter(|(_, edge)| !edge.held.is_empty())
            .partition(|(_, edge)| dead(edge.answered));
        let lost: Vec<TaskId> = dead.into_iter().flat_map(|(_, edge)| edge.held.iter().copied()).collect();
        let due: Vec<ProcessId> =
            alive.into_iter().filter(|(_, edge)| !edge.asked).map(|(id, _)| id.clone()).collect();
        for task in lost {
            self.drop_held(task, "its edge is gone");
        }
        for id in due {
            self.ask_edge(id);
        }
    }

    fn ask_edge(&mut self, id: ProcessId) {
        let Some(edge) = self.edges.get_mut(&id) else { return };
        edge.asked = true;
        let attempt = |task: &TaskId| self.held.get(task).map(|holding| held(holding));
        let pulse = Pulse {
            holder: Peer { role: Role::Orchestrator, id: self.me.clone() },
            boot: self.boot.clone(),
            held: edge.held.iter().filter_map(attempt).collect(),
        };
        self.out.push(Action::Pulse { edge: id, pulse });
    }
}
