//! Attempts find their nodes, or wait for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use echo_bus::id::TaskId;
use echo_bus::message::{Code, Event as News, Excluded, Failure, Frame, Verdict, What};

use super::plan::{Focus, is_planned};
use super::{State, draining, millis};
use crate::event::{Action, Answer, Asked};
use crate::fit::Fit;
use crate::holding::{Holding, Phase};
use crate::need::{Need, name_model};
use crate::node::Hold;
use crate::queue::Place;
use crate::reason::Reason;
use crate::registry::{Key, Registry};
use crate::scheduler::{self, Choice};

impl State {
    /// Finds a node for an attempt; if there is none now, or a better one is worth waiting for, it waits.
    pub(super) fn place_or_wait(&mut self, holding: Box<Holding>) {
        if self.draining {
            return self.fail(holding, draining());
        }
        if scheduler::all_skipped(&self.registry, &holding.need, &holding.bars()) {
            return self.refuse_everywhere(holding);
        }
        if self.is_without_another(&holding) {
            return self.fail(holding, without_another());
        }
        let has_room = self.room_for(&holding);
        if is_planned(&holding.need) && has_room.is_ok() {
            return self.plan_or_wait(holding);
        }
        match (self.choice_for(&holding), has_room) {
            (Some(choice), _) => {
                let key = choice.key;
                self.ask(holding, choice);
                self.note_count(key);
            }
            (None, Ok(())) => self.wait(holding),
            (None, Err(full)) => {
                let message = full.words(&holding.task.client, "submit the task again");
                self.fail(holding, Failure::wait(Code::QueueFull, message));
            }
        }
    }

    /// The best free node now, by what is known without a look at what it does.
    pub(super) fn choice_for(&self, holding: &Holding) -> Option<Choice> {
        let choose = || scheduler::choose(&self.registry, &holding.need, &holding.bars());
        self.health.is_connected().then(choose).flatten()
    }

    /// A second opinion is wanted, and there is nobody else to give one.
    pub(super) fn is_without_another(&self, holding: &Holding) -> bool {
        holding.task.second_opinion
            && self.health.is_connected()
            && self.known_by().is_none_or(|known| known <= self.now.at)
            && !scheduler::somebody_works(&self.registry, &holding.need, &holding.bars())
    }

    /// Every node that could take it has refused it for good.
    fn refuse_everywhere(&mut self, holding: Box<Holding>) {
        let failure = match &holding.refusal {
            Some(refusal) if !matches!(refusal.code, Code::ModelMissing | Code::ModelNotServed) => {
                Failure { verdict: Verdict::GiveUp, ..refusal.clone() }
            }
            _ => {
                let message = "the nodes that list the model do not have it after all".to_owned();
                Failure { message, ..scheduler::not_served(&self.registry, &holding.need) }
            }
        };
        self.fail(holding, failure);
    }

    pub(super) fn wait(&mut self, mut holding: Box<Holding>) {
        self.tell_taken(&mut holding, None);
        let (task, since) = (holding.task.task, holding.since(self.started));
        let place = self.queue.join(holding.entry(), since, task);
        let order = self.queue.order();
        let position = order.position(&holding.need.line, place);
        let behind = self.behind(&holding.need.line, &order).filter(|_| position > self.looks_at());
        holding.phase = Phase::Waiting { place, told: (position, self.now.at) };
        self.unplanned += usize::from(!is_planned(&holding.need));
        let expected = self.expected_wait(&holding, position, behind);
        if holding.first_wait == Some(0) {
            holding.first_wait = expected;
        }
        holding.trace.queued(position, expected);
        self.tell_position(&holding, position, expected);
        let queued = self.news_of_task(What::Queued, &holding, None, format!("waits at position {position}"));
        let (position, expected_wait_ms) = (Some(position), expected);
        self.out.push(Action::Announce(News { position, expected_wait_ms, ..queued }));
        self.keep(holding);
    }

    pub(super) fn tell_position(&mut self, holding: &Holding, position: u32, expected_wait_ms: Option<u64>) {
        let frame = Frame::Queued { orchestrator: self.me.clone(), position, expected_wait_ms };
        self.out.push(Action::Frame { to: holding.inbox.clone(), frame });
    }

    /// Asks a node to take the attempt. The slot counts as taken from now on.
    pub(super) fn ask(&mut self, mut holding: Box<Holding>, choice: Choice) {
        let key = choice.key;
        self.placed += 1;
        let model = holding.need.model();
        if choice.fit != Fit::AsNeeded
            && let Some((name, load)) = model.zip(holding.need.load)
        {
            self.registry.presume(key, name, load);
        }
        let node = self.registry.node_mut(key);
        node.note_use(self.placed);
        if !holding.need.aside {
            let at_work = self.queue.turn(&holding.task.client, &holding.need.line);
            node.place(holding.task.id(), &holding.need, at_work);
        }
        let asked = Asked { id: holding.task.id(), node: node.id().clone(), boot: node.boot().clone() };
        let waited = holding.waited(self.now.at);
        let task = Arc::make_mut(&mut holding.task);
        task.boot = Some(asked.boot.clone());
        task.remaining_ms = millis(holding.ends.saturating_duration_since(self.now.at)).max(1);
        task.waited_ms = millis(waited);
        // Whoever submits it has no say in that.
        (task.chosen, task.why) = (String::new(), None);
        if let Some(name) = spelled_at(&self.registry, key, &holding.need) {
            name_model(&mut task.request, name);
        }
        let reason = Arc::new(choice.reason);
        holding.trace.asked(&asked.node, &reason);
        holding.phase = Phase::Asked(asked.node.clone());
        holding.reason = Some(Arc::clone(&reason));
        self.out.push(Action::Dispatch { asked, task: holding.task.clone(), reason });
        self.keep(holding);
    }

    /// What takes no slot waits for a node that works, and gets the first one.
    pub(super) fn fill(&mut self, key: Key) {
        while let Some(task) = self.next_aside(key) {
            let Some(holding) = self.release(task) else { return };
            let waited = millis(holding.waited(self.now.at));
            let words = format!("the first that works, after {waited} ms in the queue");
            self.ask(holding, Choice { key, reason: words.into(), fit: Fit::AsNeeded });
        }
    }

    /// Who waited longest of those that no plan is made for, over all lines.
    fn next_aside(&self, key: Key) -> Option<TaskId> {
        if !self.health.is_connected() || self.unplanned == 0 {
            return None;
        }
        let can_take = |task: &TaskId| {
            let holding = self.held.get(task)?;
            let takes = !is_planned(&holding.need)
                && scheduler::can_take(&self.registry, &holding.need, &holding.bars(), key);
            takes.then_some(())
        };
        let first = |line: &BTreeMap<Place, TaskId>| {
            line.iter().find(|(_, task)| can_take(task).is_some()).map(|(place, task)| (*place, *task))
        };
        self.queue.lines().filter_map(|(_, line)| first(line)).min().map(|(_, task)| task)
    }

    /// What became of a dispatch. The attempt may have been cancelled meanwhile; the node's count is settled all the same.
    pub(super) fn answered(&mut self, asked: &Asked, answer: Answer) {
        let answer = self.unless_it_is_there(asked, answer);
        self.settle(asked, &answer);
        let held = self.held.get(&asked.id.task).is_some_and(|holding| {
            holding.attempt() == asked.id.attempt
                && matches!(&holding.phase, Phase::Asked(node) if *node == asked.node)
        });
        let holding = if held { self.release(asked.id.task) } else { None };
        let accepted = matches!(answer, Answer::Accepted { .. });
        let holding = holding.map(|mut holding| {
            self.tell_taken(&mut holding, accepted.then_some(asked));
            holding
        });
        match (holding, answer) {
            (Some(mut holding), Answer::Accepted { .. }) => {
                holding.trace.placed(&asked.node, holding.reason.as_deref(), holding.task.waited_ms);
                self.hand_over(&holding, asked);
            }
            (None, Answer::Accepted { .. } | Answer::Unclear) => self.cancel_at(asked),
            (None, _) => {}
            (Some(holding), Answer::Refused(failure)) => self.try_next(holding, asked, failure),
            (Some(holding), Answer::NoResponders | Answer::Disconnected) => self.place_or_wait(holding),
            (Some(holding), Answer::Unclear) => {
                // Never again under this attempt, whoever asks for it.
                self.fence.raise(asked.id, self.now.at);
                match &holding.task.edge {
                    // It hears from the node itself whether that has the attempt, and cancels it if need be.
                    Some(_) => self.note_handed(asked),
                    None => self.cancel_at(asked),
                }
                let message = format!("node {} did not say whether it took the task", asked.node);
                self.fail(holding, Failure::elsewhere(Code::Unclear, message));
            }
            (Some(holding), Answer::Unsendable(why)) => {
                self.fail(holding, Failure::give_up(Code::BadRequest, why));
            }
        }
        if let Some(key) = self.registry.find(&asked.node, &asked.boot) {
            self.note_count(key);
            self.fill(key);
            self.plan(Focus::Node(key));
        }
    }

    /// A node that refuses because it holds this very attempt has accepted it.
    fn unless_it_is_there(&self, asked: &Asked, answer: Answer) -> Answer {
        match answer {
            Answer::Refused(Failure { code: Code::Unclear, .. }) => {
                let key = self.registry.find(&asked.node, &asked.boot);
                let heartbeat = key.map_or(0, |key| self.registry.node(key).beat().number);
                Answer::Accepted { heartbeat }
            }
            other => other,
        }
    }

    /// Settles the node's count, and what we think of the node.
    fn settle(&mut self, asked: &Asked, answer: &Answer) {
        let Some(key) = self.registry.find(&asked.node, &asked.boot) else { return };
        let node = self.registry.node_mut(key);
        match answer {
            Answer::Accepted { heartbeat } => {
                node.accepted(asked.id, *heartbeat);
            }
            Answer::Unclear => {
                node.unclear(asked.id);
                self.suspect(&asked.node, &asked.boot, "it did not answer a task");
            }
            Answer::NoResponders => {
                node.refused(asked.id);
                self.suspect(&asked.node, &asked.boot, "nobody takes its tasks");
            }
            Answer::Refused(_) | Answer::Disconnected | Answer::Unsendable(_) => {
                node.refused(asked.id);
            }
        }
    }

    /// A cancel that comes late finds its way.
    fn note_handed(&mut self, asked: &Asked) {
        self.handed.note(asked.id.task, (asked.id.attempt, asked.node.clone()), self.now.at);
    }

    fn hand_over(&mut self, holding: &Holding, asked: &Asked) {
        self.note_handed(asked);
        let reason = holding.reason.as_deref();
        let (words, why) = (reason.map_or("", Reason::words), reason.and_then(Reason::why).cloned());
        let placed = self.news_of_task(What::Placed, holding, Some(asked.node.clone()), words);
        self.out.push(Action::Announce(News { why, ..placed }));
    }

    /// A refusal sends the attempt to the next node.
    fn try_next(&mut self, mut holding: Box<Holding>, asked: &Asked, failure: Failure) {
        holding.trace.refused(&asked.node, failure.code);
        if failure.verdict == Verdict::GiveUp || failure.code == Code::Cancelled {
            return self.fail(holding, failure);
        }
        let passing = failure.verdict == Verdict::Wait
            || matches!(
                failure.code,
                Code::Full
                    | Code::Draining
                    | Code::Unavailable
                    | Code::WrongBoot
                    | Code::EngineUnreachable
                    | Code::EngineBusy
                    | Code::EngineStalled
            );
        if !passing {
            holding.skipped.push(Excluded { node: asked.node.clone(), boot: asked.boot.clone() });
            holding.refusal = Some(failure);
        } else if let Some(key) = self.registry.find(&asked.node, &asked.boot) {
            let node = self.registry.node_mut(key);
            if node.hold().is_none() {
                node.hold_back(Hold::Refused);
            }
        }
        self.place_or_wait(holding);
    }
}

/// The model as this node names it: as the client spelled it, if the node has that too.
fn spelled_at<'a>(registry: &'a Registry, key: Key, need: &'a Need) -> Option<&'a str> {
    let known = registry.model_at(key, need.model()?).map(|seen| seen.model().name.as_str());
    let exact = need.spelled.as_deref().filter(|exact| known != Some(*exact));
    // Mostly the node has it under this one name, and nobody has to look through all of its models.
    let exact = exact.filter(|&exact| registry.node(key).models().iter().any(|it| it.name == exact));
    exact.or(known)
}

pub(super) fn without_another() -> Failure {
    Failure::give_up(Code::Unavailable, "no other node can be asked")
}
