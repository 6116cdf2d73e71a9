//! What is meant for a model and not for an answer concerns every node that has it.

use std::time::Duration;

use echo_scripted_engine::{Api, Engine, Model, Script};
use echo_testing::{
    client::Client,
    mesh::{Mesh, holds, until_within},
};
use serde_json::{Value, json};

use super::wire::{ABLE, EMBEDDER, able, send, whole};

/// What an engine itself says that it has loaded.
async fn loaded(engine: &Engine) -> Vec<Value> {
    let ps = send(Client::new(engine.addr()).get("/api/ps")).await.json().await;
    ps["models"].as_array().into_iter().flatten().map(|model| model["name"].clone()).collect()
}

async fn load(engine: &Engine, model: &str) {
    let body = json!({"model": model, "prompt": "", "keep_alive": -1});
    whole(Client::new(engine.addr()), "/api/generate", &body).await;
    assert_eq!(loaded(engine).await, [format!("{model}:latest")]);
}

async fn unloads(mesh: &Mesh, path: &str, body: &Value) -> Value {
    let (status, answer) = whole(mesh.client(), path, body).await;
    assert_eq!(
        (status, &answer["done_reason"], &answer["done"]),
        (200, &json!("unload"), &json!(true)),
        "{answer}"
    );
    answer
}

#[tokio::test]
async fn an_unload_reaches_every_node_that_has_the_model() {
    let mesh = able(Api::Ollama).nodes(3).await;
    for (path, body) in [
        ("/api/generate", json!({"model": ABLE, "keep_alive": 0})),
        ("/api/generate", json!({"model": ABLE, "prompt": "", "keep_alive": "0s", "stream": true})),
        ("/api/chat", json!({"model": ABLE, "messages": [], "keep_alive": 0})),
    ] {
        for node in mesh.nodes() {
            load(node.engine(), ABLE).await;
        }
        let answer = unloads(&mesh, path, &body).await;
        assert!(answer.get("kept").is_none(), "{answer}");
        for node in mesh.nodes() {
            assert!(loaded(node.engine()).await.is_empty(), "{path} {body}: {}", node.id());
        }
    }
    for node in mesh.nodes() {
        load(node.engine(), EMBEDDER).await;
    }
    unloads(&mesh, "/api/generate", &json!({"model": EMBEDDER, "keep_alive": 0})).await;
    for node in mesh.nodes() {
        assert!(loaded(node.engine()).await.is_empty(), "a model that only embeds can be unloaded too");
    }
    let (status, error) =
        whole(mesh.client(), "/api/generate", &json!({"model": "nobody", "keep_alive": 0})).await;
    assert_eq!((status, &error["error"]), (404, &json!("model 'nobody' not found")));
}

#[tokio::test]
async fn an_unload_does_not_wait_behind_an_answer() {
    let mesh = Mesh::start().nodes(1).await;
    let mut running = mesh.ask("count [tokens=3000] [delay=10]");
    running.read_tokens(1).await;
    let unload = json!({"model": "scripted", "keep_alive": 0});
    tokio::time::timeout(Duration::from_secs(5), unloads(&mesh, "/api/generate", &unload))
        .await
        .expect("at once, though the only slot is taken");
    drop(running);
    until_within(Duration::from_secs(5), "the engine to unload after the answer", || async {
        let left = loaded(mesh.engine(0)).await;
        holds(left.is_empty(), format!("{left:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_node_that_cannot_unload_says_so_and_the_others_do() {
    let mesh = Mesh::start().nodes(1).await;
    let script = Script {
        api: Api::Openai,
        models: vec![Model::named("scripted"), Model::named("other")],
        ..Script::default()
    };
    let engine = Engine::start(script.clone()).await;
    let agent = mesh.agent("llama", &engine.url(), &script);
    agent.start().await;
    mesh.node_is("llama", "idle").await;
    load(mesh.engine(0), "scripted").await;
    let answer = unloads(&mesh, "/api/generate", &json!({"model": "scripted", "keep_alive": 0})).await;
    assert_eq!(answer["kept"][0]["node"], "llama", "{answer}");
    assert!(answer["kept"][0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{answer}");
    assert!(loaded(mesh.engine(0)).await.is_empty());
    let (status, answer) =
        whole(mesh.client(), "/api/generate", &json!({"model": "other", "keep_alive": 0})).await;
    assert_eq!((status, &answer["done_reason"]), (200, &json!("load")), "it stays loaded: {answer}");
}
