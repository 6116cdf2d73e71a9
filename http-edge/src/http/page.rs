//! The page for people: files from the folder `page`, compiled in. It fetches nothing from elsewhere, and its policy lets
//! a browser fetch nothing from elsewhere.

use std::sync::OnceLock;

use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::ApiError;

/// What every client of Ollama asks for and reads.
const SIGN_OF_LIFE: &str = "Ollama is running";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FRONT: &str = "index.html";

struct File {
    name: &'static str,
    bytes: &'static [u8],
    tag: OnceLock<String>,
}

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        [$(File {
            name: $name,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/page/", $name)),
            tag: OnceLock::new(),
        }),+]
    };
}

static FILES: [File; 27] = files![
    "app.css",
    "app.js",
    "chat.js",
    "conversations.js",
    "dom.js",
    "facts.js",
    "health.js",
    "icon.svg",
    "index.html",
    "key.js",
    "live.js",
    "map.js",
    "markdown.js",
    "merge.js",
    "message.js",
    "news.js",
    "node.js",
    "picture.js",
    "qr.js",
    "responses.js",
    "sha256.js",
    "spark.js",
    "sse.js",
    "tasks.js",
    "text.js",
    "travel.js",
    "why.js",
];

/// `GET /`: the page for a browser, and Ollama's words for everybody else.
pub async fn front(request: Request) -> Response {
    let mut response = match FILES.iter().find(|file| file.name == FRONT) {
        Some(file) if prefers_html(request.headers()) => file.answer(request.headers()),
        _ => SIGN_OF_LIFE.into_response(),
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// `GET /page/{file}`.
pub async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let file = FILES.iter().find(|file| file.name == name);
    let file = file.ok_or_else(|| ApiError::not_found("the page has no such file; the page itself is /"))?;
    Ok(file.answer(&headers))
}

impl File {
    fn media(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        }
    }

    /// Of what is in it, so that a browser asks each time and fetches only what a new version has changed.
    fn tag(&self) -> &str {
        self.tag.get_or_init(|| {
            let digest = Sha256::digest(self.bytes);
            let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("\"{hex}\"")
        })
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        // A proxy that compresses makes a weak one of it.
        let mut known = known.flat_map(|tags| tags.split(',')).map(str::trim);
        let is_known = known.any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == self.tag());
        let mut response =
            if is_known { StatusCode::NOT_MODIFIED.into_response() } else { self.bytes.into_response() };
        let headers = response.headers_mut();
        if !is_known {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media()));
        }
        headers.extend(HeaderValue::from_str(self.tag()).ok().map(|tag| (header::ETAG, tag)));
        let fixed: [(HeaderName, &'static str); 5] = [
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ];
        headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
        response
    }
}

/// Whether somebody asks for a page by name, as browsers do, and likes it no less than plain text.
fn prefers_html(headers: &HeaderMap) -> bool {
    let mut liking = (0.0, 0.0);
    for accept in headers.get_all(header::ACCEPT) {
        for wish in accept.to_str().unwrap_or_default().split(',') {
            let mut parts = wish.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
            match (kind.to_ascii_lowercase().as_str(), quality) {
                ("text/html", Ok(quality)) => liking.0 = quality,
                ("text/plain", Ok(quality)) => liking.1 = quality,
                _ => {}
            }
        }
    }
    liking.0 > 0.0 && liking.0 >= liking.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_the_page_and_clients_of_ollama_their_words() {
        let prefers = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            prefers_html(&headers)
        };
        assert!(prefers("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"));
        assert!(prefers("text/html") && prefers("TEXT/HTML;q=0.9, text/plain;q=0.5"));
        for words in [
            "*/*",
            "application/json, text/plain, */*",
            "text/*",
            "text/plain, text/html;q=0.5",
            "text/html;q=0",
            "",
        ] {
            assert!(!prefers(words), "{words}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }

    #[test]
    fn all_files_of_the_folder_are_served_and_they_are_small() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/page")).unwrap();
        let mut there: Vec<String> =
            folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        there.retain(|name| !name.ends_with(".json") && !name.ends_with(".d.ts"));
        there.sort();
        assert_eq!(there, FILES.each_ref().map(|file| file.name));
        let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(bytes < 200_000, "{bytes} bytes");
    }

    #[test]
    fn nothing_in_a_file_needs_what_the_policy_forbids() {
        for file in &FILES {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for inline in ["<style", " style=\"", " onclick=\"", "innerHTML", "eval(", "@import", "url(http"]
            {
                assert!(!text.contains(inline), "{} has {inline}", file.name);
            }
            for script in text.match_indices("<script").map(|(at, _)| &text[at..]) {
                assert!(script.starts_with("<script type=\"module\" src=\"/page/"), "{}", file.name);
            }
        }
    }

    #[test]
    fn who_has_a_file_does_not_get_it_again() {
        let file = &FILES[0];
        let mut headers = HeaderMap::new();
        assert_eq!(file.answer(&headers).status(), StatusCode::OK);
        headers.insert(header::IF_NONE_MATCH, format!("\"x\", {}", file.tag()).parse().unwrap());
        let answer = file.answer(&headers);
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        headers.insert(header::IF_NONE_MATCH, format!("W/{}", file.tag()).parse().unwrap());
        assert_eq!(file.answer(&headers).status(), StatusCode::NOT_MODIFIED);
        assert!(
            answer.headers()[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap()
                .contains("default-src 'none'")
        );
    }
}
