//! What a model's template shows of itself in trial renderings: whether it continues a trailing assistant message, how
//! thoughts begin and end in it, and how it writes a tool call.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use echo_bus::message::{Chat, Message, Part, SoFar, ToolCall};
use serde_json::{Map, Value, json};

/// Stands before the text in a trial rendering, so that a template that merely ends alike is not taken for one that
/// ends with the text.
const MARK: &str = "seam:";
/// Stands where the text begins in a trial rendering that shows where thoughts end.
const TEXT_MARK: &str = "seam:text";
/// The tool of a trial rendering. Some templates want ids of nine letters and digits.
const CALLED: &str = "seam";
const CALL_ID: &str = "seam00000";

/// Around a tool call in the one form that is read here: Hermes', which Qwen and many others write. Both are plain text
/// to a model, so engines give them out; marks that are control tokens would be left out of a raw completion.
pub const CALL_OPENS: &str = "<tool_call>";
pub const CALL_CLOSES: &str = "</tool_call>";

/// Models whose templates are remembered; more are asked again.
const MOST: usize = 4096;

/// What a model's template does with a trailing assistant message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TemplateBehaviour {
    /// The rendered prompt ends with it, to the letter.
    Trailing,
    /// It does not: the prompt has to be rendered without it and continued raw.
    Raw,
    /// The engine does not show its prompts. Then the trailing message is sent as it is, white space included, and
    /// the engine is trusted with it.
    #[default]
    Unknown,
}

/// All that was looked for before the [decision](super::decision::decide). What was not looked for is as good as hidden.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    pub behaviour: TemplateBehaviour,
    pub thoughts: Thoughts,
    /// Tool calls are in the form that is read here.
    pub calls: bool,
}

/// How a template begins and ends thoughts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Thoughts {
    /// The engine does not show its prompts.
    #[default]
    Hidden,
    /// It shows them, and no marks in them.
    Unmarked,
    Marked(Marked),
}

/// A prompt in whose answer thoughts have begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// Ends where the thoughts begin.
    pub prompt: String,
    /// What the model writes where they end.
    pub closes: String,
    /// The same with the white space that the template has around it.
    pub between: String,
}

/// Partial answers that templates treat alike. Many trim white space at the end of a message, so a text that
/// ends in it is a kind of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartialKind {
    model: String,
    space_at_end: bool,
    in_thoughts: bool,
}

impl PartialKind {
    pub fn of(model: &str, so_far: &SoFar) -> Self {
        let in_thoughts = so_far.content.is_empty();
        let text = if in_thoughts { &so_far.thinking } else { &so_far.content };
        Self { model: model.to_owned(), space_at_end: text.ends_with(char::is_whitespace), in_thoughts }
    }
}

/// What is known of the templates.
#[derive(Debug, Default)]
pub struct KnownTemplates(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    behaviours: HashMap<PartialKind, TemplateBehaviour>,
    /// Models whose tool calls were looked at.
    calls: HashMap<String, bool>,
}

impl KnownTemplates {
    pub fn behaviour(&self, kind: &PartialKind) -> Option<TemplateBehaviour> {
        self.lock().behaviours.get(kind).copied()
    }

    pub fn calls(&self, model: &str) -> Option<bool> {
        self.lock().calls.get(model).copied()
    }

    pub fn learn(&self, kind: PartialKind, behaviour: TemplateBehaviour) {
        remember(&mut self.lock().behaviours, kind, behaviour);
    }

    pub fn learn_calls(&self, model: &str, calls: bool) {
        remember(&mut self.lock().calls, model.to_owned(), calls);
    }

    /// The models have changed: so may have their templates.
    pub fn forget(&self) {
        *self.lock() = Known::default();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember<K: Eq + std::hash::Hash, V>(known: &mut HashMap<K, V>, key: K, value: V) {
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(key, value);
}

/// The conversation for a trial rendering, and what the rendered prompt has to end with.
pub fn marked(extended: &Chat) -> (Chat, String) {
    let mut chat = extended.clone();
    let Some(last) = chat.messages.last_mut() else { return (chat, String::new()) };
    let thinks = last.text().is_empty();
    let first = last.content.iter_mut().find_map(|part| match part {
        Part::Text { text } if !thinks => Some(text),
        Part::Thinking { text, .. } if thinks => Some(text),
        _ => None,
    });
    match first {
        Some(text) => text.insert_str(0, MARK),
        None => last.push_thinking(MARK),
    }
    let end = if thinks { last.thinking() } else { last.text() }.into_owned();
    (chat, end)
}

/// The conversation for a trial rendering that shows where thoughts stand: answered with a thought and a text.
pub fn with_thoughts(asked: &Chat) -> Chat {
    let mut chat = asked.clone();
    let mut answer = Message { role: "assistant".to_owned(), ..Message::default() };
    answer.push_thinking(MARK);
    answer.push_text(TEXT_MARK);
    chat.messages.push(answer);
    chat
}

/// Reads that rendering: the prompt ends where the thought stands, and between thought and text is the closing mark.
pub fn thoughts_in(rendered: &str) -> Option<Marked> {
    // From behind, since a user's message may hold the same words.
    let text = rendered.rfind(TEXT_MARK)?;
    let thought = rendered[..text].rfind(MARK)?;
    let between = &rendered[thought + MARK.len()..text];
    let (prompt, closes) = (rendered[..thought].to_owned(), between.trim().to_owned());
    is_mark(&closes).then(|| Marked { prompt, closes, between: between.to_owned() })
}

/// The same of a template that leaves thoughts out of a conversation: from the beginning of an answer that thinks, and
/// that of one that does not, which some templates give empty thoughts.
pub fn thoughts_between(thinking: &str, calm: &str) -> Option<Marked> {
    let marked = |prompt: String, name: &str| {
        let closes = format!("</{name}>");
        // Other tags may begin an answer too.
        let is_thought = ["think", "thought", "reason"].iter().any(|word| name.contains(word));
        let between = format!("\n{closes}\n\n");
        (is_thought && is_mark(&closes)).then_some(Marked { prompt, closes, between })
    };
    let opened = thinking.trim_end().strip_suffix('>').and_then(|tag| tag.rsplit_once('<'));
    opened.and_then(|(_, name)| marked(thinking.to_owned(), name)).or_else(|| {
        let (name, rest) = calm.strip_prefix(thinking)?.trim().strip_prefix('<')?.split_once('>')?;
        marked(format!("{thinking}<{name}>\n"), name).filter(|marked| rest.trim() == marked.closes)
    })
}

/// A mark as `</think>`. One with a bar, as `<|end|>`, is a control token: engines leave it out of what they give out, so
/// nobody would see where the thoughts end.
fn is_mark(closes: &str) -> bool {
    let name = closes.strip_prefix("</").and_then(|rest| rest.strip_suffix('>'));
    name.is_some_and(|name| {
        !name.is_empty() && name.chars().all(|it| it.is_alphanumeric() || matches!(it, '_' | ':' | '-'))
    })
}

/// A conversation for a trial rendering that shows how a tool is called.
pub fn with_call(chat: &Chat) -> Chat {
    let call = ToolCall {
        id: CALL_ID.to_owned(),
        name: CALLED.to_owned(),
        arguments: arguments(),
        ..ToolCall::default()
    };
    let called =
        Message { role: "assistant".to_owned(), content: vec![Part::ToolCall(call)], ..Message::default() };
    let result =
        Part::ToolResult { id: CALL_ID.to_owned(), name: CALLED.to_owned(), content: vec![Part::text("1")] };
    let answered = Message { role: "tool".to_owned(), content: vec![result], ..Message::default() };
    Chat { messages: vec![Message::said("user", "hi"), called, answered], ..chat.clone() }
}

/// Whether that rendering has the call in the form that is read here.
pub fn has_call(rendered: &str) -> bool {
    let said = rendered.split(CALL_OPENS).skip(1).filter_map(|rest| rest.split_once(CALL_CLOSES));
    said.filter_map(|(call, _)| call_in(call))
        .any(|call| call.name == CALLED && call.arguments == arguments())
}

fn arguments() -> Value {
    json!({"seam": [1]})
}

/// A call between its marks; `None` where it is none.
pub fn call_in(text: &str) -> Option<ToolCall> {
    let mut call: Map<String, Value> = serde_json::from_str(text.trim()).ok()?;
    let Some(Value::String(name)) = call.remove("name") else { return None };
    let arguments = super::calls::arguments(call.remove("arguments")?);
    arguments.is_object().then(|| ToolCall { name, arguments, ..ToolCall::default() })
}

#[cfg(test)]
mod tests;
