//! A client's mistakes that a real Ollama answers with 500, before it makes a token: seen on 0.33.

use serde_json::{Map, Value};

use super::ask::Refusal;

/// Options that must be numbers, and Ollama's name for the kind of number.
const NUMBERS: [(&str, &str); 10] = [
    ("num_ctx", "integer"),
    ("num_batch", "integer"),
    ("num_gpu", "integer"),
    ("num_predict", "integer"),
    ("num_thread", "integer"),
    ("seed", "integer"),
    ("top_k", "integer"),
    ("temperature", "float32"),
    ("top_p", "float32"),
    ("typical_p", "float32"),
];

/// Tokens of a model that has no more than these.
const VOCABULARY: i64 = 128_256;

/// An option of a wrong type.
pub fn option(options: &Map<String, Value>) -> Result<(), Refusal> {
    let wrong = NUMBERS
        .iter()
        .find(|(name, _)| options.get(*name).is_some_and(|it| !it.is_number() && !it.is_null()));
    wrong.map_or(Ok(()), |(name, kind)| {
        Err(Refusal::broken(format!("option \"{name}\" must be of type {kind}")))
    })
}

/// A template that does not parse.
pub fn template(template: Option<&str>) -> Result<(), Refusal> {
    let template = template.unwrap_or_default();
    match template.matches("{{").count() == template.matches("}}").count() {
        true => Ok(()),
        false => Err(Refusal::broken("template: :1: unclosed action")),
    }
}

/// A context that holds no tokens of this model.
pub fn context(context: Option<&[i64]>) -> Result<(), Refusal> {
    match context.unwrap_or_default().iter().any(|token| !(0..VOCABULARY).contains(token)) {
        true => Err(Refusal::broken("detokenize error: token out of range")),
        false => Ok(()),
    }
}
