//! What a server with OpenAI's API says of itself: /v1/models, and llama.cpp's /props and /slots where they are there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use echo_bus::message::{Capability, Model};
use echo_bus::model_name::ModelName;
use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use crate::engine::contract::{Down, Found, Probe, RUNNING, Sign};
use crate::engine::http::{Http, HttpError};

/// For errors about the engine itself.
type Asked = Result<Value, HttpError>;

/// Fields in which servers say how many tokens one conversation may have: vLLM's, and others' by the same API.
const LENGTHS: [&str; 3] = ["max_model_len", "context_length", "context_window"];

/// When a model leaves the memory of a server that keeps it: as Ollama writes a time that never comes.
const FOREVER: &str = "2318-01-01T00:00:00Z";

/// What was learned of the server.
#[derive(Default)]
pub struct Known(Mutex<Facts>);

/// What a server says or has shown beside its models.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    dialect: Dialect,
    /// llama.cpp's /props; null elsewhere.
    props: Value,
    /// It has made a vector when it was asked to.
    embeds: bool,
    /// It makes vectors and nothing else: it has refused to make a token.
    only_embeds: bool,
    /// The models that the above was learned with.
    models: Vec<String>,
    has_slots: bool,
}

impl Facts {
    /// Tokens that one conversation with a model may have: what one slot has room for, since llama.cpp shares its context
    /// out over them, or what the server's list says.
    pub fn context(&self, entry: &Value) -> Option<u64> {
        let slot = self.props["default_generation_settings"]["n_ctx"].as_u64();
        let said = LENGTHS.iter().find_map(|name| entry[*name].as_u64());
        slot.or(said).filter(|length| *length > 0)
    }

    #[cfg(test)]
    pub fn llama(props: Value) -> Self {
        Self { dialect: Dialect::LlamaCpp, props, ..Self::default() }
    }
}

/// Asks for models, slots and abilities; also says whether the models are others than before.
pub async fn ask(http: &Http, known: &Known) -> Result<(Probe, bool), Down> {
    let models = http.get("/v1/models").await.map_err(|error| down(http, error))?;
    let ids: Vec<String> = ids(&models).ok_or_else(|| nonsense(http))?;
    let (props, slots) = tokio::join!(http.get("/props"), http.get("/slots"));
    let mut facts = known.facts();
    let changed = facts.models != ids || props.as_ref().is_ok_and(|props| is_another(props, &facts.props));
    facts.dialect = dialect(&models, &props);
    facts.has_slots = matches!(&slots, Ok(Value::Array(_)));
    facts.props = props.unwrap_or_default();
    if changed {
        facts.embeds = facts.dialect == Dialect::LlamaCpp && embeds(http, &ids).await;
        facts.only_embeds = facts.embeds && refuses_to_speak(http, &ids).await;
        facts.models = ids;
    }
    let probe = Probe {
        version: version(&facts),
        slots: count(&facts.props, &slots),
        models: found(&models, &facts).ok_or_else(|| nonsense(http))?,
    };
    *known.lock() = facts;
    Ok((probe, changed))
}

/// Looks whether work goes on.
pub async fn sign(http: &Http, known: &Known) -> Sign {
    let facts = known.facts();
    let path = if facts.has_slots { "/slots" } else { "/v1/models" };
    match http.get(path).await {
        Ok(slots) if facts.has_slots => work(&slots),
        Ok(_) => Sign::Answers,
        Err(error) if is_loading(&error) => Sign::Loading,
        Err(HttpError::Rejected(_)) => Sign::Answers,
        Err(_) => Sign::Mute,
    }
}

/// llama.cpp answers 503 to everything until its model is loaded.
pub fn is_loading(error: &HttpError) -> bool {
    let HttpError::Rejected(it) = error else { return false };
    it.status == StatusCode::SERVICE_UNAVAILABLE && it.reason.contains("Loading model")
}

fn down(http: &Http, error: HttpError) -> Down {
    if is_loading(&error) {
        return Down { reason: "the engine is loading its model".to_owned(), slow: false };
    }
    http.down(error)
}

fn nonsense(http: &Http) -> Down {
    let reason = format!("what answers at {} has no list of models: is it an OpenAI API?", http.base());
    Down { reason, slow: false }
}

pub fn dialect(models: &Value, props: &Asked) -> Dialect {
    let owner = models["data"][0]["owned_by"].as_str().unwrap_or_default();
    match props {
        Ok(props) if props.get("default_generation_settings").is_some() => Dialect::LlamaCpp,
        _ if owner == "vllm" => Dialect::Vllm,
        _ => Dialect::Plain,
    }
}

/// Whether a server has come back with another model, template or version under the names that it had.
fn is_another(now: &Value, before: &Value) -> bool {
    ["chat_template", "model_path", "build_info"].iter().any(|name| now[*name] != before[*name])
}

fn version(facts: &Facts) -> String {
    facts.props["build_info"].as_str().unwrap_or_default().to_owned()
}

pub fn count(props: &Value, slots: &Asked) -> Option<u32> {
    let listed = slots.as_ref().ok().and_then(Value::as_array).map(|slots| slots.len() as u64);
    let count = props["total_slots"].as_u64().or(listed).filter(|count| *count > 0)?;
    u32::try_from(count).ok()
}

/// Whether the server makes vectors. It does not say, so it is asked for one, once.
async fn embeds(http: &Http, models: &[String]) -> bool {
    let Some(model) = models.first() else { return false };
    let answer = http.ask_with("/v1/embeddings", &json!({"model": model, "input": "a"})).await;
    answer.is_ok_and(|answer| answer["data"][0]["embedding"].is_array())
}

/// Whether a server that makes vectors makes nothing else, as one for an embedding model does. It does not say that
/// either, so it is asked for one token.
async fn refuses_to_speak(http: &Http, models: &[String]) -> bool {
    let Some(model) = models.first() else { return false };
    let answer =
        http.ask_with("/v1/completions", &json!({"model": model, "prompt": "a", "max_tokens": 1})).await;
    matches!(&answer, Err(error @ HttpError::Rejected(_)) if !is_loading(error))
}

fn ids(models: &Value) -> Option<Vec<String>> {
    let list = models["data"].as_array()?;
    Some(list.iter().filter_map(|entry| entry["id"].as_str().map(str::to_owned)).collect())
}

/// What the server says of one model.
pub fn entry<'a>(models: &'a Value, engine_name: &str) -> &'a Value {
    let mut entries = models["data"].as_array().into_iter().flatten();
    entries.find(|entry| entry["id"] == engine_name).unwrap_or(&Value::Null)
}

/// The models in the mesh's words.
pub fn found(models: &Value, facts: &Facts) -> Option<Vec<Found>> {
    let describe = |engine_name: String| {
        let entry = entry(models, &engine_name);
        let model = Model {
            name: ModelName::of(&engine_name).into(),
            size: entry["meta"]["size"].as_u64().unwrap_or_default(),
            loaded: true,
            capabilities: capabilities(facts),
            extra: extra(entry, facts),
            ..Model::default()
        };
        Found { engine_name, model }
    };
    Some(ids(models)?.into_iter().map(describe).collect())
}

/// Only what the server says or has shown; empty where it says nothing.
fn capabilities(facts: &Facts) -> Vec<Capability> {
    if facts.dialect != Dialect::LlamaCpp {
        return Vec::new();
    }
    let props = &facts.props;
    let template = props["chat_template"].as_str().unwrap_or_default();
    let can = [
        (Capability::Completion, !facts.only_embeds),
        (Capability::Embedding, facts.embeds),
        (Capability::Vision, props["modalities"]["vision"] == true),
        (Capability::Tools, props["chat_template_caps"]["supports_tools"] == true),
        (Capability::Thinking, template.contains("enable_thinking")),
    ];
    can.into_iter().filter(|(_, can)| *can).map(|(it, _)| it).collect()
}

fn extra(entry: &Value, facts: &Facts) -> Map<String, Value> {
    let mut details = Map::new();
    if facts.dialect == Dialect::LlamaCpp {
        details.insert("format".into(), "gguf".into());
        if let Some(level) = entry["meta"]["ftype"].as_str().or(facts.props["model_ftype"].as_str()) {
            details.insert("quantization_level".into(), level.into());
        }
        if let Some(parameters) = entry["meta"]["n_params"].as_u64() {
            details.insert("parameter_size".into(), size_of(parameters).into());
        }
    }
    let mut extra = Map::new();
    let mut running = json!({"expires_at": FOREVER, "size_vram": 0});
    if let Some(length) = facts.context(entry) {
        running["context_length"] = length.into();
    }
    extra.insert(RUNNING.to_owned(), running);
    if !details.is_empty() {
        extra.insert("details".into(), details.into());
    }
    extra
}

/// As Ollama writes it: `134.52M`, `7.2B`.
fn size_of(parameters: u64) -> String {
    let number = parameters as f64;
    if number >= 1e9 { format!("{:.1}B", number / 1e9) } else { format!("{:.2}M", number / 1e6) }
}

/// How much has been done so far by the slots that work.
pub fn work(slots: &Value) -> Sign {
    let busy = slots.as_array().into_iter().flatten().filter(|slot| slot["is_processing"] == true);
    let done = busy.map(|slot| {
        let next = &slot["next_token"];
        let next = if next.is_array() { &next[0] } else { next };
        let count = |value: &Value| value.as_u64().unwrap_or_default();
        // Tasks that come and go must not look like work undone.
        let tasks = count(&slot["id_task"]).saturating_mul(1 << 32);
        tasks
            .saturating_add(count(&next["n_decoded"]))
            .saturating_add(count(&slot["n_prompt_tokens_processed"]))
    });
    done.reduce(u64::saturating_add).map_or(Sign::Idle, Sign::Works)
}

impl Known {
    pub fn facts(&self) -> Facts {
        self.lock().clone()
    }

    pub fn dialect(&self) -> Dialect {
        self.lock().dialect
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_model_is_described_by_what_llama_cpp_says() {
        let models = json!({"data": [{"id": "smollm2", "meta": {"size": 96, "n_params": 134515008, "ftype": "Q4_1"}}]});
        let props = json!({"modalities": {"vision": true}, "chat_template_caps": {"supports_tools": false}});
        let found = found(&models, &Facts::llama(props)).unwrap();
        let model = &found[0].model;
        assert_eq!((found[0].engine_name.as_str(), model.name.as_str()), ("smollm2", "smollm2:latest"));
        assert_eq!(
            (model.size, &model.capabilities[..]),
            (96, &[Capability::Completion, Capability::Vision][..])
        );
        assert_eq!(model.extra["details"]["parameter_size"], "134.52M");
    }

    #[test]
    fn an_unknown_server_is_not_credited_with_anything() {
        let models = json!({"data": [{"id": "a/b", "owned_by": "someone"}]});
        let model = &found(&models, &Facts::default()).unwrap()[0].model;
        assert!(
            model.capabilities.is_empty()
                && model.extra["running"].get("context_length").is_none()
                && model.can(&Capability::Completion)
        );
        assert!(found(&json!({"models": []}), &Facts::default()).is_none());
    }

    #[test]
    fn a_server_that_only_embeds_is_not_credited_with_speech() {
        let models = json!({"data": [{"id": "bge", "meta": {"n_params": 5}}]});
        let facts = Facts { embeds: true, only_embeds: true, ..Facts::llama(Value::Null) };
        let model = &found(&models, &facts).unwrap()[0].model;
        assert!(
            model.can(&Capability::Embedding) && !model.can(&Capability::Completion),
            "{:?}",
            model.capabilities
        );
    }

    #[test]
    fn slots_are_counted_from_either_place() {
        assert_eq!(count(&json!({"total_slots": 4}), &Ok(json!([{}]))), Some(4));
        assert_eq!(count(&Value::Null, &Ok(json!([{}, {}]))), Some(2));
        assert_eq!(count(&Value::Null, &Ok(json!([]))), None);
    }

    #[test]
    fn work_is_seen_and_idleness_too() {
        let slot = |decoded: u64| {
            json!([{"is_processing": false}, {"is_processing": true, "id_task": 1, "n_prompt_tokens_processed": 3,
                "next_token": [{"n_decoded": decoded}]}])
        };
        let (Sign::Works(before), Sign::Works(after)) = (work(&slot(1)), work(&slot(2))) else { panic!() };
        assert!(after > before);
        assert_eq!(work(&json!([{"is_processing": false}])), Sign::Idle);
        let most =
            json!([{"is_processing": true, "id_task": u64::MAX, "next_token": {"n_decoded": u64::MAX}}]);
        assert_eq!(work(&most), Sign::Works(u64::MAX));
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_readers_panic(text in "[\\[\\]{}\":,a-z0-9_ ]{0,60}|\\{\"data\":[^\"]{0,20}\\}|\\[\\{\"is_processing\":true,\"id_task\":[0-9]{1,19}\\}\\]") {
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            let _ = (found(&value, &Facts::llama(value.clone())), work(&value), count(&value, &Ok(value.clone())));
        }
    }
}
