//! Paths that are almost right: slashes too many are served as if they were not there, and who asks under a wrong
//! beginning hears the route that is meant. Never by a redirect: many clients follow none, and some then ask by GET.

use std::sync::OnceLock;

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

use super::dialect::Dialect;
use super::dialects;

/// Longer paths are no slips.
const MOST_WORDS: usize = 8;

/// Takes doubled slashes and the last one out of a path.
pub fn tidy(uri: &mut Uri) {
    let path = uri.path();
    if !path.contains("//") && (path.len() < 2 || !path.ends_with('/')) {
        return;
    }
    let mut tidied: String = words(path).flat_map(|word| ["/", word]).collect();
    if tidied.is_empty() {
        tidied.push('/');
    }
    if let Some(query) = uri.query() {
        tidied = format!("{tidied}?{query}");
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(tidied).ok();
    if let Ok(tidied) = Uri::from_parts(parts) {
        *uri = tidied;
    }
}

fn words(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|word| !word.is_empty())
}

/// A route as it is documented.
#[derive(Debug, Clone)]
pub struct Known {
    pub method: String,
    pub path: &'static str,
}

impl Known {
    fn is(&self, path: &str) -> bool {
        let Some((before, parameter)) = self.path.split_once('{') else { return path == self.path };
        let rest = path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after(parameter)));
        rest.is_some_and(|value| !value.is_empty())
    }

    /// How much of the path stands behind its parameter. A name with slashes in it looks like a longer route.
    fn tail(&self) -> usize {
        self.path.split_once('{').map_or(0, |(_, parameter)| after(parameter).len())
    }
}

fn after(parameter: &str) -> &str {
    parameter.split_once('}').map_or("", |(_, after)| after)
}

/// The route of a path.
pub fn known(path: &str) -> Option<&'static Known> {
    static ALL: OnceLock<Vec<Known>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let routes = dialects::documented().into_iter();
        routes.map(|route| Known { method: route.method.to_uppercase(), path: route.path }).collect()
    });
    all.iter().rev().filter(|route| route.is(path)).max_by_key(|route| route.tail())
}

/// What a path without a route is likely to mean: the same with another beginning, or with less of it.
pub fn meant(path: &str) -> Option<(String, &'static Known)> {
    let words: Vec<&str> = words(path).take(MOST_WORDS + 1).collect();
    if words.len() > MOST_WORDS {
        return None;
    }
    let ends = (0..words.len()).map(|from| words[from..].join("/"));
    let mut candidates = ends.flat_map(|end| ["/", "/v1/", "/api/"].map(|begin| format!("{begin}{end}")));
    candidates.find_map(|candidate| known(&candidate).map(|route| (candidate, route)))
}

/// What to do about a path that has no route.
pub fn hint(path: &str) -> (String, &'static Dialect) {
    let Some((right, route)) = meant(path) else {
        let all = "the routes are POST /task, POST /task/stream, GET /status, GET /health, GET /metrics, Ollama's under \
            /api, OpenAI's under /v1 and Anthropic's POST /v1/messages";
        return (all.to_owned(), dialects::of(path));
    };
    let dialect = dialects::of(&right);
    let right: String = right.chars().take(200).collect();
    (format!("{} {right} is the route{}", route.method, dialect.hint), dialect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_that_say_nothing_are_taken_out() {
        for (path, tidied) in [
            ("/", "/"),
            ("//", "/"),
            ("//api/chat", "/api/chat"),
            ("/api//chat/", "/api/chat"),
            ("/api/tags/?a=//b/", "/api/tags?a=//b/"),
            ("//evil.example/%2e%2e", "/evil.example/%2e%2e"),
            ("http://mesh.local//v1/models/", "http://mesh.local/v1/models"),
            ("/v1/models/a%2F%2Fb", "/v1/models/a%2F%2Fb"),
            ("/api/chat?x", "/api/chat?x"),
            ("*", "*"),
        ] {
            let mut uri: Uri = path.parse().unwrap();
            tidy(&mut uri);
            assert_eq!(uri.to_string(), tidied, "{path}");
        }
    }

    #[test]
    fn a_wrong_beginning_leads_to_the_route_that_is_meant() {
        for (path, right) in [
            ("/v1/v1/chat/completions", "POST /v1/chat/completions"),
            ("/v1/api/tags", "GET /api/tags"),
            ("/api/v1/models", "GET /v1/models"),
            ("/api/api/chat", "POST /api/chat"),
            ("/chat/completions", "POST /v1/chat/completions"),
            ("/models", "GET /v1/models"),
            ("/models/able", "GET /v1/models/able"),
            ("/embeddings", "POST /v1/embeddings"),
            ("/v1/tags", "GET /api/tags"),
            ("/generate", "POST /api/generate"),
            ("/openai/v1/completions", "POST /v1/completions"),
            ("/v1/task", "POST /task"),
            ("/v1/v1/responses", "POST /v1/responses"),
            ("/responses/resp_x/cancel", "POST /v1/responses/resp_x/cancel"),
            ("/responses/resp_x", "GET /v1/responses/resp_x"),
        ] {
            let (hint, dialect) = hint(path);
            assert!(hint.starts_with(&format!("{right} is the route")), "{path}: {hint}");
            assert_eq!(dialect, dialects::of(right.split(' ').nth(1).unwrap()), "{path}");
        }
        for path in ["/", "/evil.example/%2e%2e", "/tasks", "/v1", "/api/v1", "/a/b/c/d/e/f/g/h/api/chat"] {
            assert!(meant(path).is_none_or(|(right, _)| right == path), "{path}");
        }
    }
}
