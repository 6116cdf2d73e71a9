//! A submission is answered once: refused with what to do instead, or taken. An edge hears of the taking together with what
//! came of it, where a node was free: that node's answer is awaited first, so that two messages are one. Whatever else
//! becomes of the attempt, its answer goes out before anything else is said of it.

use echo_bus::id::{AttemptId, Inbox};
use echo_bus::message::{Code, Excluded, Failure, Submission, Task};

use super::{LEARNING, State, draining};
use crate::distance::Site;
use crate::event::{Action, Asked};
use crate::expected;
use crate::holding::Holding;
use crate::need::{Line, Need};
use crate::queue::{Client, Full};
use crate::scheduler;
use crate::submission::{Submitted, check};

impl State {
    pub(super) fn submit(&mut self, task: Result<Box<Task>, String>, reply: Option<Inbox>) {
        match self.admit(task, reply.as_ref()) {
            Ok(None) => self.answer_taken(reply, None),
            Ok(Some(mut holding)) => {
                holding.reply = reply;
                // Whoever asks by hand reads the answer first, and the frames behind it.
                if holding.task.edge.is_none() {
                    self.tell_taken(&mut holding, None);
                }
                self.place_or_wait(holding);
            }
            Err(failure) => {
                if let Some(to) = reply {
                    self.out.push(Action::Answer { to, answer: Submission::Refused(failure) });
                }
            }
        }
    }

    /// Answers the submission, if nobody has; `by` is the node that has accepted it by now.
    pub(super) fn tell_taken(&mut self, holding: &mut Holding, by: Option<&Asked>) {
        let reply = holding.reply.take();
        self.answer_taken(reply, by);
    }

    fn answer_taken(&mut self, reply: Option<Inbox>, by: Option<&Asked>) {
        let Some(to) = reply else { return };
        let by = by.map(|asked| Excluded { node: asked.node.clone(), boot: asked.boot.clone() });
        let answer = Submission::Taken { orchestrator: self.me.clone(), boot: self.boot.clone(), by };
        self.out.push(Action::Answer { to, answer });
    }

    /// The attempt to be placed; `None` if it is held already, so that hearing it twice does no harm.
    fn admit(
        &mut self,
        task: Result<Box<Task>, String>,
        reply: Option<&Inbox>,
    ) -> Result<Option<Box<Holding>>, Failure> {
        let Submitted { task, inbox } = check(task, reply)?;
        let mut need = Need { site: Site::of(task.site.as_ref()), ..Need::of(&task.request)? };
        if self.draining {
            return Err(draining());
        }
        if self.is_known(task.id())? {
            return Ok(None);
        }
        if need.line == Line::Default {
            need.line = self.default_model().map_or(Line::Default, Line::Model);
            need.spelled.clone_from(&self.limits.default_model);
        }
        let mut holding = Box::new(Holding::new(task, need, inbox, self.now.at, self.limits.queue_wait));
        if let Err(failure) = scheduler::judge(&self.registry, &holding.need) {
            self.may_wait_unjudged(&mut holding, failure)?;
        } else if holding.has_history() {
            // The model may be gone, and the node that has said so to the edge not have said it here yet.
            holding.judged_at = Some(self.now.at + LEARNING);
        }
        let placeable = || scheduler::choose(&self.registry, &holding.need, &holding.bars()).is_some();
        if let Err(full) = self.room_for(&holding)
            && !(self.health.is_connected() && placeable())
        {
            return Err(self.queue_full(full, &holding.task.client));
        }
        // A new attempt ends all earlier ones.
        if holding.attempt() > 1 {
            self.cancel(AttemptId { attempt: holding.attempt() - 1, ..holding.task.id() });
        }
        Ok(Some(holding))
    }

    /// Whether this very attempt is held here, or was handed to a node a moment ago.
    fn is_known(&self, id: AttemptId) -> Result<bool, Failure> {
        let over = || Failure::give_up(Code::Cancelled, "this attempt was cancelled before it came");
        if self.fence.bars(id, self.now.at) {
            return Err(over());
        }
        let AttemptId { task, attempt } = id;
        let held = self.held.get(&task).map(|holding| holding.attempt());
        let handed = self.handed.get(task).map(|(handed, _)| *handed);
        match held.max(handed) {
            Some(known) if known > attempt => Err(over()),
            known => Ok(known == Some(attempt)),
        }
    }

    /// Nobody serves this. That is no verdict while we do not know the mesh, nor for a task whose node was just lost.
    fn may_wait_unjudged(&self, holding: &mut Holding, failure: Failure) -> Result<(), Failure> {
        let (now, unknown) = (self.now.at, matches!(failure.code, Code::NoNode | Code::ModelNotServed));
        if unknown && holding.has_history() {
            return Ok(());
        }
        holding.judged_at = self.known_by().filter(|&known| known > now);
        if holding.judged_at.is_some() { Ok(()) } else { Err(failure) }
    }

    /// When what we know of the mesh is all there is to know; in the past if it is now.
    pub(super) fn known_by(&self) -> Option<std::time::Instant> {
        let learned = self.started + LEARNING;
        let recent = self.now.at.checked_sub(LEARNING).unwrap_or(self.started);
        let learning = self.registry.is_learning(recent).then(|| self.now.at + LEARNING);
        learning.max(Some(learned))
    }

    fn queue_full(&self, full: Full, client: &Client) -> Failure {
        let per_second: f64 = self.queue.lines().filter_map(|(line, _)| self.per_second(line)).sum();
        let retry = (per_second > 0.0).then(|| expected::millis(1.0 / per_second));
        let message = full.words(client, "try again later");
        Failure { retry_after_ms: retry.map(|ms| ms.max(1)), ..Failure::give_up(Code::QueueFull, message) }
    }
}
