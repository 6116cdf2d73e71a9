//! Pictures from clients of all dialects, on nodes of both kinds.

use echo_scripted_engine::Api;
use echo_testing::mesh::Mesh;
use serde_json::{Value, json};

use super::wire::{ABLE, able, whole};

/// A PNG of one pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const JPEG: &str = "/9j/4AAQSkZJRg==";
const WEBP: &str = "UklGRiQAAABXRUJQ";
const GIF: &str = "R0lGODlhAQABAA==";

/// The ways to send one picture: route and body.
fn asked(image: &str) -> Vec<(&'static str, Value)> {
    let message = json!([{"role": "user", "content": "see [tokens=1]", "images": [image]}]);
    vec![
        ("/api/chat", json!({"model": ABLE, "stream": false, "messages": message})),
        (
            "/api/generate",
            json!({"model": ABLE, "stream": false, "prompt": "see [tokens=1]", "images": [image]}),
        ),
        ("/task", json!({"model_hint": ABLE, "prompt": "see [tokens=1]", "images": [image]})),
    ]
}

fn by_url(url: &Value) -> Value {
    let parts = json!([{"type": "text", "text": "see [tokens=1]"}, {"type": "image_url", "image_url": url}]);
    json!({"model": ABLE, "messages": [{"role": "user", "content": parts}]})
}

/// What the engine was sent last, as the text of its JSON.
fn sent(mesh: &Mesh) -> String {
    mesh.engine(0).requests().last().expect("a request").body.to_string()
}

#[tokio::test]
async fn a_picture_reaches_every_engine_as_plain_base64_of_its_own_type() {
    let (first, second) = PNG.split_at(76);
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let arrives = |said: String, picture: &str, media: &str| {
            let wanted = match api {
                Api::Openai => format!("\"url\":\"data:{media};base64,{picture}\""),
                _ => format!("\"images\":[\"{picture}\"]"),
            };
            let told = sent(&mesh);
            assert!(told.contains(&wanted), "{said}: {wanted} is not in {told}");
        };
        for (said, picture, media) in [
            (format!("data:image/png;base64,{PNG}"), PNG, "image/png"),
            (format!("DATA:IMAGE/JPEG;BASE64,{PNG}"), PNG, "image/png"),
            (format!("{first}\r\n{second}\n"), PNG, "image/png"),
            (PNG.to_owned(), PNG, "image/png"),
            (JPEG.to_owned(), JPEG, "image/jpeg"),
            (format!("data:;base64,{WEBP}"), WEBP, "image/webp"),
            (GIF.to_owned(), GIF, "image/gif"),
        ] {
            for (path, body) in asked(&said) {
                let (status, answer) = whole(mesh.client(), path, &body).await;
                assert_eq!(status, 200, "{path} {said}: {answer}");
                arrives(said.clone(), picture, media);
            }
        }
        for url in [
            json!({"url": format!("data:image/jpeg;base64,{PNG}"), "detail": "low"}),
            json!({"url": format!("DATA:;BASE64,{PNG}")}),
            json!(format!("data:image/png;base64,{PNG}")),
        ] {
            let (status, answer) = whole(mesh.client(), "/v1/chat/completions", &by_url(&url)).await;
            assert_eq!(status, 200, "{url}: {answer}");
            arrives(url.to_string(), PNG, "image/png");
        }
    }
}

#[tokio::test]
async fn what_is_no_picture_is_refused_with_its_place_and_reaches_no_engine() {
    let mesh = able(Api::Ollama).await;
    let before = mesh.engine(0).requests().len();
    let pdf = "data:application/pdf;base64,JVBERi0xLjc=";
    let svg = "PHN2ZyB4bWxucz0naHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmcnLz4=";
    for bad in ["", "not base64!", "http://127.0.0.1:9/x.png", "/home/ann/x.png", "file:///x.png", pdf, svg] {
        for (path, body) in asked(bad) {
            let (status, answer) = whole(mesh.client(), path, &body).await;
            let place = if path == "/api/chat" { "messages[0].images[0]: " } else { "images[0]: " };
            let error = answer["error"].as_str().unwrap_or_default();
            assert!(status == 400 && error.starts_with(place), "{path} {bad}: {status} {answer}");
        }
        let (status, answer) =
            whole(mesh.client(), "/v1/chat/completions", &by_url(&json!({"url": bad}))).await;
        let param = &answer["error"]["param"];
        assert_eq!((status, param), (400, &json!("messages[0].content[1].image_url.url")), "{bad}: {answer}");
    }
    assert_eq!(mesh.engine(0).requests().len(), before);
}
