//! What llama.cpp's server tells about itself: health, slots, properties, models, template and tokens.

use std::sync::Arc;

use axum::{body::Bytes, extract::State, http::StatusCode, response::Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ask::{self, Refusal},
    clock::unix,
    core::Core,
    models::Phase,
    ollama::read,
    openai::{Message, loading, served},
    openai_voice::refuse,
    script::{Api, Model},
    template::{self, Prompt},
};

const VOCABULARY: u64 = 49_152;

fn ok(value: &Value) -> Response {
    ask::json(StatusCode::OK, value)
}

/// The first model, as the server has only one, unless it is still loading. Only llama.cpp says more of itself.
fn ready(core: &Core) -> Result<Model, Refusal> {
    if !core.script().is_llama_cpp() {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "Not Found"));
    }
    let model = core.models.all().into_iter().next().ok_or_else(loading)?;
    served(core, Some(&model.name))
}

pub async fn health(core: State<Arc<Core>>) -> Response {
    match ready(&core) {
        Ok(_) => ok(&json!({"status": "ok"})),
        Err(refusal) => refuse(&refusal),
    }
}

pub async fn models(core: State<Arc<Core>>) -> Response {
    let models = core.models.all();
    if models.iter().any(|model| core.models.phase(&model.name) == Phase::Loading) {
        return refuse(&loading());
    }
    let script = core.script();
    let data = models.iter().map(|model| {
        if script.plain {
            return json!({"id": model.name, "object": "model", "owned_by": "somebody"});
        }
        if let Some(length) = script.max_model_len {
            return json!({"id": model.name, "object": "model", "owned_by": "vllm", "max_model_len": length});
        }
        json!({"id": model.name, "object": "model", "created": unix(), "owned_by": "llamacpp",
            "meta": {"n_vocab": VOCABULARY, "n_ctx_train": model.context, "n_embd": 576,
                "n_params": 134_515_008, "size": model.size, "vocab_type": 2}})
    });
    let listed = models.iter().map(|model| {
        json!({"name": model.name, "model": model.name, "capabilities": model.capabilities, "type": "model",
            "details": {"format": "gguf"}})
    });
    let (data, listed): (Vec<_>, Vec<_>) = (data.collect(), listed.collect());
    if !script.is_llama_cpp() {
        return ok(&json!({"object": "list", "data": data}));
    }
    ok(&json!({"object": "list", "data": data, "models": listed}))
}

pub async fn slots(core: State<Arc<Core>>) -> Response {
    let model = match ready(&core) {
        Ok(model) => model,
        Err(refusal) => return refuse(&refusal),
    };
    let (slots, counters) = (core.script().slots, core.tally.counters());
    let context = model.context / slots.max(1) as u64;
    let slots = (0..slots).map(|id| {
        let busy = (id as u64) < counters.running;
        json!({"id": id, "n_ctx": context, "speculative": false, "is_processing": busy})
    });
    ok(&Value::from(slots.collect::<Vec<_>>()))
}

pub async fn props(core: State<Arc<Core>>) -> Response {
    let model = match ready(&core) {
        Ok(model) => model,
        Err(refusal) => return refuse(&refusal),
    };
    let slots = core.script().slots;
    let context = model.context / slots.max(1) as u64;
    // A template that can leave thoughts out names its switch.
    let switch = if model.can("thinking") { "{#- enable_thinking #}" } else { "" };
    let source = format!("{}{switch}", template::SOURCE);
    ok(&json!({"default_generation_settings": {"params": {"n_predict": -1}, "n_ctx": context},
        "total_slots": slots, "model_alias": model.name, "model_path": format!("{}.gguf", model.name),
        "modalities": {"vision": model.can("vision"), "audio": false},
        "chat_template_caps": {"supports_tools": model.can("tools"), "supports_tool_calls": model.can("tools")},
        "chat_template": source, "bos_token": "", "eos_token": "<|end|>",
        "build_info": "b1-scripted", "is_sleeping": false}))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Messages {
    messages: Vec<Message>,
    tools: Vec<Value>,
}

pub async fn apply_template(core: State<Arc<Core>>, body: Bytes) -> Response {
    match read::<Messages>(&body) {
        Ok(request) => {
            let turns: Vec<_> = request.messages.iter().map(Message::turn).collect();
            let style = core.script().style(Api::Openai);
            ok(&json!({"prompt": Prompt::chat(&turns, &request.tools, style).rendered}))
        }
        Err(refusal) => refuse(&refusal),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    content: String,
}

pub async fn tokenize(body: Bytes) -> Response {
    let content = match read::<Content>(&body) {
        Ok(request) => request.content,
        Err(refusal) => return refuse(&refusal),
    };
    let number = |word: &str| word.bytes().fold(7_u64, |sum, byte| (sum * 31 + u64::from(byte)) % VOCABULARY);
    let words = content.split_whitespace();
    let tokens =
        words.flat_map(|word| vec![number(word); usize::try_from(template::tokens(word)).unwrap_or(1)]);
    ok(&json!({"tokens": tokens.collect::<Vec<_>>()}))
}

pub async fn root() -> axum::response::Html<&'static str> {
    axum::response::Html("<!doctype html><title>llama.cpp</title>")
}

pub async fn unknown() -> Response {
    refuse(&Refusal::new(StatusCode::NOT_FOUND, "File Not Found"))
}
