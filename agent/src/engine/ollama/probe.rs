//! What an Ollama server says of itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use echo_bus::message::{Capability, Model};
use echo_bus::model_name::ModelName;
use serde_json::{Map, Value, json};

use crate::engine::contract::{Down, Found, Probe, RUNNING, Sign};
use crate::engine::http::{Http, HttpError};

/// What each model can do, by its digest, for servers whose list does not say; and which models were there last.
#[derive(Default)]
pub struct Skills(Mutex<Known>);

#[derive(Default)]
struct Known {
    skills: HashMap<String, Vec<Capability>>,
    digests: Vec<(String, String)>,
}

/// Asks for version, models and what is loaded; also says whether the models are others than before.
pub async fn ask(http: &Http, skills: &Skills) -> Result<(Probe, bool), Down> {
    let (version, tags, ps) =
        tokio::try_join!(http.get("/api/version"), http.get("/api/tags"), http.get("/api/ps"))
            .map_err(|error| http.down(error))?;
    let mut models = found(&tags, &loaded(&ps)).ok_or_else(|| {
        let reason = format!("what answers at {} is no Ollama: it has no list of models", http.base());
        Down { reason, slow: false }
    })?;
    for found in &mut models {
        if found.model.capabilities.is_empty() {
            found.model.capabilities = skills.of(http, found).await;
        }
    }
    let changed = skills.note(&models);
    let version = version["version"].as_str().unwrap_or_default().to_owned();
    Ok((Probe { version, slots: None, models }, changed))
}

/// Whether the model is in memory. One that is being loaded is listed too.
pub async fn sign(http: &Http, model: &str) -> Sign {
    match http.get("/api/ps").await {
        Ok(ps) if loaded(&ps).contains_key(&ModelName::of(model)) => Sign::Answers,
        Ok(_) => Sign::Loading,
        Err(HttpError::Rejected(_)) => Sign::Answers,
        Err(_) => Sign::Mute,
    }
}

/// The loaded models, and what is said of them only while they are. Their `size` here is that in memory, of which
/// `size_vram` is a part; the list of all models has the file's.
pub fn loaded(ps: &Value) -> HashMap<ModelName, Value> {
    let models = ps["models"].as_array().into_iter().flatten().filter_map(Value::as_object);
    let describe = |model: &Map<String, Value>| {
        let name = ModelName::of(model.get("name").or_else(|| model.get("model"))?.as_str()?);
        let mut running = model.clone();
        running.retain(|field, _| !["name", "model", "digest", "details"].contains(&field.as_str()));
        Some((name, running.into()))
    };
    models.filter_map(describe).collect()
}

pub fn found(tags: &Value, loaded: &HashMap<ModelName, Value>) -> Option<Vec<Found>> {
    let describe = |entry: &Value| {
        let mut extra = entry.as_object()?.clone();
        let engine_name = extra.get("name").or_else(|| extra.get("model"))?.as_str()?.to_owned();
        let name = ModelName::of(&engine_name);
        let size = extra.get("size").and_then(Value::as_u64).unwrap_or_default();
        let capabilities = capabilities(extra.get("capabilities"));
        for field in ["name", "model", "size", "capabilities"] {
            extra.remove(field);
        }
        let running = loaded.get(&name);
        if let Some(running) = running.filter(|running| **running != json!({})) {
            extra.insert(RUNNING.to_owned(), running.clone());
        }
        let loaded = running.is_some();
        let number = |field: &str| running.and_then(|running| running[field].as_u64());
        let (context_length, memory) = (number("context_length"), number("size").unwrap_or_default());
        Some(Found {
            engine_name,
            model: Model {
                name: name.into(),
                size,
                loaded,
                capabilities,
                context_length,
                memory,
                extra,
                ..Model::default()
            },
        })
    };
    match &tags["models"] {
        Value::Array(models) => Some(models.iter().filter_map(describe).collect()),
        // What a server without a model says.
        Value::Null if tags.as_object().is_some_and(|tags| tags.contains_key("models")) => Some(Vec::new()),
        _ => None,
    }
}

fn capabilities(list: Option<&Value>) -> Vec<Capability> {
    let words = list.and_then(Value::as_array).into_iter().flatten();
    words.filter_map(|word| word.as_str().map(Capability::from)).collect()
}

fn digest(extra: &Map<String, Value>) -> &str {
    extra.get("digest").and_then(Value::as_str).unwrap_or_default()
}

impl Skills {
    async fn of(&self, http: &Http, found: &Found) -> Vec<Capability> {
        let id = format!("{}@{}", found.engine_name, digest(&found.model.extra));
        if let Some(known) = self.known().skills.get(&id) {
            return known.clone();
        }
        let Ok(shown) = http.ask_with("/api/show", &json!({"model": found.engine_name})).await else {
            return Vec::new();
        };
        let skills = capabilities(shown.get("capabilities"));
        self.known().skills.insert(id, skills.clone());
        skills
    }

    pub fn note(&self, models: &[Found]) -> bool {
        let id = |found: &Found| (found.engine_name.clone(), digest(&found.model.extra).to_owned());
        let digests: Vec<_> = models.iter().map(id).collect();
        let mut known = self.known();
        if known.digests == digests {
            return false;
        }
        known.skills.retain(|id, _| digests.iter().any(|(name, digest)| *id == format!("{name}@{digest}")));
        known.digests = digests;
        true
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn models_are_described_with_their_tags() {
        let running = json!({"name": "mistral:latest", "size": 9, "size_vram": 1, "context_length": 4096});
        let ps = json!({"models": [running]});
        let tags = json!({"models": [
            {"name": "mistral:latest", "model": "mistral:latest", "size": 5, "digest": "d", "details": {"family": "x"},
             "capabilities": ["completion", "tools"]},
            {"name": "phi:3b", "digest": "e"}, {"nameless": 1}, 7]});
        let models = found(&tags, &loaded(&ps)).unwrap();
        assert_eq!(models.len(), 2);
        let model = &models[0].model;
        assert!(model.loaded && model.can(&Capability::Tools) && model.size == 5);
        assert_eq!((model.context_length, models[1].model.context_length), (Some(4096), None));
        assert_eq!((model.memory, models[1].model.memory), (9, 0));
        assert_eq!(
            Value::from(model.extra.clone()),
            json!({"digest": "d", "details": {"family": "x"},
                "running": {"size": 9, "size_vram": 1, "context_length": 4096}})
        );
        assert!(!models[1].model.loaded);
        assert_eq!(found(&json!({"models": null}), &HashMap::new()), Some(Vec::new()));
        assert_eq!(found(&json!({"object": "list"}), &HashMap::new()), None);
    }

    #[test]
    fn other_models_are_noticed() {
        let skills = Skills::default();
        let models = |digest: &str| {
            found(&json!({"models": [{"name": "m", "digest": digest}]}), &HashMap::new()).unwrap()
        };
        assert!(skills.note(&models("a")) && !skills.note(&models("a")) && skills.note(&models("b")));
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_readers_panic(text in "[\\[\\]{}\":,a-z0-9 ]{0,60}|\\{\"models\":[^\"]{0,20}\\}") {
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            let _ = found(&value, &loaded(&value));
        }
    }
}
