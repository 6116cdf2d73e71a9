//! The routes of llama.cpp's server that make tokens or vectors.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use axum::{
    body::Bytes,
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ask::{self, Ask, Refusal},
    core::Core,
    embedding::{DIMENSIONS, inputs, vector},
    models::{Load, Phase},
    ollama::read,
    openai_voice::{Kind, OpenaiVoice, refuse},
    run,
    script::{Api, Model},
    template::{Prompt, Turn},
    wire::Link,
};

static ANSWERS: AtomicU64 = AtomicU64::new(1);

/// The fields of all three routes; each reads its own.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Request {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    prompt: Option<Value>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    n_predict: Option<i64>,
    stop: Option<Value>,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    response_format: Option<Value>,
    json_schema: Option<Value>,
    logprobs: Option<Value>,
    chat_template_kwargs: Option<Value>,
    timings_per_token: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Message {
    role: String,
    content: Option<Value>,
    reasoning_content: Option<String>,
    tool_calls: Option<Vec<Value>>,
}

impl Message {
    /// Its text; of a list of parts, those that are text.
    pub fn turn(&self) -> Turn {
        let text = match &self.content {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => {
                parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
            }
            _ => String::new(),
        };
        let (thinking, calls) = (self.reasoning_content.clone(), self.tool_calls.clone());
        Turn {
            thinking: thinking.unwrap_or_default(),
            calls: calls.unwrap_or_default(),
            ..Turn::new(&self.role, text)
        }
    }

    fn shows(&self) -> bool {
        let parts = self.content.as_ref().and_then(Value::as_array);
        parts.is_some_and(|parts| parts.iter().any(|part| part.get("image_url").is_some()))
    }
}

pub async fn chat(core: State<Arc<Core>>, link: ConnectInfo<Link>, body: Bytes) -> Response {
    core.tally.note("/v1/chat/completions", &body);
    respond(core.0, link.0, &body, Kind::Chat).await
}

pub async fn text(core: State<Arc<Core>>, link: ConnectInfo<Link>, body: Bytes) -> Response {
    core.tally.note("/v1/completions", &body);
    respond(core.0, link.0, &body, Kind::Text).await
}

pub async fn own(core: State<Arc<Core>>, link: ConnectInfo<Link>, body: Bytes) -> Response {
    core.tally.note("/completion", &body);
    respond(core.0, link.0, &body, Kind::Own).await
}

async fn respond(core: Arc<Core>, link: Link, body: &[u8], kind: Kind) -> Response {
    match read::<Request>(body).and_then(|request| ask(&core, request, kind)) {
        Ok(ask) => run::answer(core, link, ask).await,
        Err(refusal) => refuse(&refusal),
    }
}

fn ask(core: &Core, request: Request, kind: Kind) -> Result<Ask, Refusal> {
    let model = served(core, request.model.as_deref())?;
    let mut needs = vec!["completion"];
    let prompt = if kind == Kind::Chat {
        let messages = request.messages.as_deref().unwrap_or_default();
        if messages.is_empty() {
            return Err(Refusal::bad("'messages' is required"));
        }
        if messages.iter().any(Message::shows) {
            needs.push("vision");
        }
        if core.script().strict_template && messages.iter().skip(1).any(|message| message.role == "system") {
            // llama.cpp's server says 500 where the chat template refuses.
            return Err(Refusal::broken("template: system message must come first"));
        }
        let turns: Vec<_> = messages.iter().map(Message::turn).collect();
        Prompt::chat(&turns, request.tools.as_deref().unwrap_or_default(), core.script().style(Api::Openai))
    } else {
        let prompt = inputs(request.prompt.as_ref()).filter(|prompts| !prompts.is_empty());
        Prompt::raw(&prompt.ok_or_else(|| Refusal::bad("\"prompt\" must be a string"))?.concat())
    };
    let none = request.tool_choice.as_ref().and_then(Value::as_str) == Some("none");
    let unthinking = request.chat_template_kwargs.as_ref().and_then(|kwargs| kwargs.get("enable_thinking"))
        == Some(&Value::Bool(false));
    let number = ANSWERS.fetch_add(1, Relaxed);
    let usage = request.stream_options.as_ref().and_then(|options| options.include_usage);
    Ok(Ask {
        limit: limit(&request),
        stop: stop(request.stop.as_ref())?,
        json: wants_json(&request),
        tools: !none && prompt.tools,
        raw: kind != Kind::Chat,
        think: kind == Kind::Chat && !unthinking && model.can("thinking"),
        prompt,
        needs,
        stream: request.stream.unwrap_or(false),
        load_options: None,
        keep: None,
        voice: Box::new(OpenaiVoice {
            kind,
            id: format!("{}-scripted{number}", if kind == Kind::Chat { "chatcmpl" } else { "cmpl" }),
            model: request.model.unwrap_or_else(|| model.name.clone()),
            usage: usage == Some(true),
            counts: request.timings_per_token == Some(true),
            logprobs: request.logprobs.is_some_and(|value| value != Value::Bool(false) && !value.is_null()),
        }),
        model: model.name,
    })
}

/// Negative is no limit; zero is what it says.
fn limit(request: &Request) -> Option<u64> {
    let limit = request.max_completion_tokens.or(request.max_tokens).or(request.n_predict)?;
    u64::try_from(limit).ok()
}

fn stop(value: Option<&Value>) -> Result<Vec<String>, Refusal> {
    inputs(value).ok_or_else(|| Refusal::bad("\"stop\" must be a string or a list of strings"))
}

fn wants_json(request: &Request) -> bool {
    let kind = request.response_format.as_ref().and_then(|format| format.get("type"));
    let kind = kind.and_then(Value::as_str);
    request.json_schema.is_some() || matches!(kind, Some("json_object" | "json_schema"))
}

/// The model that answers. With one model its name is not looked at, as in llama.cpp's server; a model that is
/// still loading answers nothing.
pub fn served(core: &Core, name: Option<&str>) -> Result<Model, Refusal> {
    let mut models = core.models.all();
    let named = name.and_then(|name| core.models.find(name));
    let model = match named {
        Some(model) => model,
        None if models.len() == 1 => models.remove(0),
        None => return Err(Refusal::missing(name.unwrap_or_default())),
    };
    let delay = core.script().load_delay;
    core.models.begin(&model.name, delay);
    match core.models.phase(&model.name) {
        Phase::Ready => Ok(model),
        _ => Err(loading()),
    }
}

pub fn loading() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Loading model")
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Embed {
    model: Option<String>,
    input: Option<Value>,
    dimensions: Option<usize>,
}

pub async fn embed(core: State<Arc<Core>>, link: ConnectInfo<Link>, body: Bytes) -> Response {
    core.tally.note("/v1/embeddings", &body);
    embedded(&core, &link, &body).await.unwrap_or_else(|refusal| refuse(&refusal))
}

async fn embedded(core: &Arc<Core>, link: &Link, body: &[u8]) -> Result<Response, Refusal> {
    let request: Embed = read(body)?;
    let texts = inputs(request.input.as_ref()).filter(|texts| !texts.is_empty());
    let texts = texts.ok_or_else(|| Refusal::bad("\"input\" or \"content\" must be provided"))?;
    let model = served(core, request.model.as_deref())?;
    if !core.models.all().iter().any(|model| model.can("embedding")) {
        let why = "This server does not support embeddings. Start it with `--embeddings`";
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, why));
    }
    let too_long = |words: &usize| core.script().embedding_limit.is_some_and(|limit| *words > limit);
    if let Some(words) = texts.iter().map(|text| text.split_whitespace().count()).find(too_long) {
        let limit = core.script().embedding_limit.unwrap_or_default();
        return Err(Refusal::broken(format!(
            "input ({words} tokens) is too large to process. increase the physical batch size (current batch size: {limit})"
        )));
    }
    let (run, model) = run::embed(core, link, &model.name, Load::default()).await?;
    let size = request.dimensions.unwrap_or(DIMENSIONS);
    let data = texts
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": vector(text, size)}));
    let words: usize = texts.iter().map(|text| text.split_whitespace().count()).sum();
    let reply = json!({"object": "list", "model": request.model.unwrap_or(model.name),
        "data": data.collect::<Vec<_>>(), "usage": {"prompt_tokens": words, "total_tokens": words}});
    run.finish();
    Ok(ask::json(StatusCode::OK, &reply))
}
