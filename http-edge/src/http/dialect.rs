//! What makes a dialect: one folder that translates requests and answers, its routes, their description, and the shape
//! of its errors, wherever they arose. `dialects.rs` has the list.

use axum::Router;
use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::response::Response;

use super::api::Api;
use super::error::{ApiError, Shape};
use super::route::Route;

/// One API that clients speak.
pub struct Dialect {
    /// The name under which its routes are documented.
    pub name: &'static str,
    /// How a client is pointed at it.
    pub about: &'static str,
    /// What to add for a client that asks under a wrong beginning.
    pub hint: &'static str,
    /// Whether a path is one of this dialect, served or not, by its first two words.
    pub owns: fn(&str, &str) -> bool,
    pub routes: fn() -> Router<Api>,
    pub documented: fn() -> Vec<Route>,
    /// An error in the shape that its clients read.
    pub refusal: Shape,
}

impl Dialect {
    /// Says an error in the shape of this dialect, or of the one that its client is known to read.
    pub fn shape(&'static self, response: &mut Response) {
        let Some(error) = response.extensions_mut().remove::<ApiError>() else { return };
        let body = error.shape().unwrap_or(self.refusal)(&error);
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
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
