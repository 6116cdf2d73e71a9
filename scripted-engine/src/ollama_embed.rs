//! Ollama's two embedding routes.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    ask::{self, Refusal},
    core::Core,
    embedding::{DIMENSIONS, inputs, vector},
    models::Load,
    ollama::{keep, load_options, read},
    ollama_voice::{nanos, refuse},
    run,
    wire::Link,
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Embed {
    model: Option<String>,
    input: Option<Value>,
    prompt: Option<String>,
    dimensions: Option<i64>,
    truncate: Option<bool>,
    keep_alive: Option<Value>,
    options: Option<Map<String, Value>>,
    newer: Option<bool>,
}

pub async fn embed(core: State<Arc<Core>>, link: ConnectInfo<Link>, body: Bytes) -> Response {
    core.tally.note("/api/embed", &body);
    let embedded = async {
        let request: Embed = read(&body)?;
        let mut inputs = inputs(request.input.as_ref()).ok_or_else(|| Refusal::bad("invalid input type"))?;
        // An empty text alone is none.
        if request.input.as_ref().is_some_and(|input| input == "") {
            inputs.clear();
        }
        for input in &mut inputs {
            match core.script().embedding_limit {
                Some(limit) if input.split_whitespace().count() > limit => {
                    if request.truncate == Some(false) {
                        return Err(Refusal::bad("the input length exceeds the context length"));
                    }
                    *input = input.split_whitespace().take(limit).collect::<Vec<_>>().join(" ");
                }
                _ => {}
            }
        }
        let newer = request.newer;
        let (model, vectors, took) = vectors(&core, &link, request, &inputs).await?;
        let words: u64 = inputs.iter().map(|input| input.split_whitespace().count() as u64).sum();
        let took = nanos(took.elapsed()).max(1);
        let reply = json!({"model": model, "embeddings": vectors, "total_duration": took,
            "load_duration": took, "prompt_eval_count": words});
        Ok(ask::json(StatusCode::OK, &aged(reply, newer)))
    };
    embedded.await.unwrap_or_else(|refusal: Refusal| refuse(&refusal))
}

/// The older route: one prompt, one vector.
pub async fn embeddings(core: State<Arc<Core>>, link: ConnectInfo<Link>, body: Bytes) -> Response {
    core.tally.note("/api/embeddings", &body);
    let embedded = async {
        let request: Embed = read(&body)?;
        // An empty prompt loads the model and has no vector.
        let inputs: Vec<_> = request.prompt.clone().filter(|prompt| !prompt.is_empty()).into_iter().collect();
        let newer = request.newer;
        let (_, mut vectors, _) = vectors(&core, &link, request, &inputs).await?;
        let reply = json!({"embedding": vectors.pop().unwrap_or_default()});
        Ok(ask::json(StatusCode::OK, &aged(reply, newer)))
    };
    embedded.await.unwrap_or_else(|refusal: Refusal| refuse(&refusal))
}

/// With a field that nobody knows yet, where the request asks for one.
fn aged(mut reply: Value, newer: Option<bool>) -> Value {
    if newer == Some(true) {
        reply["mood"] = "fresh".into();
    }
    reply
}

async fn vectors(
    core: &Arc<Core>,
    link: &Link,
    request: Embed,
    inputs: &[String],
) -> Result<(String, Vec<Vec<f64>>, Instant), Refusal> {
    let began = Instant::now();
    let script = core.script();
    let model = request.model.unwrap_or_default();
    let want = Load {
        options: Some(load_options(&request.options.unwrap_or_default())),
        keep: keep(request.keep_alive)?,
        delay: script.load_delay,
        queue_limit: script.queue_limit,
    };
    let (run, _) = run::embed(core, link, &model, want).await?;
    let size = request.dimensions.and_then(|size| usize::try_from(size).ok());
    let size = size.filter(|size| *size > 0).unwrap_or(DIMENSIONS);
    let vectors = inputs.iter().map(|input| vector(input, size)).collect();
    run.finish();
    Ok((model, vectors, began))
}
