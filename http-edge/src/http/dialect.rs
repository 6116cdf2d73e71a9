//! Which dialect a route speaks; its errors have that dialect's shape, wherever they arose.

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::response::Response;

use super::error::ApiError;

/// Whose API a route belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Own,
    Ollama,
    OpenAi,
}

impl Dialect {
    /// The dialect of a route.
    pub fn of(path: &str) -> Self {
        match path.split('/').nth(1) {
            Some("api") => Self::Ollama,
            Some("v1") => Self::OpenAi,
            _ => Self::Own,
        }
    }

    /// Says an error in the shape of the dialect.
    pub fn shape(self, response: &mut Response) {
        let Some(error) = response.extensions_mut().remove::<ApiError>() else { return };
        let body = match self {
            Self::Own => return,
            Self::Ollama => error.ollama(),
            Self::OpenAi => error.openai(),
        };
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        *response.body_mut() = Body::from(body.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::Dialect;

    #[test]
    fn a_route_is_known_by_its_first_word() {
        for (path, dialect) in [
            ("/api/chat", Dialect::Ollama),
            ("/v1/models/a/b", Dialect::OpenAi),
            ("/v1", Dialect::OpenAi),
            ("/task", Dialect::Own),
            ("/apis", Dialect::Own),
            ("/", Dialect::Own),
            ("*", Dialect::Own),
        ] {
            assert_eq!(Dialect::of(path), dialect, "{path}");
        }
    }
}
