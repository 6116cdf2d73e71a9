//! Failover in mid-answer: how an engine continues what another has begun, as far as all dialects share it. The text so far
//! goes in as a trailing assistant message, where the model's template really continues one; else the raw prompt ends with it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use echo_bus::message::{Chat, Code, Failure, Generate, Message, Part, Settings, SoFar};
use serde_json::Value;

/// Stands before the text in a trial rendering, so that a template that merely ends alike is not taken for one that
/// ends with the text.
const MARK: &str = "seam:";

/// Models whose templates are remembered; more are asked again.
const MOST: usize = 4096;

/// What a model's template does with a trailing assistant message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateBehaviour {
    /// The rendered prompt ends with it, to the letter.
    Trailing,
    /// It does not: the prompt has to be rendered without it and continued raw.
    Raw,
    /// The engine does not show its prompts. Then the trailing message is sent as it is, white space included, and
    /// the engine is trusted with it.
    Unknown,
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
pub struct KnownTemplates(Mutex<HashMap<PartialKind, TemplateBehaviour>>);

impl KnownTemplates {
    pub fn get(&self, kind: &PartialKind) -> Option<TemplateBehaviour> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(kind).copied()
    }

    pub fn learn(&self, kind: PartialKind, behaviour: TemplateBehaviour) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(kind, behaviour);
    }

    /// The models have changed: so may have their templates.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Why a partial answer cannot be continued.
pub fn cannot(why: &str) -> Failure {
    Failure::give_up(Code::CannotContinue, format!("the answer cannot be continued on another node: {why}"))
}

/// Refuses what no engine can honestly continue.
///
/// # Errors
/// When the answer is bound to a format.
pub fn check(settings: &Settings) -> Result<(), Failure> {
    let bound = settings.format.as_ref().is_some_and(|format| !format.is_null() && format != "");
    if bound { Err(cannot("it has to be valid JSON as a whole")) } else { Ok(()) }
}

/// Whether there is anything to continue.
pub fn is_begun(so_far: &SoFar) -> bool {
    !so_far.content.is_empty() || !so_far.thinking.is_empty()
}

/// The conversation with the partial answer at its end: the trailing assistant message grows, or one is added. There
/// are never two of them, which engines join with blank lines or refuse.
pub fn extended(chat: &Chat, so_far: &SoFar) -> Chat {
    let mut chat = chat.clone();
    if chat.messages.last().is_none_or(|last| last.role != "assistant") {
        chat.messages.push(Message { role: "assistant".to_owned(), ..Message::default() });
    }
    if let Some(last) = chat.messages.last_mut() {
        last.push_thinking(&so_far.thinking);
        last.push_text(&so_far.content);
    }
    chat.settings = shortened(&chat.settings, so_far);
    chat
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

/// The conversation without the answer, and all that the assistant has said of it.
pub fn parted(extended: &Chat) -> (Chat, String) {
    let mut chat = extended.clone();
    let last = chat.messages.pop().unwrap_or_default();
    let text = last.text().into_owned();
    (chat, text)
}

/// A plain completion as a conversation.
pub fn as_chat(generate: &Generate) -> Chat {
    let mut messages = Vec::new();
    if !generate.system.is_empty() {
        messages.push(Message::said("system", &*generate.system));
    }
    let mut asked = Message::said("user", &*generate.prompt);
    asked.content.extend(generate.images.iter().map(|data| Part::Image { data: data.clone() }));
    messages.push(asked);
    let (model, settings) = (generate.model.clone(), generate.settings.clone());
    Chat { model, messages, settings, ..Chat::default() }
}

/// The settings with a token limit that counts what was made already; at least one token stays.
pub fn shortened(settings: &Settings, so_far: &SoFar) -> Settings {
    let mut settings = settings.clone();
    let made = i64::try_from(so_far.tokens).unwrap_or(i64::MAX);
    let less = |limit: i64| if limit > 0 { (limit - made).max(1) } else { limit };
    settings.max_tokens = settings.max_tokens.map(less);
    if let Some(Value::Object(options)) = settings.extra.get_mut("options")
        && let Some(limit) = options.get("num_predict").and_then(Value::as_i64)
    {
        options.insert("num_predict".to_owned(), less(limit).into());
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn so_far(content: &str, tokens: u64) -> SoFar {
        SoFar { content: content.into(), tokens, exact: true, ..SoFar::default() }
    }

    fn chat(roles: &[&str]) -> Chat {
        let message = |role: &&str| Message::said(*role, format!("<{role}>"));
        Chat { messages: roles.iter().map(message).collect(), ..Chat::default() }
    }

    #[test]
    fn there_is_never_a_second_assistant_message() {
        let whole = extended(&chat(&["user", "assistant"]), &so_far(" more", 1));
        assert_eq!(whole.messages.len(), 2);
        assert_eq!(whole.messages[1].text(), "<assistant> more");
        let whole = extended(&chat(&["user"]), &so_far("one ", 1));
        assert_eq!((whole.messages.len(), &*whole.messages[1].text()), (2, "one "));
    }

    #[test]
    fn a_token_limit_shrinks_and_keeps_one() {
        for (limit, made, left) in [(10, 4, 6), (10, 10, 1), (10, 99, 1), (-1, 5, -1), (0, 5, 0)] {
            let settings = Settings { max_tokens: Some(limit), ..Settings::default() };
            assert_eq!(shortened(&settings, &so_far("x", made)).max_tokens, Some(left));
        }
        let mut settings = Settings::default();
        settings.extra.insert("options".into(), json!({"num_predict": 10, "num_ctx": 5}));
        let options = &shortened(&settings, &so_far("x", 4)).extra["options"];
        assert_eq!(options, &json!({"num_predict": 6, "num_ctx": 5}));
        assert_eq!(shortened(&Settings::default(), &so_far("x", 4)), Settings::default());
    }

    #[test]
    fn json_answers_are_not_continued() {
        for format in [json!("json"), json!({"type": "object"})] {
            let settings = Settings { format: Some(format), ..Settings::default() };
            assert_eq!(check(&settings).unwrap_err().code, Code::CannotContinue);
        }
        assert!(check(&Settings { format: Some(json!("")), ..Settings::default() }).is_ok());
    }

    #[test]
    fn white_space_at_the_end_is_a_shape_of_its_own() {
        assert_ne!(PartialKind::of("m", &so_far("a", 1)), PartialKind::of("m", &so_far("a ", 1)));
        assert_eq!(PartialKind::of("m", &so_far("a\n", 1)), PartialKind::of("m", &so_far("b ", 1)));
    }

    proptest! {
        #[test]
        fn the_text_goes_on_to_the_letter(before in ".{0,12}", text in ".{1,12}") {
            let mut begun = chat(&["user", "assistant"]);
            begun.messages[1] = Message::said("assistant", before.clone());
            let whole = extended(&begun, &so_far(&text, 1));
            prop_assert_eq!(parted(&whole).1, format!("{before}{text}"));
            prop_assert_eq!(marked(&whole).1, format!("{MARK}{before}{text}"));
        }
    }
}
