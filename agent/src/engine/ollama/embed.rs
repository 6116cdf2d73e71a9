//! Ollama's two answers with vectors, in one neutral shape.

use echo_bus::message::{Done, Failure, Timings, Vector};
use serde_json::{Map, Value};

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
pub fn embedded(answer: Value) -> Result<Done, Failure> {
    let Value::Object(mut answer) = answer else { return Err(nonsense("embeddings that are no object")) };
    let vectors = answer.remove("embeddings").and_then(|vectors| serde_json::from_value(vectors).ok());
    let vectors: Vec<Vector> = vectors.ok_or_else(|| nonsense("embeddings without vectors"))?;
    let prompt_tokens = answer.get("prompt_eval_count").and_then(Value::as_u64);
    let (timings, extra) = (timings(&answer), beyond(answer));
    Ok(Done { prompt_tokens, timings, vectors: Some(vectors), extra, ..Done::default() })
}

/// The answer of /api/embeddings: one vector, in the same neutral shape.
///
/// # Errors
/// When it holds none.
pub fn embedded_one(answer: Value) -> Result<Done, Failure> {
    let Value::Object(mut answer) = answer else { return Err(nonsense("an embedding that is no object")) };
    let vector = answer.remove("embedding").and_then(|vector| serde_json::from_value(vector).ok());
    let vector: Vector = vector.ok_or_else(|| nonsense("an embedding without a vector"))?;
    let vectors = if vector.is_empty() { Vec::new() } else { vec![vector] };
    Ok(Done { vectors: Some(vectors), extra: beyond(answer), ..Done::default() })
}

/// What an answer says beside its vectors and what is known.
fn beyond(mut answer: Map<String, Value>) -> Map<String, Value> {
    answer.retain(|name, _| !KNOWN.contains(&name.as_str()));
    answer
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
    use serde_json::json;

    use super::*;

    #[test]
    fn embeddings_have_one_neutral_shape() {
        let answer =
            json!({"model": "x", "embeddings": [[1.0]], "total_duration": 5, "prompt_eval_count": 2});
        let done = embedded(answer).unwrap();
        assert_eq!((json!(done.vectors), done.prompt_tokens), (json!([[1.0]]), Some(2)));
        for none in [json!({}), json!(3), json!({"embeddings": [["x"]]}), json!({"embeddings": 1})] {
            assert!(embedded(none.clone()).is_err(), "{none}");
        }
        let done = embedded_one(json!({"embedding": [2.0], "new": 1})).unwrap();
        assert_eq!((json!(done.vectors), json!(done.extra)), (json!([[2.0]]), json!({"new": 1})));
        assert!(embedded_one(json!({})).is_err());
    }
}
