//! Continuing a partial answer on a server with OpenAI's API.
//!
//! llama.cpp continues a trailing assistant message, and shows by /apply-template what it makes of it: where the
//! prompt does not end with the text to the letter, the prompt without the answer goes in raw with the exact text.
//! vLLM has to be told to continue; other servers are trusted with the trailing message.

use echo_bus::message::{Chat, Failure, Generate, Request, SoFar};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::dialect::Dialect;
use super::request;
use super::request::Call;
use super::{OpenAi, once_loaded};
use crate::engine::continuation::{self, PartialKind, TemplateBehaviour};
use crate::engine::contract::Order;
use crate::engine::http::HttpError;
use crate::engine::steps::unknown_request;

impl OpenAi {
    /// The request that continues the answer.
    ///
    /// # Errors
    /// When it cannot be continued honestly, or the engine fails.
    pub(super) async fn continued(
        &self,
        dialect: Dialect,
        order: &Order,
        so_far: &SoFar,
    ) -> Result<Call, Failure> {
        let chat = match &order.request {
            Request::Generate(it) if it.raw => {
                continuation::check(&it.settings)?;
                let prompt = format!("{}{}", it.prompt, so_far.content);
                let settings = continuation::shortened(&it.settings, so_far);
                return Ok(request::completion(
                    &order.model,
                    &Generate { prompt, settings, ..it.clone() },
                    dialect,
                ));
            }
            Request::Generate(it) if !it.suffix.is_empty() => return Err(request::no_suffix()),
            Request::Generate(it) => continuation::as_chat(it),
            Request::Chat(it) => it.clone(),
            _ => return Err(unknown_request()),
        };
        continuation::check(&chat.settings)?;
        if so_far.content.is_empty() {
            return Err(continuation::cannot("it stopped in the middle of the model's thoughts"));
        }
        let whole = continuation::extended(&chat, so_far);
        let kind = PartialKind::of(&order.model, so_far);
        let behaviour = match self.templates.get(&kind) {
            Some(behaviour) => behaviour,
            None => self.learn(dialect, kind, &whole).await?,
        };
        if behaviour == TemplateBehaviour::Raw {
            self.raw(order, &whole, dialect).await
        } else {
            Ok(trailing(order, &whole, dialect))
        }
    }

    /// How many tokens the text so far is, from llama.cpp. Of thoughts it does not know the marks around them.
    pub(super) async fn count_so_far(&self, dialect: Dialect, so_far: &SoFar) -> Option<u64> {
        if so_far.exact || dialect != Dialect::LlamaCpp || !so_far.thinking.is_empty() {
            return None;
        }
        let body = json!({"content": so_far.content, "add_special": false});
        self.tokens(&body).await
    }

    async fn raw(&self, order: &Order, whole: &Chat, dialect: Dialect) -> Result<Call, Failure> {
        if !whole.tools.is_empty() {
            return Err(continuation::cannot("its tool calls would not be understood"));
        }
        if whole.messages.iter().any(|message| message.images().next().is_some()) {
            return Err(continuation::cannot("its images cannot be sent again"));
        }
        let (fresh, text) = continuation::parted(whole);
        let rendered = self
            .render(&fresh, CALM)
            .await?
            .ok_or_else(|| continuation::cannot("the engine does not show its prompt"))?;
        let (prompt, settings) = (rendered + &text, whole.settings.clone());
        let generate = Generate { prompt, settings, raw: true, ..Generate::default() };
        Ok(request::completion(&order.model, &generate, dialect))
    }

    async fn learn(
        &self,
        dialect: Dialect,
        kind: PartialKind,
        whole: &Chat,
    ) -> Result<TemplateBehaviour, Failure> {
        if dialect != Dialect::LlamaCpp {
            return Ok(TemplateBehaviour::Unknown);
        }
        let (marked, end) = continuation::marked(whole);
        let behaviour = match self.render(&marked, CALM).await? {
            Some(rendered) if rendered.ends_with(&end) => TemplateBehaviour::Trailing,
            Some(_) => TemplateBehaviour::Raw,
            None => TemplateBehaviour::Unknown,
        };
        self.templates.learn(kind, behaviour);
        Ok(behaviour)
    }

    /// The prompt that the engine would give the model, if it says so.
    pub(super) async fn render(&self, chat: &Chat, think: Option<&Value>) -> Result<Option<String>, Failure> {
        let mut body = json!({"messages": request::messages(&chat.messages)});
        if let Some(Value::Bool(think)) = think {
            body["chat_template_kwargs"] = json!({"enable_thinking": think});
        }
        if !chat.tools.is_empty() {
            body["tools"] = chat.tools.clone().into();
        }
        let ask = || self.http.ask_with("/apply-template", &body);
        match once_loaded(self.load_timeout, ask).await {
            Ok(answer) => Ok(answer["prompt"].as_str().map(str::to_owned)),
            // It does not have the question, or not for these messages.
            Err(HttpError::Rejected(rejection)) if !is_passing(rejection.status) => Ok(None),
            Err(error) => Err(self.http.failure(error)),
        }
    }
}

/// The thoughts are over, so the prompt must not open new ones.
const CALM: Option<&Value> = Some(&Value::Bool(false));

fn trailing(order: &Order, whole: &Chat, dialect: Dialect) -> Call {
    let mut call = request::chat(&order.model, whole, dialect);
    if dialect.has_template_settings() {
        // The thoughts are over; llama.cpp refuses to continue where new ones may begin.
        call.body["chat_template_kwargs"] = json!({"enable_thinking": false});
    }
    if dialect == Dialect::Vllm {
        call.body["continue_final_message"] = true.into();
        call.body["add_generation_prompt"] = false.into();
    }
    call
}

/// Busy: this says nothing of the template, and must not be remembered as if it did.
fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_busy_has_not_said_that_it_keeps_its_prompts() {
        assert!(is_passing(StatusCode::SERVICE_UNAVAILABLE) && is_passing(StatusCode::TOO_MANY_REQUESTS));
        assert!(!is_passing(StatusCode::NOT_FOUND) && !is_passing(StatusCode::INTERNAL_SERVER_ERROR));
    }

    #[test]
    fn vllm_is_told_to_continue() {
        let so_far = SoFar { content: "one ".into(), tokens: 1, ..SoFar::default() };
        let chat = continuation::as_chat(&Generate { prompt: "count".into(), ..Generate::default() });
        let order = Order { request: Request::Chat(chat.clone()), model: "m".into(), so_far: None };
        let whole = continuation::extended(&chat, &so_far);
        let body = trailing(&order, &whole, Dialect::Vllm).body;
        assert_eq!(
            (&body["continue_final_message"], &body["add_generation_prompt"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(body["messages"][1], json!({"role": "assistant", "content": "one "}));
        assert!(trailing(&order, &whole, Dialect::Plain).body.get("chat_template_kwargs").is_none());
        assert!(trailing(&order, &whole, Dialect::LlamaCpp).body.get("continue_final_message").is_none());
    }
}
