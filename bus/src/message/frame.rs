//! What the holder of an attempt sends to the edge.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::failure::Failure;
use super::payload::Payload;
use super::skip::is_default;
use super::why::Relayed;
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
        /// Until it is placed, as the scheduler expects it; absent where nothing was measured.
        #[serde(default, skip_serializing_if = "is_default")]
        expected_wait_ms: Option<u64>,
    },
    /// The agent holds the attempt.
    Accepted(Box<Accepted>),
    /// Pieces of the answer that arrived together.
    Token { seq: u64, pieces: Vec<Piece> },
    /// The end of a whole answer, and with [`Task::joins_end`](super::Task::joins_end) the pieces that arrived together
    /// with it.
    Done {
        seq: u64,
        #[serde(default, skip_serializing_if = "is_default")]
        pieces: Vec<Piece>,
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
            Self::Accepted(accepted) => Some(accepted.seq),
            Self::Token { seq, .. } | Self::Done { seq, .. } => Some(*seq),
            Self::Failed { seq, .. } => *seq,
            Self::Queued { .. } | Self::Unknown => None,
        }
    }
}

impl Payload for Frame {
    /// The general way to read an enum by its tag copies every field first. The three frames that every answer has are
    /// known by how they begin, as this version writes them; whatever begins otherwise is read the general way.
    fn read(payload: &[u8]) -> serde_json::Result<Self> {
        if payload.starts_with(br#"{"frame":"token","#) {
            let Token { seq, pieces } = serde_json::from_slice(payload)?;
            return Ok(Self::Token { seq, pieces });
        }
        if payload.starts_with(br#"{"frame":"accepted","#) {
            return Ok(Self::Accepted(serde_json::from_slice(payload)?));
        }
        if payload.starts_with(br#"{"frame":"done","#) {
            let it: Whole = serde_json::from_slice(payload)?;
            let mut done = Box::new(Done {
                reason: it.reason,
                prompt_tokens: it.prompt_tokens,
                estimated: it.estimated,
                so_far_tokens: it.so_far_tokens,
                cached_tokens: it.cached_tokens,
                tokens: it.tokens,
                timings: it.timings,
                vectors: it.vectors,
                body: it.body,
                extra: it.extra,
            });
            done.take_older_vectors();
            return Ok(Self::Done { seq: it.seq, pieces: it.pieces, done });
        }
        let mut frame = serde_json::from_slice(payload)?;
        if let Self::Done { done, .. } = &mut frame {
            done.take_older_vectors();
        }
        Ok(frame)
    }
}

impl Done {
    /// The vectors of an older agent, which says them in the body.
    fn take_older_vectors(&mut self) {
        let said = self.body.as_ref().and_then(|body| body.get("embeddings"));
        let Some(Ok(vectors)) = said.filter(|_| self.vectors.is_none()).map(Vec::deserialize) else { return };
        (self.vectors, self.body) = (Some(vectors), None);
    }
}

#[derive(Deserialize)]
struct Token {
    seq: u64,
    pieces: Vec<Piece>,
}

/// [`Frame::Done`] without a level between, which costs a second reading.
#[derive(Deserialize)]
struct Whole {
    seq: u64,
    #[serde(default)]
    pieces: Vec<Piece>,
    reason: Reason,
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    estimated: bool,
    #[serde(default)]
    so_far_tokens: Option<u64>,
    #[serde(default)]
    cached_tokens: Option<u64>,
    #[serde(default)]
    tokens: Option<u64>,
    #[serde(default)]
    timings: Timings,
    #[serde(default)]
    vectors: Option<Vec<Vector>>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    extra: Map<String, Value>,
}

/// An agent's first word on an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub seq: u64,
    pub node: NodeId,
    pub boot: BootId,
    /// The model as the engine names it.
    pub model: String,
    /// Time spent in the orchestrator's queue.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waited_ms: u64,
    /// Why this node: the words of the scheduler.
    #[serde(default, skip_serializing_if = "is_default")]
    pub chosen: String,
    /// The same in figures, as it came with the task.
    #[serde(default, skip_serializing_if = "is_default")]
    pub why: Option<Relayed>,
}

/// One chunk of the engine. A chunk is not a token: it may hold several, or none. What is rare has a box, since every
/// token of every answer is moved through the parts as one of these.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    #[serde(default, skip_serializing_if = "is_default")]
    pub content: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub thinking: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tool_calls: Vec<ToolCall>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub logprobs: Option<Box<Value>>,
    /// A line of progress of a pull, as the engine said it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub progress: Option<Box<Value>>,
    /// Came in the engine's last chunk, which also says that it is done.
    #[serde(default, skip_serializing_if = "is_default")]
    pub last: bool,
    /// Fields of the chunk with no place above, as an Ollama engine said them; those of its message under `message`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra: Option<Box<Map<String, Value>>>,
    /// Tokens that the chunk was made of, where the engine says so while it streams.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: Option<u32>,
    /// Tokens of the prompt, where the engine says so before its end; once in an attempt.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prompt_tokens: Option<u32>,
}

impl Piece {
    /// A piece of plain text.
    pub fn text(content: impl Into<String>) -> Self {
        Self { content: content.into(), ..Self::default() }
    }

    /// Fields with no place of their own, if there are any.
    pub fn extra(fields: Map<String, Value>) -> Option<Box<Map<String, Value>>> {
        (!fields.is_empty()).then(|| Box::new(fields))
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

/// An embedding, each number to the letter as the engine said it.
pub type Vector = Vec<Number>;

/// How a whole answer ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub reason: Reason,
    /// Tokens of the prompt, by the engine's count. It counts the text so far of a continued answer among them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prompt_tokens: Option<u64>,
    /// Nobody has counted those: they are an estimate.
    #[serde(default, skip_serializing_if = "is_default")]
    pub estimated: bool,
    /// How many of those are the text so far, where the agent had them counted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub so_far_tokens: Option<u64>,
    /// How many of the prompt's tokens the engine had in its cache, where it says so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cached_tokens: Option<u64>,
    /// Tokens made in this attempt, by the engine's count.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub timings: Timings,
    /// The answer to [`Request::Embed`](super::Request::Embed): one for each text, in their order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub vectors: Option<Vec<Vector>>,
    /// The answer to [`Request::Show`](super::Request::Show): the engine's description of a model.
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
