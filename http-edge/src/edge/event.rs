//! What the edge hears, and what it wants done about it.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use echo_bus::client::Address;
use echo_bus::id::{BootId, ClientName, Inbox, NodeId, Peer, TaskId};
use echo_bus::message::{
    AnswerPart, Cancel, Event as Announcement, Frames, Memo, Pulse, PulseAnswer, ReadAnswer, Request,
    Submission, Task, Written,
};

use crate::holders::{Ask, Heard, Holder, Loss};
use crate::limits::Limits;
use crate::report::Report;

use super::owner::Owner;

/// A task that a client wants done.
pub struct New {
    pub task: TaskId,
    /// Part of the inboxes' names: only whoever was given one can send to it.
    pub secret: u128,
    pub owner: Owner,
    pub request: Request,
    pub traceparent: Option<String>,
    pub limits: Limits,
    /// What stays while nobody reads; without this the task is cancelled at once.
    pub keep: Option<Keep>,
    /// What stays with the answer for the client's dialect.
    pub asked: Option<Asked>,
    /// What the request takes in memory while a kept task runs.
    pub request_bytes: usize,
    /// Whether others may read the answer too. What nobody can join is dropped once it is read.
    pub joins: bool,
    pub reads: Reads,
}

/// What stays of a task that nobody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// For how long its answer stays.
    pub time: Duration,
    /// Whether the task goes on, too; else it ends with its last reader, and an answer that has ended stays.
    pub goes_on: bool,
}

/// What was asked, as it stays with a kept answer: as text, since nobody may ever read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Who does not have it is told nothing of the task, and cannot end it: ids stand in events and logs, keys do not.
    pub key: u64,
    pub request: Written<Request>,
    /// What the dialect wants to read again with it.
    pub memo: Written<Memo>,
}

/// Names one reader of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReaderId {
    pub task: TaskId,
    pub(super) number: u32,
}

/// What somebody wants to read of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// All news as they come.
    Pieces,
    /// The end with the whole answer, and nothing before it.
    End,
}

/// Something has happened.
#[derive(Debug)]
pub enum Event {
    /// What became of a submission.
    Submitted {
        task: TaskId,
        attempt: u32,
        result: Result<Submission, Unsubmitted>,
    },
    /// A message with frames has come by this inbox.
    Frames {
        inbox: Address,
        frames: Frames,
    },
    Pulse {
        pulse: Pulse,
        reply: Option<Inbox>,
    },
    /// The server says that a connection has ended.
    Gone {
        peer: Peer,
        boot: BootId,
    },
    /// What became of a ping.
    Pinged {
        holder: Holder,
        heard: Heard,
    },
    /// Our own connection to the broker has ended.
    Disconnected,
    /// It is back, and all subscriptions are in force.
    Reconnected,
    /// Several times a second, with the wall clock, which goes on while a machine sleeps.
    Tick {
        unix_ms: u64,
    },
    /// A reader will read no more.
    Left(ReaderId),
    /// Another edge reads an answer, or stops its task, for a client of its own.
    Asked {
        question: ReadAnswer,
        reply: Option<Inbox>,
    },
    /// The edge stops: all tasks end.
    Abort,
}

/// Why no orchestrator has answered a submission.
#[derive(Debug)]
pub enum Unsubmitted {
    TooLarge {
        size: usize,
        limit: usize,
    },
    /// It may have arrived.
    Unanswered,
    /// It has not, or its answer cannot be read.
    Unsent,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    Submit(Box<Task>),
    /// Ends an attempt, at the node that holds it if one is known.
    Cancel {
        node: Option<NodeId>,
        cancel: Cancel,
    },
    AnswerPulse {
        to: Inbox,
        answer: PulseAnswer,
    },
    Ping(Ask),
    /// A holder has lost so many attempts: to be told.
    Lost {
        holder: Holder,
        loss: Loss,
        attempts: usize,
    },
    /// This process has slept so long: to be told.
    Slept(Duration),
    /// A reader has something to read.
    Wake(Waker),
    Tell {
        to: Inbox,
        part: Box<AnswerPart>,
    },
    Announce(Box<Announcement>),
    /// A task has ended, for log and metrics.
    Ended {
        task: TaskId,
        client: Option<ClientName>,
        report: Arc<Report>,
        /// It was work for a model, and not about models.
        generates: bool,
        first_token: Option<Duration>,
    },
    /// The last reader has gone before the end.
    HungUp {
        task: TaskId,
        client: Option<ClientName>,
        why: &'static str,
    },
}
