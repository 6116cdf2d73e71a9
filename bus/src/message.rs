//! What travels on the bus. Payloads are JSON objects; changes are additive, and unknown fields are ignored.

mod answer;
pub mod cache;
mod capability;
mod content;
mod failure;
mod frame;
mod frames;
mod heartbeat;
mod join;
pub mod lengths;
mod load_options;
mod loading;
mod machines;
mod order;
mod paused;
mod payload;
pub mod prefix;
mod pulse;
mod request;
mod settings;
mod skip;
mod status;
mod task;
#[cfg(test)]
mod tests;
mod why;
mod written;

pub use answer::{AnswerPart, AnswerTurn, End, Memo, Portion, ReadAnswer};
pub use cache::{CacheDigest, ModelCache, SlotCache};
pub use capability::Capability;
pub use content::{Flat, Foreign, Message, OLLAMA, OPENAI, Part};
pub use failure::{Code, Failure, Fault, Said, Verdict};
pub use frame::{Accepted, Done, Frame, Piece, Reason, Timings, ToolCall, Vector};
pub use frames::Frames;
pub(crate) use frames::SEVERAL;
pub use heartbeat::{Engine, Heartbeat, Model, Namesake, NodeStatus, Progress, Space, Speed};
pub use join::{Hex, InvalidHex, JoinAnswer, JoinGrant, JoinRequest, JoinWish, Refusal};
pub use load_options::{LoadKey, LoadOptions};
pub use loading::Loading;
pub use machines::{MachinesAnswer, MachinesRequest, NewKey};
pub use order::{Order, Ordered, Wish};
pub use paused::Paused;
pub use payload::{Payload, WrittenAs, size, write};
pub use prefix::{BLOCK, BLOCKS, Prefix, common};
pub use pulse::{Cancel, Disconnect, Held, Missing, Pong, Pulse, PulseAnswer};
pub use request::{Chat, Embed, Generate, Named, Request, ToolChoice};
pub use settings::Settings;
pub use status::{Event, MeshStatus, NodeState, What};
pub use task::{Dispatch, Excluded, SoFar, Submission, Task};
pub use why::{Other, Relayed, Times, Why};
pub use written::Written;

use serde::{Deserialize, Serialize};

macro_rules! payloads {
    ($($type:ty),+ $(,)?) => { $(impl Payload for $type {})+ };
}

payloads!(
    CacheDigest,
    Cancel,
    Disconnect,
    Dispatch,
    Empty,
    Event,
    Heartbeat,
    Namesake,
    JoinAnswer,
    JoinRequest,
    MachinesAnswer,
    MachinesRequest,
    MeshStatus,
    Order,
    Ordered,
    Pong,
    Pulse,
    PulseAnswer,
    Submission
);

/// Nothing to say; an empty payload is read as this too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Milliseconds since the Unix epoch on this machine's clock: to be shown to people, never to be compared.
pub fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
