//! Continuing a partial answer on Ollama.
//!
//! A trailing assistant message is continued where the model's template ends with it, which is asked once by a
//! rendering without generation (`_debug_render_only`). Where the template does something else with it, or trims white
//! space that the client already has, the prompt is rendered without the answer and goes in raw with the exact text.
//! An engine that does not know that question ignores it and is trusted with the trailing message.

use std::time::Duration;

use echo_bus::message::{Chat, Failure, Generate, Request, Settings, SoFar};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::request;
use super::request::Call;
use crate::engine::continuation::{self, KnownTemplates, PartialKind, TemplateBehaviour};
use crate::engine::contract::Order;
use crate::engine::http::{Http, HttpError, said, why};
use crate::engine::lines::Lines;
use crate::engine::steps::nonsense;
use crate::engine::steps::unknown_request;
use crate::engine::verdict;

/// A rendered prompt is one line, and no longer than a request may be.
const LONGEST_PROMPT: usize = 32 << 20;

/// The longest request whose text so far is counted, in bytes, and how long one count may take.
const LONGEST_COUNTED: usize = 64 << 10;
const COUNTING: Duration = Duration::from_secs(5);

/// The request that continues the answer.
///
/// # Errors
/// When it cannot be continued honestly, or the engine fails.
pub async fn continued(
    http: &Http,
    templates: &KnownTemplates,
    order: &Order,
    so_far: &SoFar,
) -> Result<Call, Failure> {
    let continuation = Continuation { http, templates, model: &order.model, so_far };
    match &order.request {
        Request::Generate(it) => {
            continuation::check(&it.settings)?;
            continuation.generate(it).await
        }
        Request::Chat(it) => {
            continuation::check(&it.settings)?;
            continuation.chat(it).await
        }
        _ => Err(unknown_request()),
    }
}

/// How many tokens the text so far is: what the prompt has more with it than without it. Ollama counts nothing by itself,
/// but it says the tokens of a prompt at the end of an answer, so it is asked for two answers of one token. That
/// costs little, since the engine keeps what it has read of the prompt for the request that follows.
///
/// A long prompt may have lost its place in the cache, and is not read twice more for a number.
pub async fn count(http: &Http, fresh: Call, continued: Call) -> Option<u64> {
    if continued.body.to_string().len() > LONGEST_COUNTED {
        return None;
    }
    let without = prompt_tokens(http, fresh).await?;
    let with = prompt_tokens(http, continued).await?;
    with.checked_sub(without)
}

async fn prompt_tokens(http: &Http, Call { path, mut body }: Call) -> Option<u64> {
    // A model that is to be unloaded after the answer must stay until then.
    for name in ["keep_alive", "logprobs", "top_logprobs"] {
        body.as_object_mut()?.remove(name);
    }
    body["stream"] = false.into();
    limit_to_one(&mut body);
    let answer = tokio::time::timeout(COUNTING, http.call(Method::POST, path, &body)).await.ok()?.ok()?;
    answer["prompt_eval_count"].as_u64()
}

fn limit_to_one(body: &mut Value) {
    if !body["options"].is_object() {
        body["options"] = json!({});
    }
    body["options"]["num_predict"] = 1.into();
}

struct Continuation<'a> {
    http: &'a Http,
    templates: &'a KnownTemplates,
    model: &'a str,
    so_far: &'a SoFar,
}

impl Continuation<'_> {
    async fn generate(&self, generate: &Generate) -> Result<Call, Failure> {
        let settings = continuation::shortened(&generate.settings, self.so_far);
        if generate.raw {
            let prompt = format!("{}{}", generate.prompt, self.so_far.content);
            return Ok(self.raw(&Generate { prompt, settings, ..generate.clone() }));
        }
        let special = ["template", "context"].iter().any(|name| generate.settings.extra.contains_key(*name));
        if !special && generate.suffix.is_empty() {
            return self.chat(&continuation::as_chat(generate)).await;
        }
        let fresh = Generate { settings: calm(&settings), ..generate.clone() };
        let rendered = self.render("/api/generate", request::generate(self.model, &fresh)).await?;
        let rendered = rendered.ok_or_else(|| continuation::cannot("the engine does not show its prompt"))?;
        self.after(rendered, &self.so_far.content, generate.images.clone(), &settings)
    }

    async fn chat(&self, chat: &Chat) -> Result<Call, Failure> {
        let whole = continuation::extended(chat, self.so_far);
        let kind = PartialKind::of(self.model, self.so_far);
        let behaviour = match self.templates.get(&kind) {
            Some(behaviour) => behaviour,
            None => self.learn(kind, &whole).await?,
        };
        if behaviour != TemplateBehaviour::Raw {
            return Ok(Call { path: "/api/chat", body: request::chat(self.model, &whole) });
        }
        if !chat.tools.is_empty() {
            return Err(continuation::cannot("its tool calls would not be understood"));
        }
        let (fresh, text) = continuation::parted(&whole);
        let images = fresh.messages.iter().flat_map(|message| message.images().map(str::to_owned)).collect();
        let fresh = Chat { settings: calm(&fresh.settings), ..fresh };
        let rendered = self.render("/api/chat", request::chat(self.model, &fresh)).await?;
        let rendered =
            rendered.ok_or_else(|| continuation::cannot("the engine does not show its prompt any more"))?;
        self.after(rendered, &text, images, &whole.settings)
    }

    async fn learn(&self, kind: PartialKind, whole: &Chat) -> Result<TemplateBehaviour, Failure> {
        let (marked, end) = continuation::marked(whole);
        let rendered = self.render("/api/chat", request::chat(self.model, &marked)).await?;
        let behaviour = match rendered {
            Some(rendered) if rendered.ends_with(&end) => TemplateBehaviour::Trailing,
            Some(_) => TemplateBehaviour::Raw,
            None => TemplateBehaviour::Unknown,
        };
        self.templates.learn(kind, behaviour);
        Ok(behaviour)
    }

    fn after(
        &self,
        rendered: String,
        text: &str,
        images: Vec<String>,
        settings: &Settings,
    ) -> Result<Call, Failure> {
        if self.so_far.content.is_empty() {
            return Err(continuation::cannot("it stopped in the middle of the model's thoughts"));
        }
        let mut settings = settings.clone();
        settings.think = None;
        for name in ["template", "context"] {
            settings.extra.remove(name);
        }
        let prompt = rendered + text;
        Ok(self.raw(&Generate { prompt, raw: true, images, settings, ..Generate::default() }))
    }

    fn raw(&self, generate: &Generate) -> Call {
        Call { path: "/api/generate", body: request::generate(self.model, generate) }
    }

    /// The prompt that the engine would give the model; `None` from an engine that generates instead. That one is told
    /// to make one token at most, and is hung up on at its first line.
    async fn render(&self, path: &str, mut body: Value) -> Result<Option<String>, Failure> {
        body["_debug_render_only"] = true.into();
        limit_to_one(&mut body);
        let mut answer = self.http.send(Method::POST, path, &body).await?;
        let mut lines = Lines::new(LONGEST_PROMPT);
        let line = loop {
            let line = lines.next().map_err(|_| continuation::cannot("the prompt so far is too long"))?;
            match line {
                Some(line) if line.is_empty() => continue,
                Some(line) => break line,
                None => {}
            }
            let more =
                answer.chunk().await.map_err(|error| self.http.failure(HttpError::Lost(why(&error))))?;
            match more {
                Some(bytes) => lines.push(&bytes),
                None => break lines.rest(),
            }
        };
        rendered(&line)
    }
}

/// The prompt in a line of the engine; `None` where it generates instead. An engine that broke off or failed has shown
/// nothing of how it is.
fn rendered(line: &[u8]) -> Result<Option<String>, Failure> {
    let answer: Map<String, Value> =
        serde_json::from_slice(line).map_err(|_| nonsense("no chunk in place of its prompt"))?;
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return Err(verdict::reported(&said(error)));
    }
    let info = answer.get("_debug_info").and_then(|info| info["rendered_template"].as_str());
    Ok(info.map(str::to_owned))
}

/// The thoughts are over, so the prompt must not open new ones.
fn calm(settings: &Settings) -> Settings {
    let think = settings.think.as_ref().map(|_| Value::Bool(false));
    Settings { think, ..settings.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_bus::message::Code;
    use proptest::prelude::*;

    #[test]
    fn a_rendered_prompt_is_read_and_another_chunk_is_none() {
        let line = br#"{"model":"m","_debug_info":{"rendered_template":"<user>hi"}}"#;
        assert_eq!(rendered(line).unwrap().as_deref(), Some("<user>hi"));
        assert_eq!(rendered(br#"{"response":"a","error":null,"done":false}"#).unwrap(), None);
    }

    #[test]
    fn an_engine_that_broke_off_or_failed_has_not_shown_that_it_keeps_its_prompts() {
        for line in ["", "{\"model\":\"m\",\"_debug_in", "7", "{\"error\":\"the model crashed\"}"] {
            assert_eq!(rendered(line.as_bytes()).unwrap_err().code, Code::EngineError, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = rendered(&bytes);
        }
    }
}
