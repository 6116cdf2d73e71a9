//! Anthropic's API. No route of it is served; its clients are told so in words that they read.

use axum::Router;
use serde_json::{Value, json};

use super::dialect::Dialect;
use super::error::ApiError;

pub static DIALECT: Dialect = Dialect {
    name: "Anthropic",
    about: "",
    hint: "",
    owns: |first, second| first == "v1" && second == "messages",
    routes: Router::new,
    documented: Vec::new,
    refusal,
};

/// The words for a client that asks for any of its routes.
pub fn unserved(path: &str) -> ApiError {
    let error = format!(
        "there is no {path}: this mesh does not speak Anthropic's API. It speaks OpenAI's (POST \
         /v1/chat/completions, GET /v1/models), Ollama's (POST /api/chat) and its own; GET /docs describes them"
    );
    ApiError::not_found(error).shaped(refusal)
}

fn refusal(error: &ApiError) -> Value {
    let kind = match error.status().as_u16() {
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": error.message()}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_an_event_of_its_kind() {
        assert_eq!(
            refusal(&ApiError::not_found("x")),
            json!({"type": "error", "error": {"type": "not_found_error", "message": "x"}})
        );
    }
}
