//! The documentation is true: each route of it is called as it stands there.

use echo_scripted_engine::Model;
use echo_testing::{
    client::Reply,
    mesh::{Mesh, holds, until},
};
use serde_json::{Value, json};

use super::wire::{events, lines, send, whole};

/// All routes of the edge. What is added there is added here and to the documentation.
const ROUTES: [&str; 42] = [
    "delete /api/delete",
    "delete /mesh/tasks/{shown}",
    "delete /task/{task}",
    "delete /v1/responses/{response}",
    "get /",
    "get /api/ps",
    "get /api/tags",
    "get /api/version",
    "get /docs",
    "get /health",
    "get /mesh/watch",
    "get /metrics",
    "get /openapi.json",
    "get /status",
    "get /task/{task}",
    "get /task/{task}/stream",
    "get /v1/models",
    "get /v1/models/{id}",
    "get /v1/responses/{response}",
    "get /v1/responses/{response}/input_items",
    "post /api/blobs/{digest}",
    "post /api/chat",
    "post /api/copy",
    "post /api/create",
    "post /api/embed",
    "post /api/embeddings",
    "post /api/generate",
    "post /api/pull",
    "post /api/push",
    "post /api/show",
    "post /nodes/{node}/drain",
    "post /nodes/{node}/resume",
    "post /task",
    "post /task/stream",
    "post /v1/chat/completions",
    "post /v1/completions",
    "post /v1/embeddings",
    "post /v1/messages",
    "post /v1/messages/count_tokens",
    "post /v1/responses",
    "post /v1/responses/input_tokens",
    "post /v1/responses/{response}/cancel",
];

async fn mesh() -> Mesh {
    let models = vec![Model::named("mistral"), Model::embedding("nomic-embed-text")];
    let args = ["--allow-model-management"];
    Mesh::start().nodes(1).agent_args(args).script(|script| script.models = models).await
}

async fn document(mesh: &Mesh) -> Value {
    let reply = send(mesh.client().get("/openapi.json")).await;
    assert_eq!((reply.status(), reply.header("content-type")), (200, "application/json"));
    reply.json().await
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let each = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().cloned().unwrap_or_default().into_iter();
        methods.map(|(method, operation)| (method, path.clone(), operation)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(each).collect()
}

async fn call(mesh: &Mesh, method: &str, path: &str, operation: &Value, body: Option<String>) -> Reply {
    let mut path = path.to_owned();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().expect("a name");
        path = path.replace(&format!("{{{name}}}"), parameter["example"].as_str().expect("an example"));
    }
    let call = mesh.client().call(&method.to_uppercase(), &path);
    send(match body {
        Some(body) => call.header("content-type", "application/json").body(body),
        None => call,
    })
    .await
}

#[tokio::test]
async fn every_route_answers_as_documented() {
    let mesh = mesh().await;
    let document = document(&mesh).await;
    let mut operations = operations(&document);
    let mut named: Vec<String> =
        operations.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    named.sort();
    assert_eq!(named, ROUTES);
    let (_, kept) = mesh.task(&json!({"prompt": "Say hello", "keep": "60s"})).await;
    let kept = kept["task_id"].as_str().expect("an id").to_owned();
    let background = json!({"model": "mistral", "input": "Say hello", "background": true});
    let (status, response) = whole(mesh.client(), "/v1/responses", &background).await;
    assert_eq!(status, 200, "{response}");
    let response = response["id"].as_str().expect("an id").to_owned();
    // What is deleted has to be there: the pull's example is the same model.
    operations.sort_by_key(|(method, path, _)| (method == "delete", path.starts_with("/nodes")));
    for (method, path, operation) in operations {
        match path.as_str() {
            "/api/delete" => is_listed(&mesh, "all-minilm:latest").await,
            // Neither has an end of its own, nor an example that is there: tests/mesh/watch.rs calls them.
            "/mesh/watch" | "/mesh/tasks/{shown}" => continue,
            _ => {}
        }
        let path = path.replace("{task}", &kept).replace("{response}", &response);
        let example = &operation["requestBody"]["content"]["application/json"]["example"];
        let body = (!example.is_null()).then(|| example.to_string());
        let reply = call(&mesh, &method, &path, &operation, body).await;
        let (wanted, answer) =
            operation["responses"].as_object().and_then(|all| all.iter().next()).expect("an answer");
        assert_eq!(&reply.status().to_string(), wanted, "{method} {path}: {}", reply.text().await);
        check(&method, &path, answer, reply).await;
    }
}

/// The type of the answer, and the fields that it always has.
async fn check(method: &str, path: &str, answer: &Value, reply: Reply) {
    let Some((media, content)) = answer["content"].as_object().and_then(|content| content.iter().next())
    else {
        assert_eq!(reply.text().await, "");
        return;
    };
    assert!(
        reply.header("content-type").starts_with(media.as_str()),
        "{path}: {}",
        reply.header("content-type")
    );
    let objects = match media.as_str() {
        "application/x-ndjson" => lines(reply).await,
        "text/event-stream" => events(reply).await,
        "application/json" => vec![reply.json().await],
        _ => return assert!(!reply.text().await.is_empty(), "{path}"),
    };
    assert!(!objects.is_empty(), "{path}");
    for object in objects {
        for field in content["schema"]["required"].as_array().into_iter().flatten() {
            assert!(
                object.get(field.as_str().expect("a name")).is_some(),
                "{method} {path}: no {field} in {object}"
            );
        }
    }
}

#[tokio::test]
async fn every_refusal_is_a_documented_one() {
    let mesh = mesh().await;
    for (method, path, operation) in operations(&document(&mesh).await) {
        if operation["requestBody"].is_null() {
            continue;
        }
        let mut unknown = operation["requestBody"]["content"]["application/json"]["example"].clone();
        for name in ["model", "model_hint"] {
            if unknown.get(name).is_some() {
                unknown[name] = json!("nobody-has-this");
            }
        }
        for body in ["{", "[]", "{}", r#"{"model": 5, "model_hint": 5}"#, "", &unknown.to_string()] {
            if path == "/api/pull" && body.contains("nobody") {
                continue;
            }
            let reply = call(&mesh, &method, &path, &operation, Some(body.to_owned())).await;
            let status = reply.status();
            let text = reply.text().await;
            assert!(
                operation["responses"].get(status.to_string()).is_some() && status >= 400,
                "{path} {body}: {status} {text}"
            );
        }
    }
}

#[tokio::test]
async fn the_page_for_people_stands_alone() {
    let mesh = Mesh::start().nodes(0).await;
    let reply = send(mesh.client().get("/docs")).await;
    assert_eq!((reply.status(), reply.header("content-type")), (200, "text/html; charset=utf-8"));
    let page = reply.text().await;
    assert!(page.contains("/v1/chat/completions") && page.contains("OLLAMA_HOST"));
    assert!(
        !page.contains("src=") && !page.contains("http://fonts") && !page.contains("<script"),
        "nothing from elsewhere"
    );
}

async fn is_listed(mesh: &Mesh, model: &str) {
    until("the pulled model to be listed", || async {
        let tags = send(mesh.client().get("/api/tags")).await.text().await;
        holds(tags.contains(model), &tags)
    })
    .await;
}
