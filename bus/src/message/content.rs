//! What a message of a conversation holds: parts in their order, in words that fit every dialect.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::frame::ToolCall;
use super::skip::is_default;

/// Fields of one dialect that no neutral word fits, by the dialect's name: a node with that API gets them as they are, and
/// no other.
pub type Foreign = BTreeMap<String, Map<String, Value>>;

/// Ollama's name in [`Foreign`].
pub const OLLAMA: &str = "ollama";
/// OpenAI's.
pub const OPENAI: &str = "openai";

/// One message of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "MessageJson")]
pub struct Message {
    pub role: String,
    /// In the order in which it was said. A single text is a plain string in the JSON.
    #[serde(skip_serializing_if = "is_default", serialize_with = "write_parts")]
    pub content: Vec<Part>,
    #[serde(skip_serializing_if = "is_default")]
    pub foreign: Foreign,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    Text {
        text: String,
    },
    /// Base64, without a data URL's head.
    Image {
        data: String,
    },
    Thinking {
        #[serde(default)]
        text: String,
        /// By which the one who made it knows it again; it must come back unchanged.
        #[serde(default, skip_serializing_if = "is_default")]
        signature: String,
    },
    ToolCall(ToolCall),
    ToolResult {
        /// The call that it answers; empty from dialects that go by the order.
        #[serde(default, skip_serializing_if = "is_default")]
        id: String,
        /// The function; empty where the client does not say.
        #[serde(default, skip_serializing_if = "is_default")]
        name: String,
        /// Texts and images.
        #[serde(default, skip_serializing_if = "is_default")]
        content: Vec<Part>,
    },
}

/// A message in the form of dialects whose messages hold one text, and whose tool results are messages of their own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Flat<'a> {
    pub role: Cow<'a, str>,
    /// Several texts are parted by a line break.
    pub content: Cow<'a, str>,
    pub thinking: Cow<'a, str>,
    pub images: Vec<Cow<'a, str>>,
    pub tool_calls: Vec<Cow<'a, ToolCall>>,
    /// Of a tool's result: the function, and the call.
    pub tool_name: Cow<'a, str>,
    pub tool_call_id: Cow<'a, str>,
    pub foreign: Cow<'a, Foreign>,
}

impl Part {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

impl Message {
    /// A message that is a text.
    pub fn said(role: impl Into<String>, text: impl Into<String>) -> Self {
        Self { role: role.into(), content: vec![Part::text(text)], ..Self::default() }
    }

    /// The message as one or more flat ones: each of several tool results is one, before what else is said. A user's
    /// message that is nothing but one result becomes a tool's.
    pub fn flat(&self) -> Vec<Flat<'_>> {
        let mut own = Flat { role: self.role.as_str().into(), ..Flat::default() };
        own.foreign = Cow::Borrowed(&self.foreign);
        own.add(&self.content);
        let mut results = self.content.iter().filter_map(Flat::of_result);
        let Some(mut first) = results.next() else { return vec![own] };
        let mut more: Vec<Flat<'_>> = results.collect();
        if more.is_empty() && own.content.is_empty() && own.images.is_empty() {
            let role = if own.role == "user" { first.role } else { own.role };
            (first.role, first.foreign) = (role, own.foreign);
            (first.thinking, first.tool_calls) = (own.thinking, own.tool_calls);
            return vec![first];
        }
        more.insert(0, first);
        if !own.is_empty() {
            more.push(own);
        }
        more
    }

    /// All that is said, without thoughts and tools' results.
    pub fn text(&self) -> Cow<'_, str> {
        let texts = self.content.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            _ => None,
        });
        joined(texts)
    }

    /// All that is thought.
    pub fn thinking(&self) -> Cow<'_, str> {
        let thoughts = self.content.iter().filter_map(|part| match part {
            Part::Thinking { text, .. } => Some(text.as_str()),
            _ => None,
        });
        joined(thoughts)
    }

    /// Its images, those of tools' results included.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let inner = self.content.iter().flat_map(|part| match part {
            Part::ToolResult { content, .. } => content.as_slice(),
            part => std::slice::from_ref(part),
        });
        inner.filter_map(|part| match part {
            Part::Image { data } => Some(data.as_str()),
            _ => None,
        })
    }

    /// The tools that are called.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.content.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }

    /// Goes on with the last text, or begins one.
    pub fn push_text(&mut self, more: &str) {
        let last = self.content.iter_mut().rev().find_map(|part| match part {
            Part::Text { text } => Some(text),
            _ => None,
        });
        match last {
            Some(text) => text.push_str(more),
            None if more.is_empty() => {}
            None => self.content.push(Part::text(more)),
        }
    }

    /// Goes on with the last thought, or begins one.
    pub fn push_thinking(&mut self, more: &str) {
        let last = self.content.iter_mut().rev().find_map(|part| match part {
            Part::Thinking { text, .. } => Some(text),
            _ => None,
        });
        match last {
            Some(text) => text.push_str(more),
            None if more.is_empty() => {}
            None => self.content.push(Part::Thinking { text: more.to_owned(), signature: String::new() }),
        }
    }
}

impl<'a> Flat<'a> {
    fn add(&mut self, parts: &'a [Part]) {
        for part in parts {
            match part {
                Part::Text { text } => join(&mut self.content, text),
                Part::Thinking { text, .. } => join(&mut self.thinking, text),
                Part::Image { data } => self.images.push(data.as_str().into()),
                Part::ToolCall(call) => self.tool_calls.push(Cow::Borrowed(call)),
                Part::ToolResult { .. } => {}
            }
        }
    }

    fn of_result(part: &'a Part) -> Option<Self> {
        let Part::ToolResult { id, name, content } = part else { return None };
        let (tool_call_id, tool_name) = (id.as_str().into(), name.as_str().into());
        let mut flat = Self { role: "tool".into(), tool_call_id, tool_name, ..Self::default() };
        flat.add(content);
        Some(flat)
    }

    fn is_empty(&self) -> bool {
        let texts = self.content.is_empty() && self.thinking.is_empty();
        texts && self.images.is_empty() && self.tool_calls.is_empty()
    }
}

impl From<Flat<'_>> for Message {
    fn from(flat: Flat<'_>) -> Self {
        let is_result = flat.role == "tool" || !flat.tool_name.is_empty() || !flat.tool_call_id.is_empty();
        let text = (!flat.content.is_empty()).then(|| Part::text(flat.content));
        let images = flat.images.into_iter().map(|data| Part::Image { data: data.into_owned() });
        let said: Vec<Part> = text.into_iter().chain(images).collect();
        let mut message =
            Self { role: flat.role.into_owned(), foreign: flat.foreign.into_owned(), ..Self::default() };
        message.push_thinking(&flat.thinking);
        if is_result {
            let (id, name) = (flat.tool_call_id.into_owned(), flat.tool_name.into_owned());
            message.content.push(Part::ToolResult { id, name, content: said });
        } else {
            message.content.extend(said);
        }
        message.content.extend(flat.tool_calls.into_iter().map(|call| Part::ToolCall(call.into_owned())));
        message
    }
}

fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> Cow<'a, str> {
    let mut all = Cow::default();
    texts.for_each(|text| join(&mut all, text));
    all
}

fn join<'a>(all: &mut Cow<'a, str>, more: &'a str) {
    if all.is_empty() {
        *all = more.into();
    } else {
        let all = all.to_mut();
        all.push('\n');
        all.push_str(more);
    }
}

/// Almost every message is one text: it stays one in the JSON.
fn write_parts<S: Serializer>(parts: &[Part], to: S) -> Result<S::Ok, S::Error> {
    match parts {
        [Part::Text { text }] => to.serialize_str(text),
        parts => parts.serialize(to),
    }
}

/// What is read: the message, or the flat one of an older edge.
#[derive(Deserialize)]
struct MessageJson {
    #[serde(default)]
    role: String,
    #[serde(default, deserialize_with = "read_parts")]
    content: Vec<Part>,
    #[serde(default)]
    foreign: Foreign,
    #[serde(default)]
    thinking: String,
    #[serde(default)]
    images: Vec<String>,
    #[serde(default)]
    tool_calls: Vec<ToolCall>,
    #[serde(default)]
    tool_name: String,
    #[serde(default)]
    tool_call_id: String,
    #[serde(default)]
    extra: Map<String, Value>,
}

impl From<MessageJson> for Message {
    fn from(mut json: MessageJson) -> Self {
        if !json.extra.is_empty() {
            json.foreign.insert(OLLAMA.to_owned(), json.extra);
        }
        let read = Self { role: json.role, content: json.content, foreign: json.foreign };
        let tools =
            !json.tool_calls.is_empty() || !json.tool_name.is_empty() || !json.tool_call_id.is_empty();
        let parts = read.content.iter().any(|part| !matches!(part, Part::Text { .. }));
        let is_old = tools || !json.thinking.is_empty() || !json.images.is_empty() || read.role == "tool";
        if parts || !is_old {
            return read;
        }
        Flat {
            content: read.text(),
            role: read.role.as_str().into(),
            thinking: json.thinking.into(),
            images: json.images.into_iter().map(Cow::from).collect(),
            tool_calls: json.tool_calls.into_iter().map(Cow::Owned).collect(),
            tool_name: json.tool_name.into(),
            tool_call_id: json.tool_call_id.into(),
            foreign: Cow::Borrowed(&read.foreign),
        }
        .into()
    }
}

fn read_parts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Part>, D::Error> {
    struct Parts;
    impl<'de> Visitor<'de> for Parts {
        type Value = Vec<Part>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a text or a list of parts")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(if text.is_empty() { Vec::new() } else { vec![Part::text(text)] })
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut parts = Vec::new();
            while let Some(part) = list.next_element()? {
                parts.push(part);
            }
            Ok(parts)
        }
    }
    from.deserialize_any(Parts)
}

#[cfg(test)]
mod tests;
