//! What makes a dialect: one folder that translates requests and answers, its routes, their description, and the shape
//! of its errors, wherever they arose. `dialects.rs` has the list.

use axum::Router;
use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::response::Response;
use echo_bus::message::Model;
use serde_json::Value;

use super::api::Shared;
use super::error::{ApiError, Shape};
use super::mesh;
use super::route::Route;

/// One API that clients speak.
pub struct Dialect {
    /// The name under which its routes are documented.
    pub name: &'static str,
    /// How a client is pointed at it.
    pub about: &'static str,
    /// What to add for a client that asks under a wrong beginning.
    pub hint: &'static str,
    /// A header that its clients send and no others: by it they are known whatever the path is.
    pub header: Option<&'static str>,
    /// Whether a path is one of this dialect, served or not, by its first two words.
    pub owns: fn(&str, &str) -> bool,
    pub routes: fn() -> Router<Shared>,
    /// Models, for its clients under a path that dialects share.
    pub models: fn(&Listing<'_>) -> Result<Response, ApiError>,
    pub documented: fn() -> Vec<Route>,
    /// An error in the shape that its clients read.
    pub refusal: Shape,
}

/// A question for models.
pub struct Listing<'a> {
    /// All that are served, the newest first.
    pub models: Vec<&'a Model>,
    /// The one that is asked for; else all are.
    pub id: Option<String>,
    pub query: &'a str,
}

impl<'a> Listing<'a> {
    pub fn find(&self, id: &str) -> Option<&'a Model> {
        self.models.iter().copied().find(|model| mesh::is_named(model, id))
    }

    pub fn names(&self) -> Vec<String> {
        self.models.iter().map(|model| model.name.clone()).collect()
    }
}

/// For dialects that have no such path.
pub fn unlisted(_: &Listing<'_>) -> Result<Response, ApiError> {
    Err(ApiError::not_found("models are not listed here"))
}

impl Dialect {
    /// Says an error in the shape of this dialect, or of the one that its client is known to read.
    pub fn shape(&'static self, response: &mut Response) {
        let Some(error) = response.extensions_mut().remove::<ApiError>() else { return };
        let body = error.shape().unwrap_or(self.refusal)(&error);
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        // Who says the id of a request in an error says it in its head too.
        let id = body.get("request_id").and_then(Value::as_str).and_then(|id| HeaderValue::from_str(id).ok());
        headers.extend(id.map(|id| (HeaderName::from_static("request-id"), id)));
        *response.body_mut() = Body::from(body.to_string());
    }
}

impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
