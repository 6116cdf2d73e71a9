//! Where a task stands in its line by time, and whose it is.

use std::collections::BTreeMap;

use echo_bus::id::{ClientName, TaskId};

/// A place by time: who began to wait earlier is before who came later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When the task's wait began, in microseconds since the orchestrator's start; before it for tasks that come again.
    pub(super) since: i64,
    pub(super) serial: u64,
}

/// Whose a task is: who has no key is one client with all others who have none.
pub type Client = Option<ClientName>;

/// Those in one line, by time.
#[derive(Debug)]
pub(super) struct Waiters {
    pub(super) number: u64,
    pub(super) by_time: BTreeMap<Place, TaskId>,
}
