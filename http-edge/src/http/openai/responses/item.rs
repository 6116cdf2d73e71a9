//! Items of a conversation, as the Responses API has them, and the neutral messages that they make up. An item is one
//! thing that was said, thought, called or returned; a neutral message holds all that was said in one turn.

use std::collections::HashMap;

use echo_bus::message::{Message, Part, ToolCall, size};
use serde_json::{Value, json};

use super::id::ResponseId;
use crate::http::error::ApiError;
use crate::http::fields::{Fields, wrong};
use crate::http::image;
use crate::http::reminder::reminder;

type Read<T> = Result<T, ApiError>;

/// One item.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Texts and images.
    Message {
        role: String,
        content: Vec<Part>,
    },
    Reasoning {
        text: String,
    },
    Call(ToolCall),
    Output {
        call: String,
        content: Vec<Part>,
    },
    /// The id of an item of an earlier answer.
    Reference(String),
}

/// All items of `input`, which is a text or a list.
///
/// # Errors
/// 400 that names the place of what cannot be understood.
pub fn all(input: Value) -> Read<Vec<Item>> {
    match input {
        Value::String(text) if text.is_empty() => Err(wrong("input", "is empty; say something")),
        Value::String(text) => {
            Ok(vec![Item::Message { role: "user".to_owned(), content: vec![Part::text(text)] }])
        }
        Value::Array(list) => {
            list.into_iter().enumerate().map(|(at, value)| item(&format!("input[{at}]"), value)).collect()
        }
        _ => Err(wrong("input", "expected a text or a list of items")),
    }
}

fn item(place: &str, value: Value) -> Read<Item> {
    let mut fields = Fields::within(place, value)?;
    let kind = fields.text("type")?;
    match kind.as_deref() {
        Some("message") => message(fields),
        None if fields.peek("role").is_some() => message(fields),
        Some("reasoning") => Ok(Item::Reasoning { text: thought(&mut fields)? }),
        Some("function_call") => Ok(Item::Call(call(&mut fields)?)),
        Some("function_call_output") => {
            let call = fields.required_text("call_id")?;
            Ok(Item::Output { call, content: content(&mut fields, "output")? })
        }
        Some("item_reference") | None if fields.peek("id").is_some() => {
            Ok(Item::Reference(fields.required_text("id")?))
        }
        _ => Err(fields.wrong(
            "type",
            "message, reasoning, function_call, function_call_output or item_reference; tools that run at the server are not there",
        )),
    }
}

fn message(mut fields: Fields) -> Read<Item> {
    let role = fields.text("role")?.unwrap_or_default();
    let role = match role.as_str() {
        // The newer word for the same; templates know the older one.
        "developer" => "system".to_owned(),
        "system" | "user" | "assistant" => role,
        _ => return Err(fields.wrong("role", "system, developer, user or assistant")),
    };
    Ok(Item::Message { role, content: content(&mut fields, "content")? })
}

/// A text, or a list of texts and pictures.
fn content(fields: &mut Fields, name: &str) -> Read<Vec<Part>> {
    match fields.take(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(parts)) => {
            let place = fields.place(name);
            parts.into_iter().enumerate().map(|(at, value)| part(&format!("{place}[{at}]"), value)).collect()
        }
        Some(_) => Err(fields.wrong(name, "a text or a list of parts")),
    }
}

fn part(place: &str, value: Value) -> Read<Part> {
    let mut part = Fields::within(place, value)?;
    let kind = part.text("type")?.unwrap_or_default();
    match kind.as_str() {
        "input_text" | "output_text" | "text" => Ok(Part::text(part.text("text")?.unwrap_or_default())),
        "refusal" => Ok(Part::text(part.text("refusal")?.unwrap_or_default())),
        "input_image" if part.take("file_id").is_some() => {
            Err(wrong(&part.place("file_id"), "no files are kept here; send the picture as image_url"))
        }
        "input_image" => {
            let url = part.text("image_url")?.unwrap_or_default();
            Ok(Part::Image { data: image::of_url(&part.place("image_url"), &url)? })
        }
        _ => Err(part.wrong("type", "input_text, output_text or input_image")),
    }
}

/// What was thought: the summary, where the thought itself is not there.
fn thought(fields: &mut Fields) -> Read<String> {
    let mut texts = Vec::new();
    for name in ["content", "summary"] {
        for (at, value) in fields.list(name)?.into_iter().enumerate() {
            let mut part = Fields::within(fields.place(&format!("{name}[{at}]")), value)?;
            texts.extend(part.text("text")?);
        }
        if !texts.is_empty() {
            break;
        }
    }
    Ok(texts.join("\n"))
}

fn call(fields: &mut Fields) -> Read<ToolCall> {
    // What models write where a function takes nothing.
    if fields.peek("arguments").is_some_and(|said| said == "null") {
        fields.take("arguments");
    }
    Ok(ToolCall {
        id: fields.text("call_id")?.unwrap_or_default(),
        name: fields.required_text("name")?,
        arguments: fields.arguments()?,
        ..ToolCall::default()
    })
}

/// The messages of a conversation. What comes first from the system is one message, since templates of models that take
/// several are rare; what the assistant says, thinks and calls in one turn is one, too.
pub fn messages(items: Vec<Item>) -> Vec<Message> {
    let mut talk = Conversation::default();
    let mut names: HashMap<String, String> = HashMap::new();
    for item in items {
        match item {
            Item::Message { role, content } if role == "assistant" => talk.said(content),
            Item::Message { role, content } => talk.told(role, content),
            Item::Reasoning { text } if text.is_empty() => {}
            Item::Reasoning { text } => talk.said(vec![Part::Thinking { text, signature: String::new() }]),
            Item::Call(call) => {
                names.insert(call.id.clone(), call.name.clone());
                talk.said(vec![Part::ToolCall(call)]);
            }
            Item::Output { call: id, content } => {
                let name = names.get(&id).cloned().unwrap_or_default();
                let content = vec![Part::ToolResult { id, name, content }];
                talk.all.push(Message { role: "tool".to_owned(), content, ..Message::default() });
            }
            Item::Reference(_) => {}
        }
    }
    talk.all
}

/// Messages, and of the last one what decides whether the assistant goes on in it. That is counted along: to look through
/// a message for each of its parts would take a body of many parts minutes.
#[derive(Default)]
struct Conversation {
    all: Vec<Message>,
    /// Of the assistant's last turn.
    calls: u32,
    has_text: bool,
}

impl Conversation {
    /// Somebody else says something. What the system says first is one message, and what it says later is told with
    /// what the user says.
    fn told(&mut self, role: String, content: Vec<Part>) {
        let begins = self.all.len() < 2 && self.all.first().is_none_or(|first| first.role == "system");
        match self.all.last_mut() {
            Some(system) if begins && role == "system" => system.content.extend(content),
            Some(_) if role == "system" => {
                let (role, content) = ("user".to_owned(), reminder(content));
                self.all.push(Message { role, content, ..Message::default() });
            }
            _ => self.all.push(Message { role, content, ..Message::default() }),
        }
    }

    /// The assistant goes on, or begins a turn: after a text that nothing was called in.
    fn said(&mut self, mut content: Vec<Part>) {
        let calls = matches!(content.as_slice(), [Part::ToolCall(_)]);
        let goes_on = calls || self.calls > 0 || !self.has_text;
        if !goes_on || self.all.last().is_none_or(|last| last.role != "assistant") {
            self.all.push(Message { role: "assistant".to_owned(), ..Message::default() });
            (self.calls, self.has_text) = (0, false);
        }
        if let [Part::ToolCall(call)] = content.as_mut_slice() {
            call.index = self.calls;
            self.calls = self.calls.saturating_add(1);
        }
        self.has_text |= content.iter().any(|part| matches!(part, Part::Text { text } if !text.is_empty()));
        if let Some(last) = self.all.last_mut() {
            last.content.extend(content);
        }
    }
}

/// The other way round.
pub fn items(messages: &[Message]) -> Vec<Item> {
    let mut items = Vec::new();
    for message in messages {
        // Texts and images that follow each other are one item.
        let mut goes_on = false;
        for part in &message.content {
            let was_open = std::mem::replace(&mut goes_on, false);
            match part.clone() {
                Part::Thinking { text, .. } => items.push(Item::Reasoning { text }),
                Part::ToolCall(call) => items.push(Item::Call(ToolCall { index: 0, ..call })),
                Part::ToolResult { id, content, .. } => items.push(Item::Output { call: id, content }),
                part @ (Part::Text { .. } | Part::Image { .. }) => {
                    goes_on = true;
                    match items.last_mut().filter(|_| was_open) {
                        Some(Item::Message { content, .. }) => content.push(part),
                        _ => items.push(Item::Message { role: message.role.clone(), content: vec![part] }),
                    }
                }
            }
        }
    }
    items
}

impl Item {
    /// The id of an item of an answer, or with `i` before its number of what was asked.
    pub fn id(&self, of: ResponseId, number: &str) -> String {
        let kind = match self {
            Self::Message { .. } | Self::Reference(_) => "msg",
            Self::Reasoning { .. } => "rs",
            Self::Call(_) => "fc",
            Self::Output { .. } => "fco",
        };
        of.item(kind, number)
    }

    /// What it takes in a request, about.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Message { content, .. } => size(content),
            Self::Reasoning { text } | Self::Reference(text) => text.len(),
            Self::Call(call) => size(call),
            Self::Output { call, content } => call.len() + size(content),
        }
    }

    /// The item as clients read it.
    pub fn said(&self, id: &str, status: &str) -> Value {
        match self {
            Self::Message { role, content } => {
                let is_answer = role == "assistant";
                let content: Vec<Value> = content.iter().map(|part| said_part(part, is_answer)).collect();
                json!({"id": id, "type": "message", "status": status, "role": role, "content": content})
            }
            Self::Reasoning { text } => {
                json!({"id": id, "type": "reasoning", "summary": summary(text), "status": status})
            }
            Self::Call(call) => {
                json!({"id": id, "type": "function_call", "status": status, "call_id": call.id,
                "name": call.name, "arguments": arguments(call)})
            }
            Self::Output { call, content } => {
                let output: Value = match content.as_slice() {
                    [Part::Text { text }] => text.as_str().into(),
                    parts => parts.iter().map(|part| said_part(part, false)).collect(),
                };
                json!({"id": id, "type": "function_call_output", "status": status, "call_id": call, "output": output})
            }
            Self::Reference(of) => json!({"id": of, "type": "item_reference"}),
        }
    }
}

fn summary(text: &str) -> Value {
    if text.is_empty() { json!([]) } else { json!([{"type": "summary_text", "text": text}]) }
}

fn said_part(part: &Part, is_answer: bool) -> Value {
    match part {
        Part::Text { text } if is_answer => text_part(text),
        Part::Text { text } => json!({"type": "input_text", "text": text}),
        Part::Image { data } => {
            // Readers go by the bytes; the head has to name some kind.
            json!({"type": "input_image", "detail": "auto", "image_url": format!("data:;base64,{data}")})
        }
        Part::Thinking { .. } | Part::ToolCall(_) | Part::ToolResult { .. } => Value::Null,
    }
}

/// A text of an answer.
pub fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

/// Arguments as the text that clients read.
pub fn arguments(call: &ToolCall) -> String {
    match &call.arguments {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
