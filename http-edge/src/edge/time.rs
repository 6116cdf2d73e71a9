//! What time does to tasks: deadlines, resubmissions, slow readers and what is kept; and the ends that are not the
//! attempts' own, by its id or by the edge's stopping.

use std::time::Instant;

use echo_bus::id::TaskId;
use echo_bus::message::{Code, Failure};

use super::event::Action;
use super::{Edge, Task};

/// What happened to a `DELETE`d task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It ran, and has ended now.
    Cancelled,
    /// It had ended, and its answer is kept no longer.
    Forgotten,
}

impl Edge {
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Action>) {
        out.extend(self.holders.tick(now).into_iter().map(Action::Ping));
        let due: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.is_due(now)).map(|(id, _)| *id).collect();
        for id in due {
            self.due(id, now, out);
        }
        self.bound_memory(now, out);
    }

    fn due(&mut self, id: TaskId, now: Instant, out: &mut Vec<Action>) {
        self.drop_slow(id, now, out);
        self.answer_parked(id, now, out);
        self.keep_or_drop(id, now, out);
        let Some(task) = self.tasks.get_mut(&id).filter(|task| !task.attempts.has_ended()) else { return };
        if now >= task.attempts.deadline() {
            self.withdraw(id, None, out);
            let Some(task) = self.tasks.get_mut(&id) else { return };
            let step = task.attempts.expired(now);
            self.step(id, step, None, now, out);
        } else if task.resubmit_at.is_some_and(|at| now >= at) {
            self.submit(id, now, out);
        }
    }

    /// Ends a task for whoever has its id. Unless it `forgets`, the answer so far stays for as long as it would have.
    pub fn stop(
        &mut self,
        id: TaskId,
        forgets: bool,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Option<Stopped> {
        let task = self.tasks.get_mut(&id)?;
        let has_ended = task.attempts.has_ended();
        if forgets {
            // Those who read it elsewhere are not waited for.
            (task.keep, task.read_elsewhere) = (None, None);
            self.kept.end(id);
        }
        if has_ended {
            self.keep_or_drop(id, now, out);
            return Some(Stopped::Forgotten);
        }
        self.withdraw(id, None, out);
        self.fail(id, Failure::give_up(Code::Cancelled, "the task was cancelled"), now, out);
        Some(Stopped::Cancelled)
    }

    pub(super) fn abort(&mut self, now: Instant, out: &mut Vec<Action>) {
        let running = self.tasks.iter().filter(|(_, task)| !task.attempts.has_ended());
        let running: Vec<TaskId> = running.map(|(id, _)| *id).collect();
        for id in running {
            self.withdraw(id, None, out);
            self.fail(id, Failure::give_up(Code::Draining, "the edge is stopping; ask again"), now, out);
        }
    }
}

impl Task {
    fn is_due(&self, now: Instant) -> bool {
        let runs = !self.attempts.has_ended();
        (runs && (now >= self.attempts.deadline() || self.resubmit_at.is_some_and(|at| now >= at)))
            || self.has_slow(now)
            || self.parked.iter().any(|parked| now >= parked.until)
            || self.is_forsaken(now)
    }
}
