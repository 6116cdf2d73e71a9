//! `GET /docs`: the description of the API as a page for people, made of the same document as `/openapi.json`.

use std::fmt::Write;
use std::sync::OnceLock;

use axum::response::Html;
use serde_json::Value;

use super::openapi;

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Echo-System: the API</title><style>\
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
pre,code{font-family:ui-monospace,monospace;font-size:.9em}pre{background:#f3f3f3;padding:.7rem;overflow-x:auto}\
h3{margin-bottom:.2rem}h3 code{font-size:1.1em}p{margin:.3rem 0}\
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}pre{background:#262626}a{color:#8bf}}\
</style>";

/// `GET /docs`.
pub async fn page() -> Html<&'static str> {
    static PAGE: OnceLock<String> = OnceLock::new();
    Html(PAGE.get_or_init(|| written(&openapi::document())))
}

fn written(document: &Value) -> String {
    let mut page = HEAD.to_owned();
    let (title, text) = (escaped(&document["info"]["title"]), escaped(&document["info"]["description"]));
    let _ = write!(
        page,
        "<h1>{title}: the API</h1><p>{text}</p><p><a href=\"/openapi.json\">openapi.json</a></p>"
    );
    for tag in document["tags"].as_array().into_iter().flatten() {
        let _ = write!(page, "<h2>{}</h2><p>{}</p>", escaped(&tag["name"]), escaped(&tag["description"]));
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                if operation["tags"][0] == tag["name"] {
                    route(&mut page, path, method, operation);
                }
            }
        }
    }
    page
}

fn route(page: &mut String, path: &str, method: &str, operation: &Value) {
    let upper = method.to_uppercase();
    let _ = write!(
        page,
        "<h3><code>{upper} {}</code></h3><p>{}.</p>",
        text(path),
        escaped(&operation["summary"])
    );
    let body = &operation["requestBody"]["content"]["application/json"];
    if let Some(fields) = body["schema"]["properties"].as_object() {
        let required = |name: &str| {
            body["schema"]["required"].as_array().is_some_and(|list| list.iter().any(|it| it == name))
        };
        let named =
            |name: &String| if required(name) { format!("<b>{}</b>", text(name)) } else { text(name) };
        let _ = write!(page, "<p>Fields: {}.</p>", fields.keys().map(named).collect::<Vec<_>>().join(", "));
        let example = text(&body["example"].to_string().replace('\'', "'\\''"));
        let _ = write!(
            page,
            "<pre>curl -X {upper} http://localhost:8080{} -H 'Content-Type: application/json' -d '{example}'</pre>",
            text(path)
        );
    }
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        let media = answer["content"].as_object().and_then(|content| content.keys().next().cloned());
        let media = media.map(|media| format!(" ({})", text(&media))).unwrap_or_default();
        let _ = write!(page, "<p><code>{status}</code> {}{media}.</p>", escaped(&answer["description"]));
    }
}

fn escaped(value: &Value) -> String {
    text(value.as_str().unwrap_or_default())
}

fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_on_the_page() {
        let document = openapi::document();
        let page = written(&document);
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                assert!(
                    page.contains(&format!("<code>{} {path}</code>", method.to_uppercase())),
                    "{method} {path}"
                );
            }
        }
    }
}
