//! Failover in mid-answer: how an engine continues what another has begun, as far as all dialects share it. The text so far
//! goes in as a trailing assistant message, where the model's template really continues one; else the raw prompt ends with it.

use echo_bus::message::{Chat, Failure, Generate, Message, Part, Settings, SoFar};
use serde_json::Value;

use super::decision::{self, Doing, Means, Moment, Server};
use super::template::{self, KnownTemplates, Marked, PartialKind, Shown, TemplateBehaviour, Thoughts};
use super::unparsed::Unparsed;

/// What a prompt is rendered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rendering {
    /// A trailing assistant message, as the request that continues it will be rendered.
    Trailing,
    /// An answer whose thoughts are over.
    Text,
    /// A request as it was asked, which may begin with thoughts.
    AsAsked,
}

/// What an engine shows of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    Prompt(String),
    /// It was refused this time. That says nothing of other times.
    Refused,
    /// The engine does not have the question.
    Never,
}

impl Rendered {
    pub fn prompt(self) -> Option<String> {
        if let Self::Prompt(prompt) = self { Some(prompt) } else { None }
    }
}

/// An engine that may show its prompts.
pub trait Renders {
    /// The prompt that the engine would give the model.
    fn render(
        &self,
        chat: &Chat,
        rendering: Rendering,
    ) -> impl Future<Output = Result<Rendered, Failure>> + Send;
}

/// What to ask the engine for, and what the agent has to look for in what comes.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// The conversation with the partial answer at its end.
    Trailing(Chat, Unparsed),
    /// A prompt that ends with the answer so far.
    Raw(Generate, Unparsed),
}

impl Plan {
    /// With a token limit that counts what was made already.
    pub fn shortened(mut self, so_far: &SoFar) -> Self {
        let settings = match &mut self {
            Self::Trailing(chat, _) => &mut chat.settings,
            Self::Raw(generate, _) => &mut generate.settings,
        };
        *settings = shortened(settings, so_far);
        self
    }
}

/// One answer that goes on at one engine.
pub struct Continuation<'a, E> {
    pub server: Server,
    pub engine: &'a E,
    pub templates: &'a KnownTemplates,
    pub model: &'a str,
    pub so_far: &'a SoFar,
}

impl<E: Renders + Sync> Continuation<'_, E> {
    /// How the answer to a conversation goes on; its token limit is still that of the whole.
    ///
    /// # Errors
    /// When it cannot go on honestly, or the engine fails.
    pub async fn plan(&self, chat: &Chat) -> Result<Plan, Failure> {
        let moment = Moment::of_chat(chat, self.so_far);
        let whole = extended(chat, self.so_far);
        let shown = self.look(moment, chat, &whole).await?;
        match decision::decide(self.server, moment, &shown).map_err(|why| moment.cannot(why))? {
            Means::Trailing => Ok(Plan::Trailing(whole, self.watched(&shown))),
            Means::Raw => self.raw(moment, shown, whole).await,
        }
    }

    fn watched(&self, shown: &Shown) -> Unparsed {
        let in_text = !self.so_far.content.is_empty();
        Unparsed { trusted: in_text && shown.behaviour == TemplateBehaviour::Unknown, ..Unparsed::default() }
    }

    /// What has to be known of the template before the decision.
    async fn look(&self, moment: Moment, chat: &Chat, whole: &Chat) -> Result<Shown, Failure> {
        let mut shown = Shown::default();
        let thinks = moment.doing == Doing::Thinking;
        let is_settled = moment.bound || (thinks && moment.own_way);
        if is_settled || matches!(self.server, Server::Vllm | Server::Plain) {
            return Ok(shown);
        }
        if !(thinks && self.server == Server::Ollama) {
            shown.behaviour = self.behaviour(whole).await?;
        }
        if shown.behaviour == TemplateBehaviour::Trailing {
            return Ok(shown);
        }
        let is_raw = shown.behaviour == TemplateBehaviour::Raw;
        if thinks || (is_raw && !self.so_far.thinking.is_empty() && !moment.own_way) {
            shown.thoughts = self.thoughts(chat).await?;
        }
        if moment.tools && (thinks || is_raw) {
            shown.calls = self.calls(chat).await?;
        }
        Ok(shown)
    }

    async fn behaviour(&self, whole: &Chat) -> Result<TemplateBehaviour, Failure> {
        let kind = PartialKind::of(self.model, self.so_far);
        if let Some(known) = self.templates.behaviour(&kind) {
            return Ok(known);
        }
        let (marked, end) = template::marked(whole);
        let behaviour = match self.engine.render(&marked, Rendering::Trailing).await? {
            Rendered::Prompt(rendered) if rendered.ends_with(&end) => TemplateBehaviour::Trailing,
            Rendered::Prompt(_) => TemplateBehaviour::Raw,
            Rendered::Refused => return Ok(TemplateBehaviour::Unknown),
            Rendered::Never => TemplateBehaviour::Unknown,
        };
        self.templates.learn(kind, behaviour);
        Ok(behaviour)
    }

    async fn thoughts(&self, chat: &Chat) -> Result<Thoughts, Failure> {
        let trial = template::with_thoughts(chat);
        let trial = self.engine.render(&trial, Rendering::AsAsked).await?.prompt();
        if let Some(marked) = trial.as_deref().and_then(template::thoughts_in) {
            return Ok(Thoughts::Marked(marked));
        }
        let thinking = self.engine.render(chat, Rendering::AsAsked).await?.prompt();
        let calm = self.engine.render(chat, Rendering::Text).await?.prompt();
        let (Some(thinking), Some(calm)) = (thinking, calm) else { return Ok(Thoughts::Hidden) };
        let marked = template::thoughts_between(&thinking, &calm);
        Ok(marked.map_or(Thoughts::Unmarked, Thoughts::Marked))
    }

    async fn calls(&self, chat: &Chat) -> Result<bool, Failure> {
        if let Some(known) = self.templates.calls(self.model) {
            return Ok(known);
        }
        let rendered = self.engine.render(&template::with_call(chat), Rendering::Text).await?;
        // What the engine did not show says nothing of the model: these tools may be at fault.
        let Some(rendered) = rendered.prompt() else { return Ok(false) };
        let calls = template::has_call(&rendered);
        self.templates.learn_calls(self.model, calls);
        Ok(calls)
    }

    async fn raw(&self, moment: Moment, shown: Shown, whole: Chat) -> Result<Plan, Failure> {
        let (asked, text) = parted(&whole);
        let images = asked.messages.iter().flat_map(|message| message.images().map(str::to_owned)).collect();
        let tools = (!whole.tools.is_empty()).then(|| names(&whole.tools));
        let thinks = moment.doing == Doing::Thinking;
        let (prompt, closes) = match shown.thoughts {
            Thoughts::Marked(Marked { prompt, closes, .. }) if thinks => {
                (prompt + &self.so_far.thinking, Some(closes))
            }
            // The model goes on knowing what it has thought.
            Thoughts::Marked(Marked { prompt, between, .. }) => {
                (prompt + &self.so_far.thinking + &between + &self.so_far.content, None)
            }
            _ => {
                let rendered = self.engine.render(&asked, Rendering::Text).await?;
                let rendered = rendered.prompt().ok_or_else(|| moment.cannot(decision::Why::NoPrompt))?;
                (rendered + &text, None)
            }
        };
        let generate =
            Generate { prompt, raw: true, images, settings: whole.settings, ..Generate::default() };
        Ok(Plan::Raw(generate, Unparsed { closes, tools, trusted: false }))
    }
}

/// The names of the tools that were offered.
fn names(tools: &[Value]) -> Vec<String> {
    let name = |tool: &Value| tool["function"]["name"].as_str().map(str::to_owned);
    tools.iter().filter_map(name).collect()
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
    chat
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

    proptest! {
        #[test]
        fn the_text_goes_on_to_the_letter(before in ".{0,12}", text in ".{1,12}") {
            let mut begun = chat(&["user", "assistant"]);
            begun.messages[1] = Message::said("assistant", before.clone());
            let whole = extended(&begun, &so_far(&text, 1));
            prop_assert_eq!(parted(&whole).1, format!("{before}{text}"));
            let end = format!(":{before}{text}");
            prop_assert!(template::marked(&whole).1.ends_with(&end));
        }
    }
}
