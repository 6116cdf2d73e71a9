//! What Ollama's clients read where nothing is streamed: one object, or a refusal.

use axum::response::{IntoResponse, Response};
use echo_bus::message::{Code, Failure};
use serde_json::{Value, json as object};

use crate::http::error::ApiError;

/// An error in Ollama's shape.
pub fn shape(error: &ApiError) -> Value {
    object!({ "error": error.words() })
}

/// The words for a failure; `model` as the client wrote it.
pub fn refusal(failure: &Failure, model: &str) -> ApiError {
    match failure.code {
        Code::ModelNotServed | Code::ModelMissing => not_found(model),
        _ => ApiError::failed(failure),
    }
}

pub fn not_found(model: &str) -> ApiError {
    ApiError::no_model(format!("model '{model}' not found"))
}

/// An answer that is no stream, with Ollama's own content type.
pub fn json(value: &Value) -> Response {
    ([("content-type", "application/json; charset=utf-8")], value.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_sentence() {
        assert_eq!(shape(&not_found("x")), object!({"error": "model 'x' not found"}));
    }
}
