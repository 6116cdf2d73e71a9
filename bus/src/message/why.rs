//! Why a node: what was expected there and on the next best nodes, and what came.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::skip::is_default;
use crate::id::NodeId;

/// Other nodes that are named; more are left out, whoever says them.
pub const NAMED: usize = 3;
/// The longest reason, in bytes; the rest of a longer one is cut off.
pub const LONGEST: usize = 160;

/// Why an attempt is where it is. The orchestrator says it in the [`Task`](super::Task) for the agent, the agent says it
/// back in its first frame, and the edge adds what it has measured. It holds no text of the request.
///
/// All of it is about one attempt, the last one: an answer that was continued on another node says nothing here of the
/// nodes that had it before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    pub node: NodeId,
    /// What was expected: `wait` when the attempt came into the queue (0 if it found a slot at once), the rest when it
    /// was placed. Empty where nothing was measured that an expectation could be made of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expected_ms: Times,
    /// What came; set by the edge at the end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub measured_ms: Times,
    /// The next best nodes when it was placed, the best of them first.
    #[serde(default, deserialize_with = "a_few", skip_serializing_if = "Vec::is_empty")]
    pub instead_of: Vec<Other>,
}

/// Where the time of an attempt goes, in milliseconds. The parts follow each other; what is unknown is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// In the queue, until a node has accepted it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wait: Option<u64>,
    /// Until the model is in memory. Absent from what was measured if the engine does not tell; then it is in `prompt`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub load: Option<u64>,
    /// From there to the first piece of the answer, other prompts on the node included.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prompt: Option<u64>,
    /// From the first piece to the end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub answer: Option<u64>,
    /// All of it, from when the attempt was submitted to its end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub whole: Option<u64>,
}

/// A node that the attempt did not go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    pub node: NodeId,
    /// When it was expected to be done there, counted from when it was placed. Absent where it is not known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expected_ms: Option<u64>,
    /// What speaks most against it, in words.
    #[serde(default, deserialize_with = "a_little", skip_serializing_if = "is_default")]
    pub because: String,
}

impl Why {
    /// A node of which nothing else is known.
    pub fn at(node: NodeId) -> Self {
        Self { node, expected_ms: Times::default(), measured_ms: Times::default(), instead_of: Vec::new() }
    }
}

/// A [`Why`] on its way. The agent in the middle passes on the text of it unread, and the orchestrator, which says it in
/// a task and in an event, writes it once.
#[derive(Debug, Clone)]
pub enum Relayed {
    Read(Box<Why>),
    Unread(Box<RawValue>),
}

/// A longer one is not passed on, in bytes.
const MOST: usize = 4 << 10;

impl Relayed {
    /// As text already.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn written(why: &Why) -> serde_json::Result<Self> {
        serde_json::value::to_raw_value(why).map(Self::Unread)
    }

    /// What it says; `None` if that cannot be read.
    pub fn read(self) -> Option<Box<Why>> {
        match self {
            Self::Read(why) => Some(why),
            Self::Unread(text) => serde_json::from_str(text.get()).ok(),
        }
    }

    /// For a field of what is read at once, and not as a part of something else: takes the text as it is.
    pub(super) fn unread<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        let text = Option::<Box<RawValue>>::deserialize(from)?;
        Ok(text.filter(|text| text.get().len() <= MOST).map(Self::Unread))
    }
}

impl From<Why> for Relayed {
    fn from(why: Why) -> Self {
        Self::Read(Box::new(why))
    }
}

impl PartialEq for Relayed {
    fn eq(&self, other: &Self) -> bool {
        self.clone().read() == other.clone().read()
    }
}

impl Eq for Relayed {}

impl Serialize for Relayed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Read(why) => why.serialize(to),
            Self::Unread(text) => text.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Relayed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Why::deserialize(from).map(Self::from)
    }
}

/// The first few of a list of any length, without room for the others.
fn a_few<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Other>, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = Vec<Other>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a list of nodes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut few = Vec::new();
            while few.len() < NAMED {
                let Some(other) = list.next_element()? else { return Ok(few) };
                few.push(other);
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(few)
        }
    }
    from.deserialize_seq(Few)
}

fn a_little<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let mut text = String::deserialize(from)?;
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default();
        text.truncate(end);
        text.shrink_to_fit();
    }
    Ok(text)
}
