//! What Open WebUI 0.12.4 sends, recorded in front of a mesh (docs/clients.md), and what it reads of the answers.

use echo_scripted_engine::Api;
use echo_testing::{
    client::{Call, Reply},
    mesh::{Mesh, holds},
};
use serde_json::{Value, json};

use super::wire::{events, lines, said, send, wire_time};

/// Its headers, those about its user included.
fn dressed(call: Call) -> Call {
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer any"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip, deflate, br"),
        ("user-agent", "Python/3.11 aiohttp/3.14.5"),
        ("x-openwebui-auth-type", "jwt"),
        ("x-openwebui-user-name", "User"),
        ("x-openwebui-user-email", "admin@localhost"),
        ("x-openwebui-user-role", "admin"),
    ];
    headers.iter().fold(call, |call, (name, value)| call.header(name, value))
}

async fn get(mesh: &Mesh, path: &str) -> Value {
    let reply = send(dressed(mesh.client().get(path))).await;
    assert_eq!(reply.status(), 200, "{path}");
    reply.json().await
}

async fn post(mesh: &Mesh, path: &str, body: Value) -> Reply {
    let reply = send(dressed(mesh.client().post(path, &body))).await;
    assert_eq!(reply.status(), 200, "{path} {body}");
    reply
}

/// Its list of models, which it asks for at every turn, and the times that it puts beside them.
async fn lists(mesh: &Mesh) {
    let tags = get(mesh, "/api/tags").await;
    let named = |list: &Value| -> Vec<String> {
        let models = list["models"].as_array().expect("a list").iter();
        models.map(|model| model["model"].as_str().expect("each has its model").to_owned()).collect()
    };
    assert!(named(&tags).contains(&"able:latest".to_owned()), "{tags}");
    assert!(tags["models"][0]["name"].is_string() && tags["models"][0]["size"].is_u64(), "{tags}");
    for loaded in get(mesh, "/api/ps").await["models"].as_array().expect("a list") {
        assert!(loaded["model"].is_string(), "{loaded}");
        // It reads the time wherever there is one, with Python's own reader.
        assert!(loaded.get("expires_at").is_none_or(wire_time), "{loaded}");
    }
    let version = get(mesh, "/api/version").await;
    let version = version["version"].as_str().expect("a version");
    let bare = version.trim_start_matches('v').split('-').next().expect("a split has a first");
    assert!(bare.split('.').all(|part| part.parse::<u64>().is_ok()), "{version} is compared by numbers");
    let models = get(mesh, "/v1/models").await;
    assert!(models["data"].as_array().is_some_and(|data| data.iter().all(|it| it["id"].is_string())));
}

async fn chats(mesh: &Mesh) {
    let hello = json!([{"role": "user", "content": "[tokens=5]"}]);
    let body = json!({"model": "able:latest", "messages": hello, "stream": false});
    let answer = post(mesh, "/api/chat", body.clone()).await.json().await;
    assert_eq!(answer["message"]["content"], "t0 t1 t2 t3 t4 ");
    // Of these it makes the numbers below an answer.
    for count in ["prompt_eval_count", "eval_count", "total_duration", "eval_duration"] {
        assert!(answer[count].is_u64(), "{count}: {answer}");
    }
    let options = json!({"temperature": 0.1, "num_predict": 5});
    let streamed = json!({"model": "able:latest", "messages": hello, "options": options, "stream": true,
        "keep_alive": "5m"});
    let reply = post(mesh, "/api/chat", streamed).await;
    assert_eq!(reply.header("content-type"), "application/x-ndjson");
    let told = lines(reply).await;
    let text: String = told.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
    assert_eq!((text.as_str(), &told.last().expect("an end")["done"]), ("t0 t1 t2 ", &json!(true)));
    let body = json!({"model": "able:latest", "prompt": "[tokens=2]", "stream": true});
    let told = lines(post(mesh, "/api/generate", body).await).await;
    let text: String = told.iter().filter_map(|line| line["response"].as_str()).collect();
    assert_eq!(text, "t0 t1 ");
    let body = json!({"model": "able:latest", "messages": hello, "stream": true});
    let told = events(post(mesh, "/v1/chat/completions", body.clone()).await).await;
    assert_eq!((said(&told).as_str(), told.last()), ("t0 t1 t2 t3 t4 ", Some(&json!("[DONE]"))));
    // It asks for a title in one piece, with the thinking of the model off.
    let body = json!({"model": "able:latest", "messages": hello, "stream": false, "think": false,
        "options": {"num_predict": 1000}});
    assert_eq!(post(mesh, "/api/chat", body).await.json().await["message"]["thinking"], Value::Null);
}

async fn models(mesh: &Mesh) {
    let shown = post(mesh, "/api/show", json!({"model": "able:latest"})).await.json().await;
    assert!(shown["capabilities"].is_array() && shown["model_info"].is_object(), "{shown}");
    let body = json!({"model": "vectors:latest", "input": ["a", "b"]});
    let embedded = post(mesh, "/api/embed", body).await.json().await;
    assert_eq!(embedded["embeddings"].as_array().map(Vec::len), Some(2), "{embedded}");
    let unload = json!({"model": "able:latest", "keep_alive": 0, "prompt": ""});
    let answer = post(mesh, "/api/generate", unload).await.json().await;
    assert_eq!(answer["done"], true, "{answer}");
    let pull = dressed(mesh.client().post("/api/pull", &json!({"model": "fresh", "insecure": true})));
    let refused = send(pull).await;
    assert_eq!(refused.status(), 403);
    assert!(refused.json().await["error"].is_string(), "it shows the reason to its user");
}

#[tokio::test]
async fn open_webui_gets_what_it_reads() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = super::wire::able(api).script(|script| script.tool_call = None).await;
        mesh.until("its list to be whole", || async {
            let tags = get(&mesh, "/api/tags").await;
            holds(tags["models"].as_array().is_some_and(|models| models.len() == 3), tags)
        })
        .await;
        lists(&mesh).await;
        chats(&mesh).await;
        lists(&mesh).await;
        models(&mesh).await;
        mesh.is_quiet().await;
    }
}
