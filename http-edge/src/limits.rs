//! What a task may take, and what an answer may be.

use std::time::Duration;

use echo_bus::id::SiteName;

/// What a request leaves free of the broker's largest message, for the text so far of an answer that goes on elsewhere.
pub const ROOM_FOR_CONTINUATION: usize = 1024 * 1024;

/// The limits of a task.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Failures of nodes that had accepted the task.
    pub attempts: u32,
    /// The whole task.
    pub total: Duration,
    /// Without anybody who takes the task.
    pub untaken: Duration,
    pub first_token: Duration,
    pub token: Duration,
    /// Without the client taking anything that waits for it.
    pub client: Duration,
    /// The longest time in which a stream says nothing.
    pub idle_sign: Duration,
    /// Whether an answer that has begun goes on elsewhere.
    pub continues: bool,
    /// Where the edge stands.
    pub site: Option<SiteName>,
    /// Texts longer than this do not fit into another submission.
    pub longest: usize,
}
