//! Reading an answer at another edge than the one that owns its task.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::frame::{Done, Piece};
use super::payload::Payload;
use super::request::Request;
use super::skip::is_default;
use super::why::Why;
use super::written::Written;
use crate::id::{ClientName, NodeId, TaskId};

/// Any edge → the edge that owns the task: what comes after the pieces that I have? Or, with `stops`: end it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAnswer {
    pub task: TaskId,
    /// Pieces that the reader has: the number of the last one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after: u64,
    /// Attempts that the reader was told of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempts: u32,
    /// How long the answer may wait for something to tell.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wait_ms: u64,
    /// A client goes on reading after this: its task goes on as for one of the owner's own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stays: bool,
    /// That client has left.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leaves: bool,
    /// Ends the task, or forgets its answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stops: bool,
    /// What was asked is wanted, and how the answer stands; no piece.
    #[serde(default, skip_serializing_if = "is_default")]
    pub asks_request: bool,
    /// Ends the task if it runs; its answer so far stays as long as it would have.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cancels: bool,
    /// What opens an answer that is kept with its request; without it the owner knows no such task.
    #[serde(default, skip_serializing_if = "is_default")]
    pub key: Option<u64>,
    /// For whom this is asked: the name of the API key. To anybody but who has begun the task, there is no such task.
    #[serde(default, skip_serializing_if = "is_default")]
    pub client: Option<ClientName>,
    /// With `cancels`: whoever asks manages the mesh, and may end what others have begun. Nothing is read by that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub manages: bool,
}

impl ReadAnswer {
    /// What comes after so many pieces, as far as it is there.
    pub fn after(task: TaskId, after: u64) -> Self {
        Self {
            task,
            after,
            attempts: 0,
            wait_ms: 0,
            stays: false,
            leaves: false,
            stops: false,
            asks_request: false,
            cancels: false,
            key: None,
            client: None,
            manages: false,
        }
    }
}

/// What the owner says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum AnswerPart {
    /// What comes next; nothing, if nothing came while the question waited.
    Part(Box<Portion>),
    /// The reader has all, the end too.
    AtEnd,
    /// Answers of this kind cannot be joined.
    Never,
    /// There are only so many pieces.
    Ahead { pieces: u64 },
    /// The task was ended, if it ran. Its answer is kept no longer, but after `cancels`.
    Stopped { ran: bool },
    /// The answer is kept no longer: its time is over, or it made room for others.
    Gone { evicted: bool },
    /// What was asked for is there, and no message takes it: only its own edge can say it.
    TooLarge,
    /// There is no such task. Also a word of a newer version.
    #[serde(other)]
    Unknown,
}

/// Pieces, who gave them, and the end if it follows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Portion {
    /// The number of the first piece.
    #[serde(default, skip_serializing_if = "is_default")]
    pub first: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub pieces: Vec<Piece>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub turns: Vec<AnswerTurn>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub end: Option<Box<End>>,
    /// What was asked, for who wants to know and where it is kept. Who gives the answer now and how it ended come with
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Written<Request>>,
    /// Comes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Written<Memo>>,
}

/// What a dialect wants to read again with the request of a kept answer. It stays at the edges: no engine needs it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memo {
    /// When it was asked, in seconds since 1970.
    pub asked_at: u64,
    /// The first text of the first message belongs to this request alone, and not to the conversation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub own_system: bool,
    /// What the client said and gets back with its answer, in the dialect's own words.
    #[serde(default, skip_serializing_if = "is_default")]
    pub said: Map<String, Value>,
}

impl Portion {
    /// Whether it tells nothing.
    pub fn is_nothing(&self) -> bool {
        self.pieces.is_empty() && self.turns.is_empty() && self.end.is_none() && self.request.is_none()
    }
}

/// A node that gives the answer after some piece.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerTurn {
    /// The number of the piece before it.
    pub after: u64,
    pub node: NodeId,
    pub model: String,
    pub attempts: u32,
    pub waited_ms: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub chosen: String,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    pub ending: Result<Done, Failure>,
    pub nodes: Vec<NodeId>,
    pub model: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub chosen: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub why: Option<Why>,
    pub attempts: u32,
    pub latency_ms: u64,
    pub waited_ms: u64,
}

impl Payload for ReadAnswer {}

impl Payload for AnswerPart {
    /// What was asked may be megabytes: it stays unread, so the message is not taken apart to find its kind.
    fn read(payload: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow)]
            answer: Cow<'a, str>,
        }
        let kind: Kind<'_> = serde_json::from_slice(payload)?;
        if kind.answer == "part" {
            return serde_json::from_slice(payload).map(|part| Self::Part(Box::new(part)));
        }
        serde_json::from_slice(payload)
    }
}
