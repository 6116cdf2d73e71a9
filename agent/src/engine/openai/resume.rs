//! Continuing a partial answer on a server with OpenAI's API.
//!
//! llama.cpp continues a trailing assistant message, in the middle of its thoughts too, and shows by /apply-template what it
//! makes of it: where the prompt does not end with the text to the letter, the prompt without the answer goes in raw with
//! the exact text. vLLM has to be told to continue; other servers are trusted with the trailing message.

use echo_bus::message::{Chat, Failure, Generate, Request, SoFar};
use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use super::request;
use super::request::{Call, TEMPLATE_SETTINGS};
use super::{OpenAi, once_loaded};
use crate::engine::continuation::{self, Continuation, Plan, Rendered, Rendering, Renders};
use crate::engine::contract::Order;
use crate::engine::decision::{self, Moment, Server};
use crate::engine::http::HttpError;
use crate::engine::steps::unknown_request;
use crate::engine::template::Shown;
use crate::engine::unparsed::Unparsed;

impl OpenAi {
    /// The request that continues the answer, and what has to be told apart in what comes.
    ///
    /// # Errors
    /// When it cannot be continued honestly, or the engine fails.
    pub(super) async fn continued(
        &self,
        dialect: Dialect,
        order: &Order,
        so_far: &SoFar,
    ) -> Result<(Call, Unparsed), Failure> {
        let server = server(dialect);
        let chat = match &order.request {
            Request::Generate(it) if it.raw => {
                let call = completion(server, order, it, so_far, dialect)?;
                return Ok((call, Unparsed::default()));
            }
            Request::Generate(it) if !it.suffix.is_empty() => return Err(request::no_suffix()),
            Request::Generate(it) => &continuation::as_chat(it),
            Request::Chat(it) => it,
            _ => return Err(unknown_request()),
        };
        let engine = &Prompts { engine: self, model: &order.model, loads: true };
        let (templates, model) = (&*self.templates, &*order.model);
        let continuation = Continuation { server, engine, templates, model, so_far };
        Ok(match continuation.plan(chat).await?.shortened(so_far) {
            Plan::Trailing(chat, unparsed) => {
                (trailing(order, &chat, dialect, !so_far.content.is_empty()), unparsed)
            }
            Plan::Raw(generate, unparsed) => {
                (request::completion(&order.model, &generate, dialect), unparsed)
            }
        })
    }

    /// How many tokens the text so far is, from llama.cpp. Of thoughts it does not know the marks around them.
    pub(super) async fn count_so_far(&self, dialect: Dialect, model: &str, so_far: &SoFar) -> Option<u64> {
        if so_far.exact || dialect != Dialect::LlamaCpp || !so_far.thinking.is_empty() {
            return None;
        }
        let body = json!({"content": so_far.content, "add_special": false});
        Prompts { engine: self, model, loads: true }.tokens(body).await
    }
}

/// How a llama.cpp makes prompts and tokens of a conversation for a model.
pub(super) struct Prompts<'a> {
    pub engine: &'a OpenAi,
    pub model: &'a str,
    /// A server of many models may bring this one into memory.
    pub loads: bool,
}

impl Prompts<'_> {
    /// How many tokens the engine makes of a text.
    pub async fn tokens(&self, body: Value) -> Option<u64> {
        let answer = self.ask("/tokenize", body).await.ok()?;
        answer["tokens"].as_array().map(|tokens| tokens.len() as u64)
    }

    async fn ask(&self, path: &str, mut body: Value) -> Result<Value, HttpError> {
        body["model"] = self.model.into();
        let path = if self.loads { path.to_owned() } else { format!("{path}?autoload=false") };
        once_loaded(self.engine.load_timeout, || self.engine.http.ask_with(&path, &body)).await
    }
}

impl Renders for Prompts<'_> {
    async fn render(&self, chat: &Chat, rendering: Rendering) -> Result<Rendered, Failure> {
        let as_asked = || chat.settings.think.as_ref().and_then(Value::as_bool);
        let thinks = match rendering {
            Rendering::AsAsked => as_asked(),
            Rendering::Trailing if ends_in_thoughts(chat) => as_asked(),
            Rendering::Trailing | Rendering::Text => Some(false),
        };
        let mut body = Map::new();
        body.insert("messages".into(), request::messages(&chat.messages));
        let own = chat.settings.openai.get(TEMPLATE_SETTINGS).cloned();
        body.extend(own.map(|own| (TEMPLATE_SETTINGS.to_owned(), own)));
        if let Some(thinks) = thinks {
            request::set_thinking(&mut body, thinks);
        }
        if !chat.tools.is_empty() {
            body.insert("tools".into(), chat.tools.clone().into());
        }
        match self.ask("/apply-template", body.into()).await {
            Ok(answer) => {
                Ok(answer["prompt"].as_str().map_or(Rendered::Never, |it| Rendered::Prompt(it.to_owned())))
            }
            Err(HttpError::Rejected(rejection)) if is_unknown(rejection.status) => Ok(Rendered::Never),
            // Not for these messages, or not now.
            Err(HttpError::Rejected(rejection)) if !is_passing(rejection.status) => Ok(Rendered::Refused),
            Err(error) => Err(self.engine.http.failure(error)),
        }
    }
}

const fn server(dialect: Dialect) -> Server {
    match dialect {
        Dialect::LlamaCpp => Server::LlamaCpp,
        Dialect::Vllm => Server::Vllm,
        Dialect::Plain => Server::Plain,
    }
}

fn completion(
    server: Server,
    order: &Order,
    generate: &Generate,
    so_far: &SoFar,
    dialect: Dialect,
) -> Result<Call, Failure> {
    let moment = Moment::of_generate(generate, so_far);
    decision::decide(server, moment, &Shown::default()).map_err(|why| moment.cannot(why))?;
    let prompt = format!("{}{}", generate.prompt, so_far.content);
    let settings = continuation::shortened(&generate.settings, so_far);
    Ok(request::completion(&order.model, &Generate { prompt, settings, ..generate.clone() }, dialect))
}

/// Whether the trailing message is nothing but thoughts.
fn ends_in_thoughts(chat: &Chat) -> bool {
    chat.messages.last().is_some_and(|last| last.text().is_empty() && !last.thinking().is_empty())
}

fn trailing(order: &Order, whole: &Chat, dialect: Dialect, in_text: bool) -> Call {
    let mut call = request::chat(&order.model, whole, dialect);
    if in_text && dialect.has_template_settings() {
        // The thoughts are over; llama.cpp refuses to continue where new ones may begin.
        call.body.as_object_mut().into_iter().for_each(|body| request::set_thinking(body, false));
    }
    if dialect == Dialect::Vllm {
        call.body["continue_final_message"] = true.into();
        call.body["add_generation_prompt"] = false.into();
    }
    call
}

/// The server does not have the question.
fn is_unknown(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
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
        let body = trailing(&order, &whole, Dialect::Vllm, true).body;
        assert_eq!(
            (&body["continue_final_message"], &body["add_generation_prompt"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(body["messages"][1], json!({"role": "assistant", "content": "one "}));
        assert!(trailing(&order, &whole, Dialect::Plain, true).body.get("chat_template_kwargs").is_none());
        assert!(
            trailing(&order, &whole, Dialect::LlamaCpp, true).body.get("continue_final_message").is_none()
        );
    }
}
