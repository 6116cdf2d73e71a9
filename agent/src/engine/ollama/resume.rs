//! Continuing a partial answer on Ollama.
//!
//! A trailing assistant message is continued where the model's template ends with it, which is asked once by a
//! rendering without generation (`_debug_render_only`). Where the template does something else with it, or trims white
//! space that the client already has, the prompt is rendered without the answer and goes in raw with the exact text. So
//! it does in the middle of thoughts, always: Ollama would give out the rest of them as text. An engine that does not know
//! that question ignores it and is trusted with the trailing message.

use std::time::Duration;

use echo_bus::message::{Chat, Failure, Generate, Request, Settings, SoFar};
use futures::StreamExt;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::request;
use super::request::Call;
use crate::engine::continuation::{self, Continuation, Plan, Rendered, Rendering, Renders};
use crate::engine::contract::Order;
use crate::engine::decision::{self, Moment, Server, Why};
use crate::engine::http::{Http, lost, said};
use crate::engine::lines::Lines;
use crate::engine::steps::nonsense;
use crate::engine::steps::unknown_request;
use crate::engine::template::{KnownTemplates, Shown, TemplateBehaviour};
use crate::engine::unparsed::Unparsed;
use crate::engine::verdict;

/// A rendered prompt is one line, and no longer than a request may be.
const LONGEST_PROMPT: usize = 32 << 20;

/// The longest request whose text so far is counted, in bytes, and how long one count may take.
const LONGEST_COUNTED: usize = 64 << 10;
const COUNTING: Duration = Duration::from_secs(5);

/// How the answer is continued; its token limit is still that of the whole.
///
/// # Errors
/// When it cannot be continued honestly, or the engine fails.
pub async fn plan(
    http: &Http,
    templates: &KnownTemplates,
    order: &Order,
    so_far: &SoFar,
) -> Result<Plan, Failure> {
    let prompts = Prompts { http, model: &order.model };
    let chat = match &order.request {
        Request::Generate(it) if it.raw || has_own_template(it) => {
            return Ok(Plan::Raw(prompts.completion(it, so_far).await?, Unparsed::default()));
        }
        Request::Generate(it) => &continuation::as_chat(it),
        Request::Chat(it) => it,
        _ => return Err(unknown_request()),
    };
    let (server, engine, model) = (Server::Ollama, &prompts, &*order.model);
    let continuation = Continuation { server, engine, templates, model, so_far };
    Ok(match continuation.plan(chat).await? {
        Plan::Raw(generate, unparsed) => Plan::Raw(raw(generate), unparsed),
        plan => plan,
    })
}

/// The request for it, and what has to be told apart in what comes.
pub fn call(model: &str, plan: Plan) -> (Call, Unparsed) {
    match plan {
        Plan::Trailing(chat, unparsed) => {
            (Call { path: "/api/chat", body: request::chat(model, &chat) }, unparsed)
        }
        Plan::Raw(generate, unparsed) => {
            (Call { path: "/api/generate", body: request::generate(model, &generate) }, unparsed)
        }
    }
}

/// A rendered prompt has in it all that these settings say.
fn raw(mut generate: Generate) -> Generate {
    generate.settings.think = None;
    for name in ["template", "context"] {
        generate.settings.extra.remove(name);
    }
    generate
}

/// The client says itself how its prompt is rendered.
fn has_own_template(generate: &Generate) -> bool {
    let named = ["template", "context"].iter().any(|name| generate.settings.extra.contains_key(*name));
    named || !generate.suffix.is_empty()
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
    body["stream"] = false.into();
    make_trial(&mut body);
    let answer = tokio::time::timeout(COUNTING, http.call(Method::POST, path, &body)).await.ok()?.ok()?;
    answer["prompt_eval_count"].as_u64()
}

/// A trial makes one token at most, and leaves the model where it is: one that is to be unloaded after the answer must stay
/// until then.
fn make_trial(body: &mut Value) {
    for name in ["keep_alive", "logprobs", "top_logprobs"] {
        body.as_object_mut().and_then(|body| body.remove(name));
    }
    if !body["options"].is_object() {
        body["options"] = json!({});
    }
    body["options"]["num_predict"] = 1.into();
}

/// How an Ollama renders prompts.
struct Prompts<'a> {
    http: &'a Http,
    model: &'a str,
}

impl Renders for Prompts<'_> {
    async fn render(&self, chat: &Chat, rendering: Rendering) -> Result<Rendered, Failure> {
        let settings = match rendering {
            Rendering::Trailing => chat.settings.clone(),
            Rendering::Text => calm(&chat.settings),
            // A model thinks unless the client has said otherwise.
            Rendering::AsAsked => {
                let think = chat.settings.think.clone().or(Some(Value::Bool(true)));
                Settings { think, ..chat.settings.clone() }
            }
        };
        let chat = Chat { settings, ..chat.clone() };
        self.rendered("/api/chat", request::chat(self.model, &chat)).await
    }
}

impl Prompts<'_> {
    /// A completion whose prompt is the client's own, or rendered by its own template.
    async fn completion(&self, generate: &Generate, so_far: &SoFar) -> Result<Generate, Failure> {
        let moment = Moment::of_generate(generate, so_far);
        let shown = Shown { behaviour: TemplateBehaviour::Raw, ..Shown::default() };
        decision::decide(Server::Ollama, moment, &shown).map_err(|why| moment.cannot(why))?;
        if generate.raw {
            let prompt = format!("{}{}", generate.prompt, so_far.content);
            return Ok(Generate { prompt, ..generate.clone() });
        }
        let fresh = Generate { settings: calm(&generate.settings), ..generate.clone() };
        let rendered = self.rendered("/api/generate", request::generate(self.model, &fresh)).await?;
        let prompt = rendered.prompt().ok_or_else(|| moment.cannot(Why::NoPrompt))? + &so_far.content;
        let (images, settings) = (generate.images.clone(), generate.settings.clone());
        Ok(raw(Generate { prompt, raw: true, images, settings, ..Generate::default() }))
    }

    /// The prompt that the engine would give the model. One that generates instead is told to make one token at most, and
    /// is hung up on at its first line.
    async fn rendered(&self, path: &str, mut body: Value) -> Result<Rendered, Failure> {
        body["_debug_render_only"] = true.into();
        make_trial(&mut body);
        let mut answer = self.http.send(Method::POST, path, &body).await?;
        let mut lines = Lines::new(LONGEST_PROMPT);
        let line = loop {
            let line = lines.next().map_err(|_| nonsense("an endless prompt"))?;
            match line {
                Some(line) if line.is_empty() => continue,
                Some(line) => break line,
                None => {}
            }
            match answer.next().await {
                Some(Ok(bytes)) => lines.push(bytes),
                Some(Err(why)) => return Err(lost(&why)),
                None => break lines.rest(),
            }
        };
        rendered(&line)
    }
}

/// The prompt in a line of the engine, unless it generates instead. An engine that broke off or failed has shown
/// nothing of how it is.
pub fn rendered(line: &[u8]) -> Result<Rendered, Failure> {
    let answer: Map<String, Value> =
        serde_json::from_slice(line).map_err(|_| nonsense("no chunk in place of its prompt"))?;
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return Err(verdict::reported(&said(error)));
    }
    let info = answer.get("_debug_info").and_then(|info| info["rendered_template"].as_str());
    Ok(info.map_or(Rendered::Never, |prompt| Rendered::Prompt(prompt.to_owned())))
}

/// The thoughts are over, so the prompt must not open new ones. It has to be said: unasked, Ollama lets each model think that
/// can.
fn calm(settings: &Settings) -> Settings {
    Settings { think: Some(Value::Bool(false)), ..settings.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_bus::message::Code;
    use proptest::prelude::*;

    #[test]
    fn a_rendered_prompt_is_read_and_another_chunk_is_none() {
        let line = br#"{"model":"m","_debug_info":{"rendered_template":"<user>hi"}}"#;
        assert_eq!(rendered(line).unwrap().prompt().as_deref(), Some("<user>hi"));
        assert_eq!(rendered(br#"{"response":"a","error":null,"done":false}"#).unwrap(), Rendered::Never);
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
