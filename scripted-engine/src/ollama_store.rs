//! Ollama's routes about models: what there is, what is loaded, and pull and delete.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ask::{self, Refusal, reply},
    clock::rfc3339,
    core::Core,
    counted::Run,
    embedding,
    ollama::read,
    ollama_voice::refuse,
    script::{Model, Script, tagged},
    template,
};

const VERSION: &str = "0.33.0";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    model: Option<String>,
    /// The older name of the same field.
    name: Option<String>,
    stream: Option<bool>,
}

impl Named {
    fn model(self) -> String {
        self.model.or(self.name).unwrap_or_default()
    }
}

pub async fn root() -> &'static str {
    "Ollama is running"
}

pub async fn version() -> Json<Value> {
    Json(json!({"version": VERSION}))
}

pub async fn tags(core: State<Arc<Core>>) -> Json<Value> {
    let models: Vec<_> = core.models.all().iter().map(listed).collect();
    Json(json!({"models": models}))
}

pub async fn ps(core: State<Arc<Core>>) -> Json<Value> {
    let loaded = core.loaded();
    let models = loaded.iter().map(|loaded| {
        let model = &loaded.model;
        json!({"name": tagged(&model.name), "model": tagged(&model.name), "size": model.in_memory(),
            "digest": digest(&model.name), "details": details(model), "expires_at": rfc3339(loaded.expires),
            "size_vram": model.size, "context_length": loaded.context})
    });
    Json(json!({"models": models.collect::<Vec<_>>()}))
}

pub async fn show(core: State<Arc<Core>>, body: Bytes) -> Response {
    let name = match read::<Named>(&body) {
        Ok(request) => request.model(),
        Err(refusal) => return refuse(&refusal),
    };
    if name.is_empty() {
        return refuse(&Refusal::bad("model is required"));
    }
    let Some(model) = core.models.find(&name) else { return refuse(&Refusal::missing(&name)) };
    let family = &model.family;
    let info = json!({"general.architecture": family, "general.basename": model.name, format!("{family}.context_length"): model.context,
        format!("{family}.embedding_length"): embedding::DIMENSIONS});
    let shown = json!({"modelfile": format!("FROM {name}\n"), "parameters": "", "license": "Apache-2.0",
        "template": template::SOURCE, "details": details(&model), "model_info": info,
        "capabilities": model.capabilities, "modified_at": modified()});
    ask::json(StatusCode::OK, &shown)
}

pub async fn delete(core: State<Arc<Core>>, body: Bytes) -> Response {
    match read::<Named>(&body).map(Named::model) {
        Ok(name) if core.models.remove(&name) => StatusCode::OK.into_response(),
        Ok(name) => refuse(&Refusal::missing(&name)),
        Err(refusal) => refuse(&refusal),
    }
}

pub async fn pull(core: State<Arc<Core>>, body: Bytes) -> Response {
    core.tally.note("/api/pull", &body);
    let request = match read::<Named>(&body) {
        Ok(request) => request,
        Err(refusal) => return refuse(&refusal),
    };
    let stream = request.stream.unwrap_or(true);
    let name = request.model();
    if name.is_empty() {
        return refuse(&Refusal::bad("invalid model name"));
    }
    let pull = Pull::new(core.0, name);
    if stream {
        let lines = futures::stream::unfold(pull, |mut pull| async move {
            let line = pull.next().await?;
            Some((Ok::<_, std::io::Error>(Bytes::from(format!("{line}\n"))), pull))
        });
        return reply(StatusCode::OK, "application/x-ndjson", Body::from_stream(lines));
    }
    pull.whole().await
}

/// A download that is going on.
struct Pull {
    core: Arc<Core>,
    script: Arc<Script>,
    model: Model,
    run: Option<Run>,
    step: u64,
}

impl Pull {
    fn new(core: Arc<Core>, name: String) -> Self {
        let run = Some(Run::begin(&core.tally));
        Self { script: core.script(), core, model: Model::named(name), run, step: 0 }
    }

    /// The next line: manifest, progress, and the words that follow; `None` after success or an error.
    async fn next(&mut self) -> Option<Value> {
        let steps = self.script.pull_steps.max(1);
        let step = self.step;
        self.step += 1;
        if step == 0 {
            return Some(json!({"status": "pulling manifest"}));
        }
        self.run.as_ref()?;
        if let Some(error) = &self.script.pull_error {
            self.run.take()?.fail();
            return Some(json!({"error": error}));
        }
        if step <= steps {
            tokio::time::sleep(self.script.pull_delay).await;
            let digest = format!("sha256:{}", digest(&self.model.name));
            let completed = u128::from(self.model.size) * u128::from(step) / u128::from(steps);
            return Some(json!({"status": format!("pulling {}", &digest[7..19]), "digest": digest,
                "total": self.model.size, "completed": u64::try_from(completed).unwrap_or(u64::MAX)}));
        }
        let words = ["verifying sha256 digest", "writing manifest", "success"];
        let status = *words.get(usize::try_from(step - steps - 1).ok()?)?;
        if status == "success" {
            self.core.models.add(self.model.clone());
            self.run.take()?.finish();
        }
        Some(json!({"status": status}))
    }

    async fn whole(mut self) -> Response {
        let mut last = Value::Null;
        while let Some(line) = self.next().await {
            last = line;
        }
        match last.get("error").and_then(Value::as_str) {
            Some(error) => refuse(&Refusal::broken(error)),
            None => ask::json(StatusCode::OK, &last),
        }
    }
}

fn listed(model: &Model) -> Value {
    let name = tagged(&model.name);
    json!({"name": name, "model": name, "modified_at": modified(), "size": model.size,
        "digest": digest(&model.name), "details": details(model), "capabilities": model.capabilities})
}

fn details(model: &Model) -> Value {
    json!({"parent_model": "", "format": "gguf", "family": model.family, "families": [model.family],
        "parameter_size": model.parameter_size, "quantization_level": model.quantization})
}

/// Sixty-four hexadecimal digits that belong to the name.
fn digest(name: &str) -> String {
    let vector = embedding::vector(&tagged(name), 8);
    vector.iter().map(|x| format!("{:08x}", (x * f64::from(u32::MAX)) as u32)).collect()
}

fn modified() -> String {
    rfc3339(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_735_689_600))
}
