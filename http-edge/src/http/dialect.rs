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
    /// No route of it is served; its clients are told so in words that they read.
    Anthropic,
}

impl Dialect {
    /// The dialect of a route.
    pub fn of(path: &str) -> Self {
        let mut words = path.split('/').skip(1);
        match (words.next(), words.next()) {
            (Some("api"), _) => Self::Ollama,
            (Some("v1"), Some("messages")) => Self::Anthropic,
            (Some("v1"), _) => Self::OpenAi,
            _ => Self::Own,
        }
    }

    /// Says an error in the shape of the dialect, or of the one that its client is known to read.
    pub fn shape(self, response: &mut Response) {
        let Some(error) = response.extensions_mut().remove::<ApiError>() else { return };
        let body = match error.dialect().unwrap_or(self) {
            Self::Own => return,
            Self::Ollama => error.ollama(),
            Self::OpenAi => error.openai(),
            Self::Anthropic => error.anthropic(),
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
            ("/v1/messages/count_tokens", Dialect::Anthropic),
            ("/v1/messagesx", Dialect::OpenAi),
            ("/task", Dialect::Own),
            ("/apis", Dialect::Own),
            ("/", Dialect::Own),
            ("*", Dialect::Own),
        ] {
            assert_eq!(Dialect::of(path), dialect, "{path}");
        }
    }
}
