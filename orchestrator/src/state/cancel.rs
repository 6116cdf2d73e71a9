//! Attempts that nobody wants any more.

use echo_bus::id::{AttemptId, ProcessId, TaskId};
use echo_bus::message::{Cancel, Code, PulseAnswer, What};

use super::State;
use crate::event::{Action, Asked};
use crate::holding::Phase;

impl State {
    /// Ends an attempt and all lower ones, wherever they are, also if they come later.
    pub(super) fn cancel(&mut self, id: AttemptId) {
        self.fence.raise(id, self.now.at);
        let AttemptId { task, attempt } = id;
        if self.held.get(&task).is_some_and(|holding| holding.attempt() <= attempt) {
            self.drop_held(task, "it was cancelled");
        }
        if let Some((handed, node)) = self.handed.get(task)
            && *handed <= attempt
        {
            let node = node.clone();
            self.out.push(Action::CancelAt { node, cancel: Cancel(id) });
        }
    }

    /// Lets go of an attempt, and tells the node that may be about to take it.
    pub(super) fn drop_held(&mut self, task: TaskId, why: &str) {
        let Some(mut holding) = self.release(task) else { return };
        self.tell_taken(&mut holding, None);
        holding.trace.failed(Code::Cancelled);
        if let Phase::Asked(node) = &holding.phase {
            let cancel = Cancel(holding.task.id());
            self.out.push(Action::CancelAt { node: node.clone(), cancel });
        }
        self.announce_task(What::Released, &holding, None, why);
    }

    /// Takes back what a node took, or may have taken.
    pub(super) fn cancel_at(&mut self, asked: &Asked) {
        let cancel = Cancel(asked.id);
        self.out.push(Action::CancelAt { node: asked.node.clone(), cancel });
    }

    /// An edge has answered a pulse, or has not.
    pub(super) fn pulsed(&mut self, id: &ProcessId, answer: Option<PulseAnswer>) {
        let Some(edge) = self.edges.get_mut(id) else { return };
        edge.asked = false;
        let Some(answer) = answer else { return };
        edge.answered = self.now.at;
        for unwanted in answer.unwanted {
            let held = self.held.get(&unwanted.id.task);
            if held.is_some_and(|it| it.task.edge.as_ref() == Some(id)) {
                self.cancel(unwanted.id);
            }
        }
    }
}
