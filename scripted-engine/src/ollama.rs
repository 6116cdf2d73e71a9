//! Ollama's `/api/generate`, `/api/chat` and the two embedding routes.

use std::{sync::Arc, time::SystemTime};

use axum::{
    body::Bytes,
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::Response,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    ask::{self, Ask, Refusal},
    clock::{Keep, keep_alive, rfc3339},
    core::Core,
    mistakes,
    models::Load,
    ollama_voice::{OllamaVoice, refuse},
    run,
    script::Api,
    template::{Prompt, Style, Turn},
    wire::Link,
};

/// Options that are applied when a model is loaded; a change of one reloads it.
const LOAD_OPTIONS: [&str; 6] = ["num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"];

/// The fields that generate and chat share.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Common {
    model: Option<String>,
    stream: Option<bool>,
    format: Option<Value>,
    options: Option<Map<String, Value>>,
    keep_alive: Option<Value>,
    think: Option<Value>,
    logprobs: Option<bool>,
    top_logprobs: Option<usize>,
    newer: Option<bool>,
    #[serde(rename = "_debug_render_only")]
    render_only: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Generate {
    #[serde(flatten)]
    common: Common,
    prompt: Option<String>,
    suffix: Option<String>,
    system: Option<String>,
    template: Option<String>,
    context: Option<Vec<i64>>,
    raw: Option<bool>,
    images: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Chat {
    #[serde(flatten)]
    common: Common,
    messages: Option<Vec<Message>>,
    tools: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    role: String,
    content: Option<String>,
    thinking: Option<String>,
    tool_calls: Option<Vec<Value>>,
    images: Option<Vec<String>>,
}

pub async fn generate(core: State<Arc<Core>>, link: ConnectInfo<Link>, body: Bytes) -> Response {
    core.tally.note("/api/generate", &body);
    let asked = read::<Generate>(&body).and_then(generate_ask);
    respond(core.0, link.0, asked).await
}

pub async fn chat(core: State<Arc<Core>>, link: ConnectInfo<Link>, body: Bytes) -> Response {
    core.tally.note("/api/chat", &body);
    let asked = read::<Chat>(&body).and_then(|chat| chat_ask(&core, chat));
    respond(core.0, link.0, asked).await
}

/// What a request turned out to want.
enum Wants {
    Answer(Box<Ask>),
    /// Nothing was asked: the model is loaded, or unloaded.
    Load(Box<Ask>),
    Render(Box<Ask>),
}

async fn respond(core: Arc<Core>, link: Link, asked: Result<Wants, Refusal>) -> Response {
    match asked {
        Ok(Wants::Answer(ask)) => run::answer(core, link, *ask).await,
        Ok(Wants::Load(ask)) => load(&core, *ask).await.unwrap_or_else(|refusal| refuse(&refusal)),
        Ok(Wants::Render(ask)) => match core.models.find(&ask.model) {
            Some(_) => render(&ask),
            None => refuse(&Refusal::missing(&ask.model)),
        },
        Err(refusal) => refuse(&refusal),
    }
}

fn generate_ask(request: Generate) -> Result<Wants, Refusal> {
    let prompt = request.prompt.unwrap_or_default();
    let raw = request.raw.unwrap_or(false);
    if raw && (request.template.is_some() || request.system.is_some() || request.context.is_some()) {
        return Err(Refusal::bad("raw mode does not support template, system, or context"));
    }
    mistakes::template(request.template.as_deref())?;
    mistakes::context(request.context.as_deref())?;
    let empty = prompt.is_empty();
    let prompt = if raw {
        Prompt::raw(&prompt)
    } else {
        let system = request.system.filter(|system| !system.is_empty());
        let system = system.map(|system| Turn::new("system", system));
        let turns: Vec<_> = system.into_iter().chain([Turn::new("user", prompt)]).collect();
        Prompt::chat(&turns, &[], Style { continues: false, continues_thoughts: false, marks: false })
    };
    let mut needs = vec!["completion"];
    needs.extend(request.suffix.filter(|suffix| !suffix.is_empty()).map(|_| "insert"));
    needs.extend(request.images.filter(|images| !images.is_empty()).map(|_| "vision"));
    let render = request.common.render_only == Some(true);
    let tools = prompt.tools;
    let mut ask = common_ask(request.common, prompt, needs, |voice| voice.context = !raw)?;
    (ask.raw, ask.tools) = (raw, raw && tools);
    Ok(wants(ask, empty, render))
}

fn chat_ask(core: &Core, request: Chat) -> Result<Wants, Refusal> {
    let messages = request.messages.unwrap_or_default();
    if request.common.model.as_deref().unwrap_or_default().is_empty() {
        return Err(Refusal::bad("model is required"));
    }
    let mut needs = vec!["completion"];
    if messages.iter().any(|message| message.images.as_ref().is_some_and(|images| !images.is_empty())) {
        needs.push("vision");
    }
    let tools = request.tools.unwrap_or_default();
    if !tools.is_empty() {
        needs.push("tools");
    }
    let turn = |message: &Message| Turn {
        thinking: message.thinking.clone().unwrap_or_default(),
        calls: message.tool_calls.clone().unwrap_or_default(),
        ..Turn::new(&message.role, message.content.clone().unwrap_or_default())
    };
    let turns: Vec<_> = messages.iter().map(turn).collect();
    let prompt = Prompt::chat(&turns, &tools, core.script().style(Api::Ollama));
    let render = request.common.render_only == Some(true);
    let mut ask = common_ask(request.common, prompt, needs, |voice| voice.chat = true)?;
    ask.tools = !tools.is_empty();
    // A model that can think does so unless it is told not to.
    let thinks = core.models.find(&ask.model).is_some_and(|model| model.can("thinking"));
    ask.think = ask.think && thinks;
    Ok(wants(ask, messages.is_empty(), render))
}

fn wants(ask: Ask, empty: bool, render: bool) -> Wants {
    let ask = Box::new(ask);
    match (empty, render) {
        (true, _) => Wants::Load(ask),
        (false, true) => Wants::Render(ask),
        (false, false) => Wants::Answer(ask),
    }
}

fn common_ask(
    common: Common,
    prompt: Prompt,
    mut needs: Vec<&'static str>,
    shape: impl FnOnce(&mut OllamaVoice),
) -> Result<Ask, Refusal> {
    let model = common.model.unwrap_or_default();
    let think = match common.think.unwrap_or(Value::Null) {
        Value::Null => None,
        Value::Bool(think) => Some(think),
        Value::String(level) if ["low", "medium", "high", "max"].contains(&level.as_str()) => Some(true),
        other => {
            let levels = "must be \"high\", \"medium\", \"low\", \"max\", true, or false";
            return Err(Refusal::bad(format!("invalid think value: {other} ({levels})")));
        }
    };
    if think == Some(true) {
        needs.push("thinking");
    }
    let options = common.options.unwrap_or_default();
    mistakes::option(&options)?;
    let mut voice = OllamaVoice {
        chat: false,
        model: model.clone(),
        logprobs: common.logprobs == Some(true),
        top_logprobs: common.top_logprobs.unwrap_or(0),
        context: false,
        newer: common.newer == Some(true),
    };
    shape(&mut voice);
    Ok(Ask {
        prompt,
        limit: limit(&options)?,
        stop: stop(&options)?,
        json: wants_json(common.format)?,
        tools: false,
        raw: false,
        think: think.unwrap_or(voice.chat),
        needs,
        stream: common.stream.unwrap_or(true),
        load_options: Some(load_options(&options)),
        keep: keep(common.keep_alive)?,
        model,
        voice: Box::new(voice),
    })
}

fn wants_json(format: Option<Value>) -> Result<bool, Refusal> {
    match format {
        None | Some(Value::Null) => Ok(false),
        Some(Value::String(format)) if format.is_empty() => Ok(false),
        Some(Value::String(format)) if format == "json" => Ok(true),
        Some(Value::Object(_)) => Ok(true),
        Some(other) => Err(Refusal::broken(format!(
            "invalid format: {other}; expected \"json\" or a valid JSON Schema object"
        ))),
    }
}

/// `num_predict`: negative and zero are no limit.
fn limit(options: &Map<String, Value>) -> Result<Option<u64>, Refusal> {
    match options.get("num_predict") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) if number >= 1.0 => Ok(Some(number as u64)),
            Some(_) => Ok(None),
            None => Err(Refusal::broken("option \"num_predict\" must be of type integer")),
        },
    }
}

fn stop(options: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let stop = options.get("stop").cloned().unwrap_or(Value::Null);
    let stop: Option<Vec<String>> =
        serde_json::from_value(stop).map_err(|_| Refusal::broken("option \"stop\" must be of type array"))?;
    Ok(stop.unwrap_or_default())
}

pub fn load_options(options: &Map<String, Value>) -> Map<String, Value> {
    let named = options.iter().filter(|(name, _)| LOAD_OPTIONS.contains(&name.as_str()));
    named.map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub fn keep(value: Option<Value>) -> Result<Option<Keep>, Refusal> {
    let value = value.filter(|value| !value.is_null());
    value.map(|value| keep_alive(&value).map_err(Refusal::bad)).transpose()
}

/// Loads or unloads: one plain object, streaming or not.
async fn load(core: &Arc<Core>, ask: Ask) -> Result<Response, Refusal> {
    let model = core.models.find(&ask.model).ok_or_else(|| Refusal::missing(&ask.model))?;
    let unload = ask.keep == Some(Keep::For(std::time::Duration::ZERO));
    if unload {
        core.unload(&model.name);
    } else if let Some(rig) = &core.rig {
        let seat = rig.enter(&model.name, Vec::new(), Vec::new());
        seat.ok_or_else(|| Refusal::missing(&model.name))?.slotted().await;
    } else {
        let script = core.script();
        let want = Load {
            options: ask.load_options,
            keep: ask.keep,
            delay: script.load_delay,
            queue_limit: script.queue_limit,
        };
        drop(core.models.lend(&model.name, want).await?);
    }
    let reason = if unload { "unload" } else { "load" };
    let totals = ask::Totals { reason, ..ask::Totals::default() };
    let mut reply = ask.voice.whole(&totals, &ask::Whole::default());
    if let Some(fields) = reply.as_object_mut() {
        fields.remove("context");
    }
    Ok(ask::json(StatusCode::OK, &reply))
}

fn render(ask: &Ask) -> Response {
    let now = rfc3339(SystemTime::now());
    let info = json!({"rendered_template": ask.prompt.rendered});
    ask::json(StatusCode::OK, &json!({"model": ask.model, "created_at": now, "_debug_info": info}))
}

/// A body as Ollama reads it, whatever its content type says.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    if body.is_empty() {
        return Err(Refusal::bad("missing request body"));
    }
    serde_json::from_slice(body).map_err(|error| Refusal::bad(error.to_string()))
}
