//! What OpenAI's clients read where nothing is streamed: one object, or a refusal.

use axum::Json;
use axum::response::{IntoResponse, Response};
use echo_bus::message::{Code, Failure};
use serde_json::{Value, json as object};

use crate::http::error::ApiError;

/// The code by which clients know that a conversation does not fit into the model's context.
pub const TOO_LONG: &str = "context_length_exceeded";

/// An error in OpenAI's shape.
pub fn shape(error: &ApiError) -> Value {
    let (kind, code) = match (error.status().as_u16(), error.code()) {
        _ if error.is_too_long() => ("invalid_request_error", Some(TOO_LONG)),
        (429, _) => ("rate_limit_error", Some("rate_limit_exceeded")),
        (403, code) => ("permission_error", Some(code)),
        (400, "bad_request") => ("invalid_request_error", None),
        (400..=499, code) => ("invalid_request_error", Some(code)),
        (503, code) => ("service_unavailable_error", Some(code)),
        (504, code) => ("timeout_error", Some(code)),
        (_, code) => ("server_error", Some(code)),
    };
    object!({"error": {"message": error.words(), "type": kind, "param": error.field(), "code": code}})
}

/// The words for a failure; `model` as the client wrote it.
pub fn refusal(failure: &Failure, model: &str) -> ApiError {
    match failure.code {
        Code::ModelNotServed | Code::ModelMissing => not_found(model, &failure.served),
        _ => ApiError::failed(failure),
    }
}

pub fn not_found(model: &str, served: &[String]) -> ApiError {
    let mut message = format!("The model `{model}` does not exist");
    if !served.is_empty() {
        message += &format!("; served here: {}", served[..served.len().min(10)].join(", "));
    }
    ApiError::no_model(message).param("model")
}

pub fn json(value: Value) -> Response {
    Json(value).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_a_type_and_a_code_that_clients_know() {
        assert_eq!(
            shape(&ApiError::no_model("model 'x' not found").param("model")),
            object!({"error": {"message": "model 'x' not found", "type": "invalid_request_error",
                "param": "model", "code": "model_not_found"}})
        );
        let full = ApiError::failed(&Failure::wait(Code::QueueFull, "full"));
        assert_eq!(shape(&full)["error"]["type"], "rate_limit_error");
        assert_eq!(shape(&ApiError::bad_request("x"))["error"]["code"], Value::Null);
    }
}
