//! What Anthropic's clients read where nothing is said: a refusal, and the id of the request.

use axum::http::StatusCode;
use axum::http::header::{HeaderName, HeaderValue};
use axum::response::Response;
use echo_bus::message::{Code, Failure};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::error::ApiError;

/// Under which the clients' libraries look for the id of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// How engines say that a prompt does not fit.
const TOO_LONG: [&str; 4] = [
    "exceeds the available context size",
    "exceeds the context length",
    "input length exceeds",
    "maximum context length is",
];
/// Models that a refusal names.
const MOST_NAMED: usize = 10;

/// An error in Anthropic's shape.
pub fn shape(error: &ApiError) -> Value {
    let kind = match error.status().as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    };
    let id = error.task().map_or_else(new_id, id_of);
    json!({"type": "error", "error": {"type": kind, "message": message(error)}, "request_id": id})
}

/// The engine's words, or ours. Claude Code shortens a conversation by itself when it reads that its prompt is too long.
fn message(error: &ApiError) -> String {
    let words = error.words();
    let is_too_long =
        error.status() == StatusCode::BAD_REQUEST && TOO_LONG.iter().any(|said| words.contains(said));
    if is_too_long { format!("prompt is too long: {words}") } else { words.to_owned() }
}

/// The words for a failure; `model` as the client wrote it.
pub fn refusal(failure: &Failure, model: &str) -> ApiError {
    match failure.code {
        Code::ModelNotServed | Code::ModelMissing => not_found(model, &failure.served),
        _ => ApiError::failed(failure),
    }
}

pub fn not_found(model: &str, served: &[String]) -> ApiError {
    let mut message = format!("model: {model} is not served here");
    if !served.is_empty() {
        message += &format!("; these are: {}", served[..served.len().min(MOST_NAMED)].join(", "));
    }
    ApiError::no_model(message).param("model")
}

/// The id of a request, from that of its task.
pub fn id_of(task: &str) -> String {
    format!("req_{task}")
}

pub fn new_id() -> String {
    id_of(&Uuid::new_v4().to_string())
}

/// An answer under the id of its request.
pub fn named(mut answer: Response, id: &str) -> Response {
    let id = HeaderValue::from_str(id).ok();
    answer.headers_mut().extend(id.map(|id| (REQUEST_ID, id)));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_a_type_that_clients_know_and_the_id_of_its_request() {
        let known = |error: ApiError| {
            let said = shape(&error);
            assert_eq!(said["type"], "error");
            assert!(said["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{said}");
            said["error"]["type"].as_str().unwrap_or_default().to_owned()
        };
        for (error, kind) in [
            (ApiError::bad_request("x"), "invalid_request_error"),
            (ApiError::method_not_allowed("x"), "invalid_request_error"),
            (ApiError::forbidden("x"), "permission_error"),
            (not_found("m", &[]), "not_found_error"),
            (ApiError::too_large("x"), "request_too_large"),
            (ApiError::failed(&Failure::wait(Code::QueueFull, "full")), "rate_limit_error"),
            (ApiError::failed(&Failure::give_up(Code::NoNode, "x")), "overloaded_error"),
            (ApiError::failed(&Failure::give_up(Code::EngineError, "x")), "api_error"),
        ] {
            assert_eq!(known(error), kind);
        }
        assert_eq!(shape(&ApiError::bad_request("x").of("t", "", 1))["request_id"], "req_t");
    }
}
