//! Every status code and error body of the edge's own routes.

use std::net::SocketAddr;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use echo_broker::message::{Code, Failure};
use serde::Serialize;

/// An error as the client gets it.
#[derive(Debug, Serialize)]
pub struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after_s: Option<u64>,
    success: bool,
    /// What happened and what to do.
    error: String,
    /// For programs.
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    /// The answer up to where it broke off.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, error: impl Into<String>) -> Self {
        let (error, code) = (error.into(), code.to_owned());
        Self {
            status,
            retry_after_s: None,
            success: false,
            error,
            code,
            task_id: None,
            content: None,
            attempts: None,
        }
    }

    pub fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", error)
    }

    pub fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", error)
    }

    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", error)
    }

    pub fn method_not_allowed(error: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", error)
    }

    pub fn conflict(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "task_id_in_use", error)
    }

    pub fn too_large(error: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error)
    }

    pub fn unsupported(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", error)
    }

    pub fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error)
    }

    /// The failure of a task. `address` is where this edge listens, for the line that would work.
    pub fn failed(failure: &Failure, address: SocketAddr) -> Self {
        let mut error = failure.message.clone();
        if let Some(model) = failure.served.first() {
            error = format!("{error}; this works: {}", line_that_works(model, address));
        }
        let code = serde_json::to_value(failure.code).ok();
        let code = code.as_ref().and_then(|code| code.as_str()).unwrap_or("unknown");
        let retry_after_s = failure.retry_after_ms.map(|ms| ms.div_ceil(1000).max(1));
        Self { retry_after_s, ..Self::new(status(failure.code), code, error) }
    }

    /// Adds whose task it was and how far it came.
    pub fn of(mut self, task_id: &str, content: &str, attempts: u32) -> Self {
        self.task_id = Some(task_id.to_owned());
        self.content = (!content.is_empty()).then(|| content.to_owned());
        self.attempts = Some(attempts);
        self
    }
}

/// The status of a task that failed before anything was sent.
fn status(code: Code) -> StatusCode {
    match code {
        Code::BadRequest | Code::NotCapable | Code::EngineRefused => StatusCode::BAD_REQUEST,
        Code::NotAllowed => StatusCode::FORBIDDEN,
        Code::QueueFull => StatusCode::TOO_MANY_REQUESTS,
        Code::NoNode | Code::ModelNotServed | Code::Unavailable | Code::Draining | Code::Full => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::Expired => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn line_that_works(model: &str, address: SocketAddr) -> String {
    let body = serde_json::json!({ "prompt": "Hello", "model_hint": model }).to_string();
    let body = body.replace('\'', r"'\''");
    let host = if address.ip().is_loopback() || address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    format!("curl -X POST http://{host}/task -H 'Content-Type: application/json' -d '{body}'")
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after_s);
        let mut response = (status, Json(self)).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
