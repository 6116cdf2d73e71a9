//! What the holder of an attempt sends to the edge.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Failure, Payload, is_default};
use crate::id::{BootId, NodeId, ProcessId};

/// One message of an attempt's stream. The agent numbers its frames from 0 (`accepted`) without a gap up to and
/// including the one end, `done` or `failed`; a gap is asked for again by way of the pulse. Frames of the
/// orchestrator (`queued`, and a `failed` without `seq`) carry no number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum Frame {
    /// The task waits for a free slot.
    Queued {
        orchestrator: ProcessId,
        /// 1 is next.
        position: u32,
        /// Measured from recent completions; absent when unknown.
        #[serde(default, skip_serializing_if = "is_default")]
        expected_wait_ms: Option<u64>,
    },
    /// The agent holds the attempt.
    Accepted {
        seq: u64,
        node: NodeId,
        boot: BootId,
        /// The model as the engine names it.
        model: String,
        /// Time spent in the orchestrator's queue.
        #[serde(default, skip_serializing_if = "is_default")]
        waited_ms: u64,
        /// Why this node: the words of the scheduler.
        #[serde(default, skip_serializing_if = "is_default")]
        chosen: String,
    },
    /// Pieces of the answer that arrived together.
    Token { seq: u64, pieces: Vec<Piece> },
    /// The end of a whole answer.
    Done {
        seq: u64,
        #[serde(flatten)]
        done: Box<Done>,
    },
    /// The end of an attempt that is no whole answer.
    Failed {
        #[serde(default, skip_serializing_if = "is_default")]
        seq: Option<u64>,
        #[serde(flatten)]
        failure: Box<Failure>,
    },
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}

impl Frame {
    /// The frame's place in the agent's stream.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Accepted { seq, .. } | Self::Token { seq, .. } | Self::Done { seq, .. } => Some(*seq),
            Self::Failed { seq, .. } => *seq,
            Self::Queued { .. } | Self::Unknown => None,
        }
    }
}

impl Payload for Frame {
    /// Nearly all frames are tokens, and the general way to read an enum by its tag copies every field first.
    fn read(payload: &[u8]) -> serde_json::Result<Self> {
        match serde_json::from_slice(payload) {
            Ok(PlainToken { frame: TokenTag::Token, seq, pieces }) => Ok(Self::Token { seq, pieces }),
            Err(_) => serde_json::from_slice(payload),
        }
    }
}

/// A token frame as this version writes it; whatever else there is is read the general way.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainToken {
    frame: TokenTag,
    seq: u64,
    pieces: Vec<Piece>,
}

#[derive(Deserialize)]
enum TokenTag {
    #[serde(rename = "token")]
    Token,
}

/// One chunk of the engine. A chunk is not a token: it may hold several, or none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    #[serde(default, skip_serializing_if = "is_default")]
    pub content: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub thinking: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tool_calls: Vec<ToolCall>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub logprobs: Option<Value>,
    /// A line of progress of a pull, as the engine said it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub progress: Option<Value>,
    /// Came in the engine's last chunk, which also says that it is done.
    #[serde(default, skip_serializing_if = "is_default")]
    pub last: bool,
    /// Fields of the chunk with no place above, as an Ollama engine said them; those of its message under `message`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra: Map<String, Value>,
}

impl Piece {
    /// A piece of plain text.
    pub fn text(content: impl Into<String>) -> Self {
        Self { content: content.into(), ..Self::default() }
    }
}

/// A function that the model wants called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    #[serde(default, skip_serializing_if = "is_default")]
    pub id: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub index: u32,
    pub name: String,
    pub arguments: Value,
    /// Fields of the call with no place above, as Ollama or its client said them; those of its function under
    /// `function`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra: Map<String, Value>,
}

/// How a whole answer ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub reason: Reason,
    /// Tokens of the prompt, by the engine's count.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prompt_tokens: Option<u64>,
    /// Tokens made in this attempt, by the engine's count.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub timings: Timings,
    /// The answer of requests that have no stream: embeddings, a model's description.
    #[serde(default, skip_serializing_if = "is_default")]
    pub body: Option<Value>,
    /// Fields of the engine's last chunk that have no place above, as the engine said them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra: Map<String, Value>,
}

/// Why the engine stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The model ended its answer, or a stop word came.
    #[default]
    Stop,
    /// The token limit or the context is used up.
    Length,
    /// The model calls tools.
    ToolCalls,
    /// Nothing was asked; the model is loaded now.
    Load,
    /// Nothing was asked; the model is unloaded now.
    Unload,
    /// A word of a newer version.
    #[serde(other)]
    Unknown,
}

/// Where the engine's time went, in nanoseconds; zero when the engine does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    #[serde(default, skip_serializing_if = "is_default")]
    pub total_ns: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub load_ns: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub prompt_ns: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub eval_ns: u64,
}
