//! A prompt as a task of the mesh: the body of `POST /task` and `POST /task/stream`.

use std::time::Duration;

use axum::extract::Request;
use echo_bus::message::{Chat, Generate, Message, Part, Request as Ask};
use echo_bus::time;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::edge::Keep;
use crate::http::api::{Api, trace_of};
use crate::http::error::ApiError;
use crate::http::fields::{check_model, wrong};
use crate::http::reply::Started;
use crate::http::{body, image, options};
use crate::tasks::Wishes;

/// The body of `/task` and `/task/stream`.
#[derive(Debug, Deserialize)]
pub struct TaskRequest {
    prompt: String,
    /// What was said before the prompt: with this, even if it is empty, the task is a turn of a conversation.
    messages: Option<Vec<Said>>,
    model_hint: Option<String>,
    task_id: Option<String>,
    options: Option<Map<String, Value>>,
    system: Option<String>,
    /// `"json"` or a JSON schema.
    format: Option<Value>,
    think: Option<Value>,
    /// Base64, with a data URL's head or without.
    images: Option<Vec<String>>,
    /// How long the task goes on, and its answer is kept, while nobody listens: `"60s"`, or seconds.
    keep: Option<Value>,
}

/// A message of a conversation. What this route does not carry, such as pictures, is refused and not lost.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    role: String,
    content: String,
}

/// Reads a task from a request and starts it.
///
/// # Errors
/// 400, 409, 413 or 415, with what is wrong.
pub async fn start(api: &Api, request: Request, streams: bool) -> Result<Started, ApiError> {
    let traceparent = trace_of(request.headers());
    let asked: TaskRequest = body::json(request, api.body_limits()).await?;
    let reserved = match &asked.task_id {
        Some(name) => {
            check_name(name)?;
            Some(api.names().reserve(api.caller.name(), name)?)
        }
        None => None,
    };
    let keep = asked.keep.as_ref().map(|keep| time_to_keep(keep, api.keep_limit())).transpose()?;
    let keep = keep.map(|time| Keep { time, goes_on: true });
    let name = asked.task_id.clone();
    let wishes = Wishes { traceparent, keep, joins: true, ..Wishes::default() };
    Ok(api.started_as(api.begin_with(ask(asked)?, wishes, streams)?, name, reserved))
}

fn ask(asked: TaskRequest) -> Result<Ask, ApiError> {
    if asked.prompt.trim().is_empty() {
        return Err(ApiError::bad_request("prompt: is empty; say what you want"));
    }
    let model = asked.model_hint.filter(|model| !model.is_empty());
    check_model("model_hint", model.as_deref().unwrap_or_default())?;
    let mut settings = options::settings(asked.options.unwrap_or_default()).map_err(ApiError::bad_request)?;
    settings.format = asked.format.filter(|format| !format.is_null());
    settings.think = asked.think.filter(|think| !think.is_null());
    let images = image::all("images", asked.images.unwrap_or_default())?;
    let (prompt, system) = (asked.prompt, asked.system.unwrap_or_default());
    let Some(before) = asked.messages else {
        return Ok(Ask::Generate(Generate {
            model,
            prompt,
            system,
            images,
            settings,
            ..Generate::default()
        }));
    };
    let mut turn = Message::said("user", prompt);
    turn.content.extend(images.into_iter().map(|data| Part::Image { data }));
    let mut messages = conversation(before)?;
    if !system.is_empty() {
        messages.insert(0, Message::said("system", system));
    }
    messages.push(turn);
    Ok(Ask::Chat(Chat { model, messages, settings, ..Chat::default() }))
}

fn conversation(said: Vec<Said>) -> Result<Vec<Message>, ApiError> {
    let message = |(place, said): (usize, Said)| {
        if matches!(said.role.as_str(), "system" | "user" | "assistant") {
            return Ok(Message::said(said.role, said.content));
        }
        Err(wrong(&format!("messages[{place}].role"), "expected system, user or assistant"))
    };
    said.into_iter().enumerate().map(message).collect()
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    if (1..=128).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(ApiError::bad_request("task_id: use 1 to 128 of A-Z a-z 0-9 . _ : -"))
}

fn time_to_keep(keep: &Value, most: Duration) -> Result<Duration, ApiError> {
    let time = time::of_json(keep).map_err(|error| wrong("keep", &error.to_string()))?;
    if time > most {
        return Err(wrong("keep", &format!("at most {} s on this edge (--keep-limit)", most.as_secs())));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(body: Value) -> Result<Ask, ApiError> {
        ask(serde_json::from_value(body).unwrap())
    }

    #[test]
    fn a_prompt_after_messages_is_the_next_turn_of_a_conversation() {
        let before = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
        let body = json!({"prompt": "c", "system": "s", "messages": before, "options": {"num_predict": 5}});
        let Ask::Chat(chat) = asked(body).unwrap() else { panic!("no conversation") };
        let said: Vec<_> = chat.messages.iter().map(|it| format!("{}: {}", it.role, it.text())).collect();
        assert_eq!(said, ["system: s", "user: a", "assistant: b", "user: c"]);
        assert_eq!(chat.settings.max_tokens, Some(5));
        let first = asked(json!({"prompt": "c", "messages": []})).unwrap();
        assert!(matches!(first, Ask::Chat(chat) if chat.messages.len() == 1));
        assert!(matches!(asked(json!({"prompt": "c"})).unwrap(), Ask::Generate(_)));
    }

    #[test]
    fn a_message_of_nobody_is_refused_by_its_place() {
        let error =
            asked(json!({"prompt": "c", "messages": [{"role": "tool", "content": "x"}]})).unwrap_err();
        assert!(error.message().starts_with("messages[0].role: "), "{}", error.message());
    }

    #[test]
    fn what_a_message_cannot_carry_is_refused_and_not_lost() {
        let said = json!({"role": "user", "content": "a", "images": ["AA=="]});
        let error =
            serde_json::from_value::<TaskRequest>(json!({"prompt": "c", "messages": [said]})).unwrap_err();
        assert!(error.to_string().contains("images"), "{error}");
    }

    #[test]
    fn spoilt_bodies() {
        let body = json!({"prompt": "hi", "model_hint": "m", "task_id": "a.b_c:d-e", "system": "s", "format": "json", "think": true,
            "images": [image::tests::PNG], "keep": "60s", "options": {"num_predict": 5, "temperature": 0.5, "stop": ["x"]},
            "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
        let plain = json!({"prompt": "hi", "keep": 1.5});
        crate::http::any::spoilt_bodies("echo: /task", &[body, plain], |fields| {
            let asked: TaskRequest = serde_json::from_value(fields.rest().into())
                .map_err(|error| ApiError::bad_request(error.to_string()))?;
            asked.task_id.as_deref().map(check_name).transpose()?;
            let keep = asked.keep.as_ref().map(|keep| time_to_keep(keep, Duration::from_secs(600)));
            keep.transpose()?;
            ask(asked).map(|ask| echo_bus::message::size(&ask))
        });
    }
}
