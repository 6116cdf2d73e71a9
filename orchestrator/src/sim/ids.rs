//! The ids of simulated tasks, and of the one attempt at each.

use echo_bus::id::{AttemptId, TaskId};
use echo_bus::message::Held;

/// The attempt at a simulated task.
pub fn held(task: usize) -> Held {
    Held { id: AttemptId { task: task_id(task), attempt: 1 }, seq: None, ended: false }
}

/// The id of a simulated task.
pub fn task_id(task: usize) -> TaskId {
    TaskId::from_u128(task as u128 + 1)
}
