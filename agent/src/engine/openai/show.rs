//! What can be said of a model of a server with OpenAI's API, in the shape of Ollama's `/api/show`.

use echo_bus::message::{Capability, Code, Failure};
use serde_json::{Map, Value, json};

use super::probe::{self, Facts};
use crate::engine::http::Http;

/// What stands for the architecture that no such server names. Clients put it before the name of another field, so that
/// it cannot be left out.
const UNKNOWN: &str = "unknown";

/// A time that nobody knows, as Ollama writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A description of a model: no more than the server says.
///
/// # Errors
/// When the engine cannot be asked or does not have the model.
pub async fn show(http: &Http, facts: &Facts, model: &str) -> Result<Value, Failure> {
    let models = http.get("/v1/models").await.map_err(|error| http.failure(error))?;
    described(&models, facts, model)
        .map(with_parameters)
        .ok_or_else(|| Failure::elsewhere(Code::ModelMissing, "the engine does not have the model any more"))
}

/// An editor that sends a length of its own takes it from the parameters, a text with a line for each.
pub fn with_parameters(mut shown: Value) -> Value {
    let inside = &shown["model_info"];
    let family = inside["general.architecture"].as_str().unwrap_or(UNKNOWN);
    if let Some(length) = inside[&format!("{family}.context_length")].as_u64() {
        shown["parameters"] = format!("num_ctx {length}").into();
    }
    shown
}

pub fn described(models: &Value, facts: &Facts, engine_name: &str) -> Option<Value> {
    let found = probe::found(models, facts)?.into_iter().find(|found| found.engine_name == engine_name)?;
    let entry = probe::entry(models, engine_name);
    let family = family(models, engine_name);
    let mut details = match found.model.extra.get("details") {
        Some(Value::Object(details)) => details.clone(),
        _ => Map::new(),
    };
    // Some readers have no default for a field that is missing.
    for name in ["format", "parameter_size", "quantization_level"] {
        details.entry(name).or_insert_with(|| "".into());
    }
    details.insert("family".to_owned(), family.into());
    details.insert("families".to_owned(), json!([family]));
    // Who says nothing is taken to generate, here as in the choice among nodes.
    let capabilities = match found.model.capabilities {
        none if none.is_empty() => vec![Capability::Completion],
        some => some,
    };
    let insides = insides(entry, family, facts);
    Some(
        json!({"details": details, "model_info": insides, "capabilities": capabilities, "modified_at": NEVER}),
    )
}

/// llama.cpp lists its models in Ollama's words too, and has a field for it there.
fn family<'a>(models: &'a Value, engine_name: &str) -> &'a str {
    let listed = models["models"].as_array().into_iter().flatten();
    let said =
        listed.filter(|listed| listed["name"] == engine_name).find_map(|it| it["details"]["family"].as_str());
    said.filter(|family| !family.is_empty()).unwrap_or(UNKNOWN)
}

/// A model's insides, under Ollama's names. The length is what one conversation may have here: what the model was trained
/// with would be more than a slot of this server takes.
fn insides(entry: &Value, family: &str, facts: &Facts) -> Map<String, Value> {
    let mut insides = Map::new();
    insides.insert("general.architecture".to_owned(), family.into());
    // An editor shows its user this name.
    insides.insert("general.basename".to_owned(), entry["id"].clone());
    if let Some(count) = entry["meta"]["n_params"].as_u64() {
        insides.insert("general.parameter_count".to_owned(), count.into());
    }
    if let Some(length) = facts.context(entry) {
        insides.insert(format!("{family}.context_length"), length.into());
    }
    if let Some(size) = entry["meta"]["n_embd"].as_u64() {
        insides.insert(format!("{family}.embedding_length"), size.into());
    }
    insides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_one_slot_and_not_what_the_model_was_trained_with() {
        let models = json!({"data": [{"id": "m", "meta": {"n_params": 5, "n_ctx_train": 8192, "n_embd": 576}}],
            "models": [{"name": "m", "details": {"family": ""}}]});
        let props = json!({"default_generation_settings": {"n_ctx": 2048}, "total_slots": 2});
        let shown = described(&models, &Facts::llama(props), "m").unwrap();
        assert_eq!(
            shown,
            json!({"modified_at": NEVER, "details": {"format": "gguf", "quantization_level": "", "parameter_size": "0.00M", "family": "unknown", "families": ["unknown"]},
                "model_info": {"general.architecture": "unknown", "general.basename": "m", "general.parameter_count": 5,
                    "unknown.context_length": 2048, "unknown.embedding_length": 576},
                "capabilities": ["completion"]})
        );
        let named = json!({"data": [{"id": "m"}], "models": [{"name": "m", "details": {"family": "qwen3"}}]});
        assert_eq!(
            described(&named, &Facts::default(), "m").unwrap()["model_info"]["general.architecture"],
            "qwen3"
        );
    }

    #[test]
    fn the_length_is_a_parameter_too_where_it_is_known() {
        let inside = json!({"general.architecture": "qwen3", "qwen3.context_length": 2048});
        assert_eq!(with_parameters(json!({"model_info": inside}))["parameters"], "num_ctx 2048");
        assert!(with_parameters(json!({"model_info": {}})).get("parameters").is_none());
    }

    #[test]
    fn a_server_that_says_a_length_is_believed_and_what_nobody_says_is_left_out() {
        let models = json!({"data": [{"id": "a", "max_model_len": 4096}, {"id": "b", "max_model_len": "x"}]});
        let info = |model: &str| described(&models, &Facts::default(), model).unwrap()["model_info"].clone();
        assert_eq!(
            info("a"),
            json!({"general.architecture": "unknown", "general.basename": "a", "unknown.context_length": 4096})
        );
        assert_eq!(info("b"), json!({"general.architecture": "unknown", "general.basename": "b"}));
        assert!(described(&models, &Facts::default(), "c").is_none());
        assert!(described(&Value::Null, &Facts::default(), "a").is_none());
    }
}
