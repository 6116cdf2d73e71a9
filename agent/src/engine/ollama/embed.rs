//! Ollama's two answers with vectors, in one neutral shape.

use echo_bus::message::{Done, Failure, Timings};
use serde_json::{Map, Value, json};

use crate::engine::steps::nonsense;

/// Fields that have a place of their own.
const KNOWN: [&str; 14] = [
    "model",
    "created_at",
    "message",
    "response",
    "thinking",
    "logprobs",
    "done",
    "done_reason",
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
];

/// The answer of /api/embed.
///
/// # Errors
/// When it holds no vectors.
pub fn embedded(answer: Value, model: &str) -> Result<Done, Failure> {
    let Some(answer) = answer.as_object() else { return Err(nonsense("embeddings that are no object")) };
    let vectors = answer.get("embeddings").filter(|vectors| vectors.is_array());
    let vectors = vectors.ok_or_else(|| nonsense("embeddings without vectors"))?;
    let tokens = answer.get("prompt_eval_count").and_then(Value::as_u64);
    let body =
        json!({"embeddings": vectors, "model": model, "prompt_eval_count": tokens.unwrap_or_default()});
    let extra = beyond(answer, "embeddings");
    Ok(Done { prompt_tokens: tokens, timings: timings(answer), body: Some(body), extra, ..Done::default() })
}

/// The answer of /api/embeddings: one vector, in the same neutral shape.
///
/// # Errors
/// When it holds none.
pub fn embedded_one(answer: &Value, model: &str) -> Result<Done, Failure> {
    let vector = answer.get("embedding").filter(|vector| vector.is_array());
    let vector = vector.ok_or_else(|| nonsense("an embedding without a vector"))?;
    let none = vector.as_array().is_some_and(Vec::is_empty);
    let vectors = if none { json!([]) } else { json!([vector]) };
    let body = json!({"embeddings": vectors, "model": model, "prompt_eval_count": 0});
    let extra = answer.as_object().map(|answer| beyond(answer, "embedding")).unwrap_or_default();
    Ok(Done { body: Some(body), extra, ..Done::default() })
}

/// What an answer says beside its vectors and what is known.
fn beyond(answer: &Map<String, Value>, vectors: &str) -> Map<String, Value> {
    let extra = answer.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str()) && *name != vectors);
    extra.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn timings(last: &Map<String, Value>) -> Timings {
    let ns = |name: &str| last.get(name).and_then(Value::as_u64).unwrap_or_default();
    Timings {
        total_ns: ns("total_duration"),
        load_ns: ns("load_duration"),
        prompt_ns: ns("prompt_eval_duration"),
        eval_ns: ns("eval_duration"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_have_one_neutral_shape() {
        let answer =
            json!({"model": "x", "embeddings": [[1.0]], "total_duration": 5, "prompt_eval_count": 2});
        let done = embedded(answer, "m").unwrap();
        assert_eq!(done.body.unwrap(), json!({"embeddings": [[1.0]], "model": "m", "prompt_eval_count": 2}));
        assert!(embedded(json!({}), "m").is_err() && embedded(json!(3), "m").is_err());
        let done = embedded_one(&json!({"embedding": [2.0]}), "m").unwrap();
        assert_eq!(done.body.unwrap()["embeddings"], json!([[2.0]]));
        assert!(embedded_one(&json!({}), "m").is_err());
    }
}
