//! Ollama's API where a mesh behind it shows: failover, queue, hang-ups, nodes of the other kind, odd requests.

use std::time::Duration;

use echo_scripted_engine::Api;
use echo_testing::mesh::{Mesh, holds};
use serde_json::{Value, json};

use super::wire::{ABLE, EMBEDDER, able, lines, post, send, weather, whole};

fn text(lines: &[Value]) -> String {
    lines
        .iter()
        .map(|line| line["message"]["content"].as_str().or(line["response"].as_str()).unwrap_or_default())
        .collect()
}

fn ask(prompt: &str) -> Value {
    json!({"model": "scripted", "messages": [{"role": "user", "content": prompt}]})
}

#[tokio::test]
async fn an_answer_goes_on_when_its_node_dies() {
    let mesh = Mesh::start().await;
    let reply = post(mesh.client(), "/api/chat", &ask("count [tokens=60] [delay=5] [fault=die@20]")).await;
    assert_eq!(reply.status(), 200);
    let lines = lines(reply).await;
    let wanted: String = (0..60).map(|index| format!("t{index} ")).collect();
    assert_eq!(text(&lines), wanted);
    let last = lines.last().expect("a last line");
    assert_eq!(
        (&last["done"], &last["done_reason"], &last["eval_count"]),
        (&json!(true), &json!("stop"), &json!(60))
    );
    assert_eq!(lines.iter().filter(|line| line["done"] == true).count(), 1);
}

#[tokio::test]
async fn a_failure_before_the_first_piece_has_a_status_and_one_in_mid_stream_is_the_last_line() {
    let mesh = Mesh::start().nodes(1).edge_args(["--attempts", "1"]).await;
    let reply = post(mesh.client(), "/api/chat", &ask("[fault=error@0]")).await;
    assert_eq!(reply.status(), 500);
    assert!(reply.json().await["error"].as_str().is_some_and(|error| error.contains("scripted fault")));
    let reply = post(mesh.client(), "/api/chat", &ask("[tokens=9] [delay=5] [fault=error@4]")).await;
    assert_eq!((reply.status(), reply.header("content-type")), (200, "application/x-ndjson"));
    let lines = lines(reply).await;
    assert_eq!(text(&lines), "t0 t1 t2 t3 ");
    let last = lines.last().and_then(Value::as_object).expect("a last line");
    assert_eq!(last.keys().collect::<Vec<_>>(), ["error"]);
    assert!(lines.iter().all(|line| line["done"] != true), "an error is no end");
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_the_engine() {
    let mesh = Mesh::start().nodes(1).await;
    for stream in [true, false] {
        let mut body = ask("count [tokens=3000] [delay=10]");
        body["stream"] = stream.into();
        let call = mesh.client().post("/api/chat", &body);
        let task = tokio::spawn(async move {
            let mut reply = send(call).await;
            while reply.chunk().await.is_ok_and(|chunk| chunk.is_some()) {}
        });
        mesh.engine(0).until(|counters| counters.running == 1).await.expect("the task runs");
        task.abort();
        mesh.is_quiet_within(Duration::from_secs(1)).await;
    }
    assert_eq!(mesh.engine(0).counters().cancelled, 2);
}

#[tokio::test]
async fn a_full_queue_is_429_in_each_dialect() {
    let mesh = Mesh::start().nodes(1).orchestrator_args(["--queue-limit", "1"]).await;
    let mut running = mesh.ask("count [tokens=3000] [delay=10]");
    running.read_tokens(1).await;
    let mut waiting = mesh.ask("count [tokens=1]");
    waiting.comment("queued").await;
    for stream in [true, false] {
        let mut body = ask("hello");
        body["stream"] = stream.into();
        let (status, error) = whole(mesh.client(), "/api/chat", &body).await;
        assert_eq!(status, 429, "{error}");
        assert!(error["error"].is_string(), "{error}");
        let (status, error) = whole(mesh.client(), "/v1/chat/completions", &body).await;
        assert_eq!((status, &error["error"]["code"]), (429, &json!("rate_limit_exceeded")), "{error}");
    }
}

#[tokio::test]
async fn a_node_with_openais_api_serves_ollamas_clients() {
    let mesh = able(Api::Openai).await;
    let messages = json!([{"role": "user", "content": "[tokens=4]"}]);
    let reply = post(mesh.client(), "/api/chat", &json!({"model": ABLE, "messages": messages})).await;
    let told = lines(reply).await;
    assert_eq!(text(&told), "t0 t1 t2 t3 ");
    assert_eq!(told[0]["message"]["thinking"], "h0 ");
    let last = told.last().expect("a last line");
    assert_eq!((&last["done_reason"], last["eval_count"].is_u64()), (&json!("stop"), true), "{last}");
    let body =
        json!({"model": ABLE, "prompt": "[tokens=3]", "stream": false, "logprobs": true, "think": false});
    let (status, answer) = whole(mesh.client(), "/api/generate", &body).await;
    assert_eq!((status, &answer["response"]), (200, &json!("t0 t1 t2 ")), "{answer}");
    assert_eq!(answer["logprobs"].as_array().map(Vec::len), Some(3), "{answer}");
    let called = json!({"model": ABLE, "messages": messages, "tools": [weather()], "stream": false});
    let (_, answer) = whole(mesh.client(), "/api/chat", &called).await;
    let function = &answer["message"]["tool_calls"][0]["function"];
    assert_eq!(
        (&function["name"], &function["arguments"]["city"]),
        (&json!("weather"), &json!("Oslo")),
        "{answer}"
    );
    let (_, answer) =
        whole(mesh.client(), "/api/embed", &json!({"model": EMBEDDER, "input": ["a", "b"]})).await;
    assert_eq!(answer["embeddings"].as_array().map(Vec::len), Some(2), "{answer}");
    let (_, answer) =
        whole(mesh.client(), "/api/embeddings", &json!({"model": EMBEDDER, "prompt": "a"})).await;
    assert!(answer["embedding"].is_array(), "{answer}");
    let (_, answer) = whole(mesh.client(), "/api/chat", &json!({"model": ABLE})).await;
    assert_eq!(answer["done_reason"], "load");
    let (status, shown) = whole(mesh.client(), "/api/show", &json!({"model": ABLE})).await;
    assert_eq!((status, shown["details"].is_object()), (200, true), "{shown}");
    let tags = mesh.client().get("/api/tags").send().await.expect("a reply").json().await;
    assert_eq!(tags["models"][0]["digest"].as_str().map(str::len), Some(64), "{tags}");
}

#[tokio::test]
async fn the_list_is_the_union_of_all_nodes() {
    let mesh = Mesh::start().await;
    mesh.engine(1).edit(|script| script.models.push(echo_scripted_engine::Model::named("other")));
    let pulled = json!({"model": "other"});
    lines(post(echo_testing::client::Client::new(mesh.engine(1).addr()), "/api/pull", &pulled).await).await;
    let names = mesh
        .until("both nodes' models to be listed", || async {
            let tags = mesh.client().get("/api/tags").send().await.expect("a reply").json().await;
            let names: Vec<Value> =
                tags["models"].as_array().into_iter().flatten().map(|it| it["name"].clone()).collect();
            if names.len() == 2 { Ok(names) } else { Err(tags) }
        })
        .await;
    assert!(names.contains(&json!("scripted:latest")) && names.contains(&json!("other:latest")), "{names:?}");
    let (status, answer) = whole(
        mesh.client(),
        "/api/generate",
        &json!({"model": "other", "prompt": "[tokens=1]", "stream": false}),
    )
    .await;
    assert_eq!(status, 200, "{answer}");
    mesh.until("the loaded model to be shown with its node", || async {
        let ps = mesh.client().get("/api/ps").send().await.expect("a reply").json().await;
        let loaded = ps["models"].as_array().into_iter().flatten();
        let other: Vec<&Value> = loaded.filter(|it| it["name"] == "other:latest").collect();
        holds(other.len() == 1 && other[0]["node"] == "node-b" && other[0]["size_vram"].is_u64(), &ps)
    })
    .await;
}

#[tokio::test]
async fn what_a_mesh_cannot_offer_says_why() {
    let mesh = Mesh::start().nodes(1).await;
    for (method, path) in [
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("POST", "/api/push"),
        ("POST", "/api/blobs/sha256:1"),
    ] {
        let reply = send(mesh.client().call(method, path).body("{}")).await;
        assert_eq!(reply.status(), 501, "{path}");
        assert!(reply.json().await["error"].as_str().is_some_and(|error| error.contains("node")), "{path}");
    }
    let head = send(mesh.client().call("HEAD", "/api/blobs/sha256:1")).await;
    assert_eq!(head.status(), 501);
    let (status, error) = whole(mesh.client(), "/api/nothing", &json!({})).await;
    assert_eq!((status, error["error"].is_string()), (404, true), "{error}");
    let reply = send(mesh.client().get("/api/chat")).await;
    assert_eq!((reply.status(), reply.json().await["error"].is_string()), (405, true));
}
