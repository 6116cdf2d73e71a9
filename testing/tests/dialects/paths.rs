//! Addresses that are almost right, routes that are not there, and the version that clients ask for.

use echo_scripted_engine::Api;
use echo_testing::{client::Client, mesh::Mesh};
use serde_json::{Value, json};

use super::wire::{ABLE, able, post, send};

fn chat() -> Value {
    json!({"model": ABLE, "stream": false, "messages": [{"role": "user", "content": "[tokens=1]"}]})
}

#[tokio::test]
async fn slashes_too_many_are_served_without_a_redirect() {
    let mesh = able(Api::Ollama).await;
    let task = json!({"prompt": "[tokens=1]"});
    for (path, body) in [
        ("//api/chat", chat()),
        ("/api/chat/", chat()),
        ("/api//chat", chat()),
        ("/v1/chat/completions/", chat()),
        ("//v1//chat//completions//?a=b//", chat()),
        ("/task/", task.clone()),
        ("//task//stream", task),
    ] {
        let reply = post(mesh.client(), path, &body).await;
        assert_eq!((reply.status(), reply.header("location")), (200, ""), "{path}");
    }
    for path in [
        "/api/tags/",
        "//v1/models",
        "/v1/models/",
        "/status/",
        "/health/",
        "/metrics//",
        "//",
        "/v1/models//able/",
    ] {
        let reply = send(mesh.client().get(path)).await;
        assert_eq!((reply.status(), reply.header("location")), (200, ""), "{path}");
    }
    let reply = send(mesh.client().get("//evil.example/%2e%2e")).await;
    assert_eq!((reply.status(), reply.header("location")), (404, ""));
    let foreign = mesh.client().post("//api/chat/", &chat()).header("origin", "http://evil.example");
    assert_eq!(send(foreign).await.status(), 403, "a slash opens no door");
}

async fn missing(client: Client, method: &str, path: &str) -> Value {
    let reply = send(client.call(method, path).body("{}")).await;
    assert_eq!(reply.status(), 404, "{path}: {}", reply.text().await);
    assert_eq!(reply.header("location"), "");
    reply.json().await
}

#[tokio::test]
async fn a_wrong_beginning_of_a_path_is_404_that_names_the_right_one_in_its_dialect() {
    let mesh = Mesh::start().nodes(0).await;
    for (method, path, at, right) in [
        ("POST", "/v1/v1/chat/completions", "/error/message", "POST /v1/chat/completions"),
        ("GET", "/v1/api/tags", "/error", "GET /api/tags"),
        ("GET", "/api/v1/models", "/error/message", "GET /v1/models"),
        ("POST", "/api/api/chat/", "/error", "POST /api/chat"),
        ("POST", "/chat/completions", "/error/message", "POST /v1/chat/completions"),
        ("GET", "//models", "/error/message", "GET /v1/models"),
        ("POST", "/embeddings", "/error/message", "POST /v1/embeddings"),
        ("GET", "/nowhere", "/error", "POST /task"),
        ("POST", "/api/nothing", "/error", "under /api"),
        ("POST", "/v1/nothing", "/error/message", "under /v1"),
    ] {
        let told = missing(mesh.client(), method, path).await;
        let words = told.pointer(at).and_then(Value::as_str).unwrap_or_default();
        assert!(words.contains(right), "{path}: {told}");
    }
}

#[tokio::test]
async fn who_speaks_anthropics_api_is_told_in_its_own_shape_what_there_is() {
    let mesh = Mesh::start().nodes(0).await;
    let told = |reply: Value, kind: &str, words: &str| {
        assert_eq!((&reply["type"], &reply["error"]["type"]), (&json!("error"), &json!(kind)));
        let said = reply["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(said.contains(words), "{said}");
        assert!(reply["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{reply}");
    };
    let right = "POST /v1/messages is the route; the base URL of Anthropic's API has no /v1";
    for (path, words) in [
        ("/v1/v1/messages?beta=true", right),
        ("/messages", right),
        ("/v1/v1/messages/count_tokens", "POST /v1/messages/count_tokens is the route"),
        ("/v1/messages/batches", "batches are not served"),
        ("/v1/messages/batches/msgbatch_1/results", "batches are not served"),
        ("/v1/messages/nothing/", "Anthropic's POST /v1/messages"),
    ] {
        told(missing(mesh.client(), "POST", path).await, "not_found_error", words);
    }
    for path in ["/v1/complete", "/v1/v1/messages", "/nowhere", "/v1/files"] {
        let call = mesh.client().call("POST", path).header("anthropic-version", "2023-06-01").body("{}");
        let reply = send(call).await;
        assert_eq!((reply.status(), reply.header("request-id").is_empty()), (404, false));
        told(reply.json().await, "not_found_error", "/v1/messages");
    }
    let reply = send(mesh.client().get("/v1/messages")).await;
    assert_eq!(reply.status(), 405);
    told(reply.json().await, "invalid_request_error", "takes POST, not GET");
    let foreign = mesh.client().post("/v1/messages", &json!({})).header("origin", "http://evil.example");
    told(send(foreign).await.json().await, "permission_error", "");
    assert_eq!(send(mesh.client().call("HEAD", "/")).await.status(), 200);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let mesh = Mesh::start().nodes(0).await;
    for (method, path, right) in [
        ("POST", "/v1/models/able", "takes GET, not POST"),
        ("GET", "/api/chat/", "takes POST, not GET"),
        ("POST", "/api/delete", "takes DELETE, not POST"),
    ] {
        let reply = send(mesh.client().call(method, path)).await;
        let (status, words) = (reply.status(), reply.json().await.to_string());
        assert!(status == 405 && words.contains(right), "{words}");
    }
}

#[tokio::test]
async fn the_version_is_the_level_of_the_api_whatever_the_nodes_are() {
    let version = async |mesh: &Mesh| {
        let reply = send(mesh.client().get("/api/version")).await;
        assert!(reply.header("server").starts_with("echo-edge/"), "{}", reply.header("server"));
        reply.json().await["version"].as_str().expect("a text").to_owned()
    };
    let mesh = able(Api::Openai).await;
    let level = version(&mesh).await;
    let numbers: Vec<u64> = level.split('.').map(|part| part.parse().expect("a number")).collect();
    // An editor asks for 0.6.4, who looks for OpenAI's Responses for 0.13.4.
    assert!(numbers >= vec![0, 13, 4], "{level}");
    assert_eq!(mesh.status().await["edge"]["version"], env!("CARGO_PKG_VERSION"));
    mesh.orchestrator(0).kill().await;
    assert_eq!(version(&mesh).await, level, "nobody knows the nodes");
    drop(mesh);
    assert_eq!(version(&able(Api::Ollama).await).await, level, "this node's engine says 0.33.0");
}

#[tokio::test]
async fn what_only_a_node_can_do_for_ollamas_command_says_so_and_what_to_do() {
    let mesh = Mesh::start().nodes(0).await;
    for (path, command) in [
        ("/api/push", "ollama push"),
        ("/api/create", "ollama create"),
        ("/api/copy", "ollama cp"),
        ("/api/blobs/sha256:0", "on a node"),
    ] {
        let reply = post(mesh.client(), path, &json!({"model": "able"})).await;
        let status = reply.status();
        let words = reply.json().await["error"].as_str().unwrap_or_default().to_owned();
        assert!(
            status == 501 && words.contains("a mesh does not") && words.contains(command),
            "{path}: {words}"
        );
    }
}
