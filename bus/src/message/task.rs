//! A task on its way, and the answers to it.

use async_nats::HeaderMap;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::payload::Payload;
use super::request::Request;
use super::skip::is_default;
use super::why::Relayed;
use crate::id::{AttemptId, BootId, ClientName, Inbox, NodeId, ProcessId, SiteName, TaskId};

/// One attempt at a task. Only `request` is needed from a person who submits by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    #[serde(default = "TaskId::random")]
    pub task: TaskId,
    /// A fence: one more at each submit.
    #[serde(default = "first")]
    pub attempt: u32,
    /// The start of the agent that this is meant for; another refuses. Absent on the way to the orchestrator.
    #[serde(default, skip_serializing_if = "is_default")]
    pub boot: Option<BootId>,
    /// Where the frames go. Absent: to the reply subject.
    #[serde(default, skip_serializing_if = "is_default")]
    pub inbox: Option<Inbox>,
    /// Who owns the task and hears the pulse. Absent: nobody does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub edge: Option<ProcessId>,
    /// The time left for the whole task, in milliseconds; clocks are never compared.
    #[serde(default = "five_minutes")]
    pub remaining_ms: u64,
    /// How long the engine may take to the first piece of the answer, in milliseconds, once the model is loaded.
    #[serde(default = "two_minutes")]
    pub first_token_ms: u64,
    /// How long the engine may take between two pieces, in milliseconds.
    #[serde(default = "half_a_minute")]
    pub token_ms: u64,
    /// The time waited in queues so far, in milliseconds: a task that comes again does not go to the end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waited_ms: u64,
    /// Starts of nodes that lost or failed this task.
    #[serde(default, skip_serializing_if = "is_default")]
    pub excluded: Vec<Excluded>,
    /// What the client has already: to be continued.
    #[serde(default, skip_serializing_if = "is_default")]
    pub so_far: Option<SoFar>,
    /// An engine has refused the request, and one that is not excluded is asked for a second opinion. Where there is no
    /// other node, the task is refused at once: an excluded one is never asked again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub second_opinion: bool,
    /// Who reads the frames takes pieces in the `done` frame too; others get them in a `token` frame before it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub joins_end: bool,
    /// Who reads the frames takes several in one message ([`Frames`](super::Frames)); others get each in its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub takes_several: bool,
    /// Why the scheduler chose the node, in words; set by the orchestrator.
    #[serde(default, skip_serializing_if = "is_default")]
    pub chosen: String,
    /// The same in figures, with the next best nodes; set by the orchestrator.
    #[serde(default, deserialize_with = "Relayed::unread", skip_serializing_if = "is_default")]
    pub why: Option<Relayed>,
    /// Whose task it is: the name of the API key it came with. The queue is fair among them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub client: Option<ClientName>,
    /// Where its edge stands: nodes of another site count as that much farther. Absent: everywhere is near.
    #[serde(default, skip_serializing_if = "is_default")]
    pub site: Option<SiteName>,
    pub request: Request,
    /// The W3C trace context; travels as a header.
    #[serde(skip)]
    pub traceparent: Option<String>,
}

fn first() -> u32 {
    1
}

fn five_minutes() -> u64 {
    300_000
}

fn two_minutes() -> u64 {
    120_000
}

fn half_a_minute() -> u64 {
    30_000
}

impl Task {
    /// Which attempt this is.
    pub fn id(&self) -> AttemptId {
        AttemptId { task: self.task, attempt: self.attempt }
    }
}

impl Payload for Task {
    fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert("Echo-Task-Id", self.task.to_string().as_str());
        if let Some(trace) = &self.traceparent {
            headers.insert("traceparent", trace.as_str());
        }
        Some(headers)
    }

    fn take_headers(&mut self, headers: &HeaderMap) {
        self.traceparent = headers.get("traceparent").map(|value| value.as_str().to_owned());
    }
}

/// One start of one node that this task does not go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    pub node: NodeId,
    pub boot: BootId,
}

/// The answer up to the point where its node was lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoFar {
    pub content: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub thinking: String,
    /// Tokens made, by the engines' counts where they were given: at least so many. A token limit shrinks by it.
    pub tokens: u64,
    /// `tokens` is exactly what was made. Otherwise a piece may have been several tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exact: bool,
}

/// An orchestrator's answer to a submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Submission {
    /// It holds the task now, and proves it by its pulse until an agent does.
    Taken {
        orchestrator: ProcessId,
        boot: BootId,
        /// The start of a node that has accepted it by now, where one was free.
        #[serde(default, skip_serializing_if = "is_default")]
        by: Option<Excluded>,
    },
    /// It does not.
    Refused(Failure),
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}

/// An agent's answer to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Dispatch {
    /// It holds the attempt now.
    Accepted {
        boot: BootId,
        /// The number of its last heartbeat: later ones list this attempt.
        heartbeat: u64,
    },
    /// It does not, and never will under this attempt.
    Refused(Failure),
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}
