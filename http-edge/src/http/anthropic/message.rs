//! The messages of a conversation, in Anthropic's words.

use std::collections::HashMap;

use echo_bus::message::{Message, Part, ToolCall};
use serde_json::Value;

use crate::http::error::ApiError;
use crate::http::fields::{Fields, wrong};
use crate::http::image;

/// How Claude Code begins a line of its instructions that is for Anthropic's accounts and no model. It changes from
/// request to request, and at the very beginning of a prompt it would spoil every engine's cache.
const FOR_ACCOUNTS: &str = "x-anthropic-billing-header:";

type Read<T> = Result<T, ApiError>;

/// The instructions and all messages of a request.
///
/// # Errors
/// 400 that names the place of what cannot be understood.
pub fn conversation(fields: &mut Fields) -> Read<Vec<Message>> {
    let mut conversation = Conversation::default();
    let mut instructions = conversation.content(fields, "system")?;
    instructions.retain(|part| !matches!(part, Part::Text { text } if text.starts_with(FOR_ACCOUNTS)));
    if !instructions.is_empty() {
        conversation.push("system", instructions);
    }
    let list = fields.list("messages")?;
    if list.is_empty() {
        return Err(wrong("messages", "is empty; say something"));
    }
    for (place, value) in list.into_iter().enumerate() {
        conversation.message(Fields::within(format!("messages[{place}]"), value)?)?;
    }
    Ok(conversation.messages)
}

#[derive(Default)]
struct Conversation {
    messages: Vec<Message>,
    /// The functions of the calls so far, by the calls' ids: a result names only the call.
    called: HashMap<String, String>,
}

impl Conversation {
    fn message(&mut self, mut fields: Fields) -> Read<()> {
        let role = fields.text("role")?.unwrap_or_default();
        let parts = self.content(&mut fields, "content")?;
        match role.as_str() {
            "user" | "assistant" => self.push(&role, parts),
            "system" if self.messages.iter().all(|message| message.role == "system") => {
                self.push("system", parts);
            }
            "system" => self.push("user", reminder(parts)),
            _ => return Err(fields.wrong("role", "user, assistant or system")),
        }
        Ok(())
    }

    /// Messages of one role that follow each other are one, as this API promises; some templates insist on turns.
    fn push(&mut self, role: &str, parts: Vec<Part>) {
        match self.messages.last_mut() {
            Some(last) if last.role == role => last.content.extend(parts),
            _ => self.messages.push(Message { role: role.to_owned(), content: parts, ..Message::default() }),
        }
    }

    /// A text, or a list of blocks.
    fn content(&mut self, fields: &mut Fields, name: &str) -> Read<Vec<Part>> {
        match fields.take(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(said(text).into_iter().collect()),
            Some(Value::Array(blocks)) => {
                let mut parts = Vec::new();
                for (number, block) in blocks.into_iter().enumerate() {
                    let block = Fields::within(fields.place(&format!("{name}[{number}]")), block)?;
                    let calls = parts.iter().filter(|part| matches!(part, Part::ToolCall(_))).count();
                    parts.extend(self.block(block, calls)?);
                }
                Ok(parts)
            }
            Some(_) => Err(fields.wrong(name, "a text or a list of blocks")),
        }
    }

    fn block(&mut self, mut block: Fields, calls: usize) -> Read<Option<Part>> {
        let kind = block.text("type")?.unwrap_or_default();
        match kind.as_str() {
            "text" | "image" | "document" => shown(&kind, &mut block),
            "thinking" => {
                let text = block.text("thinking")?.unwrap_or_default();
                Ok(Some(Part::Thinking { text, signature: block.text("signature")?.unwrap_or_default() }))
            }
            // Nobody but its maker can read it.
            "redacted_thinking" => Ok(None),
            "tool_use" => self.call(block, calls).map(Some),
            "tool_result" => self.result(block).map(Some),
            _ => Err(block.wrong("type", "text, image, document, thinking, tool_use or tool_result")),
        }
    }

    fn call(&mut self, mut block: Fields, calls: usize) -> Read<Part> {
        let (id, name) = (block.required_text("id")?, block.required_text("name")?);
        self.called.insert(id.clone(), name.clone());
        let index = u32::try_from(calls).unwrap_or_default();
        let arguments = block.object("input")?.into();
        Ok(Part::ToolCall(ToolCall { id, index, name, arguments, ..ToolCall::default() }))
    }

    fn result(&self, mut block: Fields) -> Read<Part> {
        let id = block.required_text("tool_use_id")?;
        let name = self.called.get(&id).cloned().unwrap_or_default();
        let failed = block.flag("is_error")?.unwrap_or_default();
        let mut content = match block.take("content") {
            Some(Value::Array(list)) => {
                let list = list.into_iter().enumerate();
                let parts =
                    list.map(|(number, value)| inner(&block.place(&format!("content[{number}]")), value));
                parts.filter_map(Result::transpose).collect::<Read<Vec<_>>>()?
            }
            None => Vec::new(),
            Some(Value::String(text)) => said(text).into_iter().collect(),
            Some(_) => return Err(block.wrong("content", "a text or a list of blocks")),
        };
        if failed && !says_error(&content) {
            content.insert(0, Part::text("Error:"));
        }
        Ok(Part::ToolResult { id, name, content })
    }
}

/// What stands in the middle of a conversation as an instruction. Many templates refuse one that is not the first, and put
/// at the beginning it would spoil the engine's cache: it is told with what the user says, marked as Claude Code does.
fn reminder(parts: Vec<Part>) -> Vec<Part> {
    let marked = |part| match part {
        Part::Text { text } => Part::text(format!("<system-reminder>\n{text}\n</system-reminder>")),
        other => other,
    };
    parts.into_iter().map(marked).collect()
}

/// No template has a word for a result that is an error; most tools say it themselves.
fn says_error(content: &[Part]) -> bool {
    content
        .iter()
        .any(|part| matches!(part, Part::Text { text } if text.to_ascii_lowercase().contains("error")))
}

/// A block within a tool's result. What is no text and no picture is told as it is: refused, it would end the conversation.
fn inner(place: &str, value: Value) -> Read<Option<Part>> {
    let kind = value["type"].as_str().unwrap_or_default().to_owned();
    match kind.as_str() {
        "text" | "image" => shown(&kind, &mut Fields::within(place, value)?),
        "document" if value["source"]["type"] == "text" => shown(&kind, &mut Fields::within(place, value)?),
        _ => Ok(said(value.to_string())),
    }
}

fn shown(kind: &str, block: &mut Fields) -> Read<Option<Part>> {
    if kind == "text" {
        return Ok(said(block.text("text")?.unwrap_or_default()));
    }
    let source = block.take("source").unwrap_or_default();
    let mut source = Fields::within(block.place("source"), source)?;
    let form = source.text("type")?.unwrap_or_default();
    match (kind, form.as_str()) {
        ("image", "base64") => {
            let data = source.text("data")?.unwrap_or_default();
            Ok(Some(Part::Image { data: image::plain(&source.place("data"), &data)? }))
        }
        ("image", "url") => Err(wrong(
            &source.place("url"),
            "send the picture itself, as base64; it is not fetched from elsewhere",
        )),
        ("document", "text") => Ok(said(source.text("data")?.unwrap_or_default())),
        ("image", _) => Err(source.wrong("type", "base64")),
        _ => Err(source.wrong("type", "text: no other documents can be read here")),
    }
}

/// A text, unless it is empty.
fn said(text: String) -> Option<Part> {
    (!text.is_empty()).then(|| Part::text(text))
}
