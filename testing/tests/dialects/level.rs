//! What clients of Ollama's API take for granted at the level that the edge claims, whatever engine a model is behind.

use echo_scripted_engine::Api;
use echo_testing::mesh::Mesh;
use serde_json::{Value, json};

use super::wire::{ABLE, able, send, whole};

async fn get(mesh: &Mesh, path: &str) -> Value {
    let reply = send(mesh.client().get(path)).await;
    assert_eq!(reply.status(), 200, "{path}");
    reply.json().await
}

/// A point in time as Ollama writes it.
fn is_time(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.len() >= 20 && text.as_bytes()[4] == b'-' && text.as_bytes()[10] == b'T')
}

/// The details that strict readers have no default for.
fn are_details(details: &Value) {
    for name in ["format", "family", "parameter_size", "quantization_level"] {
        assert!(details[name].is_string(), "{name}: {details}");
    }
    assert!(details["families"].is_array(), "{details}");
}

fn is_listed(model: &Value) {
    assert!(model["name"].is_string() && model["model"] == model["name"], "{model}");
    assert!(model["size"].is_u64() && model["digest"].as_str().is_some_and(|it| it.len() == 64), "{model}");
    are_details(&model["details"]);
}

fn able_one(list: &Value) -> Option<Value> {
    list["models"].as_array()?.iter().find(|model| model["name"] == "able:latest").cloned()
}

#[tokio::test]
async fn every_list_of_models_is_whole_for_engines_of_every_kind() {
    for (api, vllm) in [(Api::Ollama, None), (Api::Openai, None), (Api::Openai, Some(777))] {
        let mesh = able(api).script(|script| script.max_model_len = vllm).await;
        let tags = get(&mesh, "/api/tags").await;
        for model in tags["models"].as_array().expect("models") {
            is_listed(model);
            assert!(is_time(&model["modified_at"]), "{model}");
            assert!(model["capabilities"].as_array().is_some_and(|list| !list.is_empty()), "{model}");
        }
        let (status, _) = whole(
            mesh.client(),
            "/api/generate",
            &json!({"model": ABLE, "prompt": "[tokens=1]", "stream": false}),
        )
        .await;
        assert_eq!(status, 200);
        let model = mesh
            .until("the loaded model in /api/ps", || async {
                let list = get(&mesh, "/api/ps").await;
                able_one(&list).filter(|model| model["expires_at"].is_string()).ok_or(list)
            })
            .await;
        is_listed(&model);
        assert!(is_time(&model["expires_at"]) && model["size_vram"].is_u64(), "{api:?}: {model}");
        let length = model["context_length"].as_u64();
        assert_eq!(length, Some(if api == Api::Ollama { 4096 } else { vllm.unwrap_or(1024) }), "{model}");
        let (status, shown) = whole(mesh.client(), "/api/show", &json!({"model": ABLE})).await;
        assert!(status == 200 && is_time(&shown["modified_at"]), "{api:?}: {shown}");
        are_details(&shown["details"]);
    }
}

/// Every documented route with the method that it takes.
async fn routes(mesh: &Mesh) -> Vec<(String, String)> {
    let document = get(mesh, "/openapi.json").await;
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let path = path.replace("{id}", "able").replace("{task_id}", "x");
        routes.extend(
            operations.as_object().expect("methods").keys().map(|it| (it.to_uppercase(), path.clone())),
        );
    }
    assert!(routes.len() > 15, "{routes:?}");
    routes
}

#[tokio::test]
async fn a_known_path_with_a_method_that_it_does_not_take_is_405_that_names_the_ones_it_does() {
    let mesh = Mesh::start().nodes(0).await;
    let routes = routes(&mesh).await;
    for (_, path) in &routes {
        let takes = |method: &str| {
            let read = |it: &str| it == method || (method == "HEAD" && it == "GET");
            routes.iter().any(|(it, other)| other == path && read(it))
        };
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            for address in [path.clone(), format!("/{path}//")] {
                let reply = send(mesh.client().call(method, &address)).await;
                let (status, allow) = (reply.status(), reply.header("allow").to_owned());
                if takes(method) {
                    assert!(
                        status != 405 && status != 404 || path.contains("able") || path.contains("task"),
                        "{method} {address}: {status}"
                    );
                    continue;
                }
                // What a mesh does not do has one answer to all of them.
                if status == 501 {
                    continue;
                }
                assert_eq!(status, 405, "{method} {address}");
                assert!(
                    routes.iter().any(|(it, other)| other == path && allow.contains(it.as_str())),
                    "{method} {address}: {allow}"
                );
                if method == "HEAD" {
                    continue;
                }
                let said = reply.json().await;
                let words = said["error"]["message"].as_str().or(said["error"].as_str()).unwrap_or_default();
                assert!(words.contains("takes"), "{method} {address}: {said}");
                assert_eq!(
                    said["error"].is_object(),
                    path.starts_with("/v1"),
                    "in the dialect's shape: {said}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_only_a_cloud_or_another_server_has_is_404_with_words_in_the_dialects_shape() {
    let mesh = Mesh::start().nodes(0).await;
    for (method, path, at, words) in [
        ("POST", "/api/me", "/error", "ollama signin"),
        ("POST", "/api/signout", "/error", "ollama signout"),
        ("POST", "/api/experimental/web_search", "/error", "there is no /api/experimental/web_search"),
        ("POST", "/api/web_fetch", "/error", "there is no /api/web_fetch"),
        ("GET", "/api/status", "/error", "there is no /api/status"),
        ("POST", "/api/systemone", "/error", "there is no /api/systemone"),
        ("POST", "/v1/systemone", "/error/message", "there is no /v1/systemone"),
        ("POST", "/v1/audio/speech", "/error/message", "text and vectors"),
        ("POST", "/v1/audio/transcriptions/", "/error/message", "text and vectors"),
        ("POST", "/v1/images/generations", "/error/message", "text and vectors"),
        ("GET", "/v1/files", "/error/message", "there is no /v1/files"),
    ] {
        let reply = send(mesh.client().call(method, path).body("{}")).await;
        let status = reply.status();
        let said = reply.json().await;
        let told = said.pointer(at).and_then(Value::as_str).unwrap_or_default();
        // 5xx would be asked again by OpenAI's clients.
        assert!(status == 404 && told.contains(words), "{path}: {status} {said}");
    }
}

#[tokio::test]
async fn a_browsers_question_lets_every_header_through_that_clients_bring() {
    let mesh = Mesh::start().nodes(0).await;
    let headers = "authorization,content-type,x-api-key,anthropic-version,anthropic-beta,\
        anthropic-dangerous-direct-browser-access,openai-beta,openai-organization,x-stainless-lang,x-stainless-os,\
        x-stainless-retry-count,x-stainless-timeout";
    for path in ["/api/chat", "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/models", "/task"]
    {
        for method in ["GET", "POST", "DELETE"] {
            let call = mesh.client().call("OPTIONS", path).header("origin", "http://localhost:3000");
            let call = call.header("access-control-request-method", method);
            let reply = send(call.header("access-control-request-headers", headers)).await;
            assert_eq!(reply.status(), 204, "{path}");
            let allowed = reply.header("access-control-allow-headers").to_ascii_lowercase();
            assert!(headers.split(',').all(|name| allowed.contains(name)), "{path}: {allowed}");
            assert!(reply.header("access-control-allow-methods").contains(method), "{path}");
        }
    }
}
