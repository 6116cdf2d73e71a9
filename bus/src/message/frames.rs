//! What comes by the inboxes of an edge: frames, one in a message or several.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::frame::Frame;
use super::payload::Payload;

/// How a message with several frames begins, as this version writes it.
pub(crate) const SEVERAL: &[u8] = br#"{"frame":"several","of":["#;

/// One message. What an agent has to say to one edge in one turn of its loop travels together, whichever tasks it is of.
#[derive(Debug, Clone, PartialEq)]
pub enum Frames {
    /// A frame of the attempt whose inbox it came by.
    One(Frame),
    /// Frames of this and other attempts, each with the key of its inbox (the last word of its name):
    /// `{"frame":"several","of":[["KEY",{…}],…]}`. Only for tasks with [`Task::takes_several`](super::Task::takes_several).
    Several(Vec<(String, Frame)>),
}

impl Payload for Frames {
    /// Of several, one that cannot be read costs the others nothing: it is missed by its number, and asked for again.
    fn read(payload: &[u8]) -> serde_json::Result<Self> {
        if !payload.starts_with(SEVERAL) {
            return Ok(Self::One(Frame::read(payload)?));
        }
        let Several { of } = serde_json::from_slice(payload)?;
        let read = |(key, raw): (String, &RawValue)| {
            (key, Frame::read(raw.get().as_bytes()).unwrap_or(Frame::Unknown))
        };
        Ok(Self::Several(of.into_iter().map(read).collect()))
    }
}

#[derive(Deserialize)]
struct Several<'a> {
    #[serde(borrow)]
    of: Vec<(String, &'a RawValue)>,
}

impl Serialize for Frames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Several<'a> {
            frame: &'static str,
            of: &'a [(String, Frame)],
        }
        match self {
            Self::One(frame) => frame.serialize(serializer),
            Self::Several(of) => Several { frame: "several", of }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Frames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::read(raw.get().as_bytes()).map_err(D::Error::custom)
    }
}
