//! Every status code of the edge, and what an error says. Each dialect says it in a shape of its own.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use echo_bus::id::ClientName;
use echo_bus::message::{Code, Failure};
use serde::Serialize;
use serde_json::{Value, json};

use super::route_headers::RouteHeaders;
use crate::keys::Denied;
use crate::keys::file::Entry;

/// How the body of a request may be encoded.
pub const CODINGS: &str = "gzip, deflate, zstd";
const UNSUPPORTED_CODING: &str = "unsupported_encoding";

/// How a dialect says an error.
pub type Shape = fn(&ApiError) -> Value;

/// An error as the client gets it; its JSON is the edge's own shape.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct ApiError(Box<Told>);

#[derive(Debug, Clone, Serialize)]
struct Told {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after_s: Option<u64>,
    /// The client is to ask on another connection.
    #[serde(skip)]
    ends_connection: bool,
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
    /// The engine's own words, for the dialects that its clients speak.
    #[serde(skip)]
    words: Option<String>,
    /// What was sent does not fit into the model's context.
    #[serde(skip)]
    too_long: bool,
    /// The field of the request that is at fault.
    #[serde(skip)]
    param: Option<String>,
    /// In place of the one of the route.
    #[serde(skip)]
    shape: Option<Shape>,
    #[serde(skip)]
    route: Option<RouteHeaders>,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, error: impl Into<String>) -> Self {
        let (error, code) = (error.into(), code.to_owned());
        Self(Box::new(Told {
            status,
            retry_after_s: None,
            ends_connection: false,
            success: false,
            error,
            code,
            task_id: None,
            content: None,
            attempts: None,
            words: None,
            too_long: false,
            param: None,
            shape: None,
            route: None,
        }))
    }

    pub fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", error)
    }

    pub fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", error)
    }

    /// A key is wanted, and none was sent.
    pub fn no_key() -> Self {
        Self::wrong_key(
            "an API key is wanted here: send it as Authorization: Bearer KEY, or as x-api-key; whoever runs this mesh makes \
             one with `echo-mesh keys add NAME`",
        )
    }

    /// What was sent is no key, or no longer.
    pub fn wrong_key(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", error)
    }

    /// A key is not good for this model.
    pub fn no_right_to(client: &ClientName, model: &str) -> Self {
        let model: String = model.chars().take(100).collect();
        let error = format!("the API key {:?} is not good for the model {model:?}", client.as_str());
        Self::new(StatusCode::FORBIDDEN, "model_not_allowed", error).param("model")
    }

    /// A key is good for some models only, and nobody has said which one is wanted.
    pub fn names_no_model(key: &Entry) -> Self {
        let error = format!(
            "name a model: the API key {:?} is good for {} and nothing else",
            key.name.as_str(),
            key.models
        );
        Self::new(StatusCode::FORBIDDEN, "model_not_allowed", error).param("model")
    }

    /// A key is good for no more now.
    pub fn limit(client: &ClientName, denied: Denied) -> Self {
        let (limit, wait) = match denied {
            Denied::AtOnce(limit) => {
                (format!("{limit} tasks at once, and has them; ask again when one has ended"), 1)
            }
            Denied::Waiting(limit) => {
                (format!("{limit} tasks that wait, and has them; ask again when one is at work"), 1)
            }
            Denied::TokensADay { limit, left_s } => {
                (format!("{limit} tokens a day, and has had them; the next day begins at 0:00 UTC"), left_s)
            }
        };
        let error = format!("the API key {:?} may have {limit}", client.as_str());
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "key_limit", error);
        error.0.retry_after_s = Some(wait);
        error
    }

    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", error)
    }

    /// The model is not there, in a dialect's own words.
    pub fn no_model(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "model_not_found", error)
    }

    pub fn method_not_allowed(error: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", error)
    }

    pub fn conflict(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "task_id_in_use", error)
    }

    /// It was there, and is not any more.
    pub fn gone(error: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "gone", error)
    }

    pub fn too_large(error: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error)
    }

    pub fn unsupported(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", error)
    }

    /// The body's coding is not understood; the answer says which ones are.
    pub fn unsupported_coding(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_CODING, error)
    }

    pub fn not_implemented(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", error)
    }

    pub fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error)
    }

    /// The body of a request stands still.
    pub fn too_slow(error: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", error)
    }

    /// There is no place for another connection.
    pub fn crowded() -> Self {
        Self::for_now("too many connections are open here; close idle ones, or ask again soon")
    }

    /// The client's address has all the connections that one address may have.
    pub fn greedy() -> Self {
        let why = "too many connections are open from this address; close idle ones, or ask again soon \
            (the edge's --connections-per-address)";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", why).on_another_connection()
    }

    /// The edge has no bus yet.
    pub fn starting() -> Self {
        Self::for_now(
            "the edge has not reached its broker yet; start one (`echo-mesh broker`) or correct --nats, and ask again",
        )
    }

    fn for_now(why: &str) -> Self {
        Self::unavailable(why).on_another_connection()
    }

    fn on_another_connection(mut self) -> Self {
        self.0.retry_after_s = Some(1);
        self.0.ends_connection = true;
        self
    }

    /// The failure of a task.
    pub fn failed(failure: &Failure) -> Self {
        let code = serde_json::to_value(failure.code).ok();
        let code = code.as_ref().and_then(|code| code.as_str()).unwrap_or("unknown");
        let mut error = Self::new(status_of(failure), code, failure.message.clone());
        error.0.words = failure.said.as_ref().map(|said| said.words.clone());
        error.0.too_long = failure.is_too_long();
        error.0.retry_after_s = failure.retry_after_ms.map(|ms| ms.div_ceil(1000).max(1));
        error
    }

    /// Adds the line that would work. `url` is this edge's.
    #[must_use]
    pub fn with_line(mut self, failure: &Failure, url: &str) -> Self {
        if let Some(model) = failure.served.first() {
            self.0.error = format!("{}; this works: {}", self.0.error, line_that_works(model, url));
        }
        self
    }

    /// Adds whose task it was and how far it came.
    #[must_use]
    pub fn of(mut self, task_id: &str, content: &str, attempts: u32) -> Self {
        self.0.task_id = Some(task_id.to_owned());
        self.0.content = (!content.is_empty()).then(|| content.to_owned());
        self.0.attempts = Some(attempts);
        self
    }

    /// Whose task it was.
    pub fn task(&self) -> Option<&str> {
        self.0.task_id.as_deref()
    }

    /// Adds the field that is at fault.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>) -> Self {
        self.0.param = Some(name.into());
        self
    }

    /// Adds where the task has been.
    #[must_use]
    pub fn route(mut self, route: RouteHeaders) -> Self {
        self.0.route = Some(route);
        self
    }

    /// For a client that reads this shape, whatever the route's dialect is.
    #[must_use]
    pub fn shaped(mut self, shape: Shape) -> Self {
        self.0.shape = Some(shape);
        self
    }

    pub fn shape(&self) -> Option<Shape> {
        self.0.shape
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// For programs.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What happened and what to do.
    pub fn message(&self) -> &str {
        &self.0.error
    }

    /// The field that is at fault.
    pub fn field(&self) -> Option<&str> {
        self.0.param.as_deref()
    }

    /// Whether what was sent does not fit into the model's context.
    pub fn is_too_long(&self) -> bool {
        self.0.too_long
    }

    /// What a client of the engine's own API would have read.
    pub fn words(&self) -> &str {
        self.0.words.as_deref().unwrap_or(&self.0.error)
    }
}

/// The status of a task that failed before anything was sent: the engine's own where it answered the request itself.
fn status_of(failure: &Failure) -> StatusCode {
    let said = failure.said.as_ref().and_then(|said| said.status);
    let own = said.and_then(|status| StatusCode::from_u16(status).ok());
    match failure.code {
        Code::EngineRefused => own.filter(StatusCode::is_client_error),
        Code::EngineError => own.filter(StatusCode::is_server_error),
        _ => None,
    }
    .unwrap_or_else(|| status(failure.code))
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::Harmful => StatusCode::UNPROCESSABLE_ENTITY,
        Code::BadRequest | Code::NotCapable | Code::EngineRefused => StatusCode::BAD_REQUEST,
        Code::NotAllowed => StatusCode::FORBIDDEN,
        Code::QueueFull => StatusCode::TOO_MANY_REQUESTS,
        // By whoever has the task's id.
        Code::Cancelled => StatusCode::CONFLICT,
        Code::NoNode | Code::ModelNotServed | Code::Unavailable | Code::Draining | Code::Full => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::Expired => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn line_that_works(model: &str, url: &str) -> String {
    let body = json!({ "prompt": "Hello", "model_hint": model }).to_string();
    let body = body.replace('\'', r"'\''");
    format!("curl -X POST {url}/task -H 'Content-Type: application/json' -d '{body}'")
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.0.status, Json(&self)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.0.code == UNSUPPORTED_CODING {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(CODINGS));
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            // Not Basic, though it is taken: browsers would ask for a name and a password in a window of their own.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"echo-mesh\""));
        }
        if self.0.ends_connection {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(route) = &self.0.route {
            route.put(headers);
        }
        // For the layer that says it in the shape of the route's dialect.
        response.extensions_mut().insert(self);
        response
    }
}
