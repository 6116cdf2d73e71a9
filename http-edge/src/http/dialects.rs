//! All dialects. One more is a folder beside these and a line here.

use axum::http::HeaderMap;

use super::dialect::Dialect;
use super::route::Route;
use super::{anthropic, echo, ollama, openai};

/// The first that owns a path speaks for it; the last one owns what is left.
static ALL: [&Dialect; 4] = [&ollama::DIALECT, &anthropic::DIALECT, &openai::DIALECT, &echo::DIALECT];

/// All dialects, the mesh's own first.
pub fn all() -> impl Iterator<Item = &'static Dialect> {
    ALL.iter().rev().copied()
}

/// The dialect of a path.
pub fn of(path: &str) -> &'static Dialect {
    let mut words = path.split('/').skip(1);
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    ALL.iter().find(|dialect| (dialect.owns)(first, second)).copied().unwrap_or(&echo::DIALECT)
}

/// The dialect of who asks, be it under the path of another.
pub fn of_request(path: &str, headers: &HeaderMap) -> &'static Dialect {
    known(headers).unwrap_or_else(|| of(path))
}

/// The dialect whose clients send such headers.
pub fn known(headers: &HeaderMap) -> Option<&'static Dialect> {
    let sent = |dialect: &&&Dialect| dialect.header.is_some_and(|header| headers.contains_key(header));
    ALL.iter().find(sent).copied()
}

/// Every route that is documented, in the order in which they are read.
pub fn documented() -> Vec<Route> {
    all().flat_map(|dialect| (dialect.documented)()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_known_by_its_first_words() {
        for (path, dialect) in [
            ("/api/chat", &ollama::DIALECT),
            ("/v1/models/a/b", &openai::DIALECT),
            ("/v1", &openai::DIALECT),
            ("/v1/messages/count_tokens", &anthropic::DIALECT),
            ("/v1/messagesx", &openai::DIALECT),
            ("/task", &echo::DIALECT),
            ("/apis", &echo::DIALECT),
            ("/", &echo::DIALECT),
            ("*", &echo::DIALECT),
        ] {
            assert_eq!(of(path), dialect, "{path}");
        }
    }
}
