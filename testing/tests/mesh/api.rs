//! The HTTP API, as the README shows it.

use echo_scripted_engine::{Api, Model};
use echo_testing::{
    client::{Stream, scripted},
    mesh::{Mesh, holds},
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_task_is_answered_whole() {
    let mesh = Mesh::start().await;
    let reply =
        mesh.client().post("/task", &json!({"prompt": "count [tokens=5]"})).send().await.expect("a reply");
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.header("content-type"), "application/json");
    let text = reply.text().await;
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(text.len(), answer.to_string().len(), "not compact: {text}");
    assert_eq!(answer["content"], "t0 t1 t2 t3 t4 ");
    assert_eq!((&answer["success"], &answer["attempts"]), (&json!(true), &json!(1)));
    assert_eq!(answer["model_used"], "scripted:latest");
    assert!(["node-a", "node-b"].contains(&answer["routed_to"].as_str().expect("a node")), "{answer}");
    assert!(answer["latency_ms"].is_u64(), "{answer}");
    assert_eq!(answer["task_id"].as_str().map(str::len), Some(36), "{answer}");
}

#[tokio::test]
async fn a_stream_is_one_event_for_each_chunk_of_the_engine() {
    let mesh = Mesh::start().await;
    let call = mesh.client().post("/task/stream", &json!({"prompt": "count [tokens=20] [delay=5]"}));
    let reply = call.send().await.expect("a reply");
    assert_eq!((reply.status(), reply.header("content-type")), (200, "text/event-stream"));
    assert!(reply.header("cache-control").contains("no-cache"));
    let answer = mesh.ask("count [tokens=20] [delay=5]").rest().await;
    answer.assert_every_token_once(20);
    assert_eq!(answer.tokens().len(), 20, "one event per chunk");
    let threes = mesh.ask("count [tokens=9] [chunk=3] [delay=5]").rest().await;
    assert_eq!(threes.tokens(), ["t0 t1 t2 ", "t3 t4 t5 ", "t6 t7 t8 "]);
}

#[tokio::test]
async fn the_events_have_the_documented_shape() {
    let mesh = Mesh::start().nodes(1).await;
    let body = json!({"prompt": "count [tokens=2]", "task_id": "mine-1"});
    let answer = mesh.stream(&body).rest().await;
    answer.assert_every_token_once(2);
    for (index, event) in answer.events[..2].iter().enumerate() {
        let token = scripted(index as u64);
        let wanted = format!(r#"{{"task_id":"mine-1","token":"{token}","done":false,"routed_to":"node-a"}}"#);
        assert_eq!(event.raw, wanted);
    }
    let last = answer.events.last().expect("an end");
    assert!(last.raw.starts_with(r#"{"task_id":"mine-1","token":"","done":true,"#), "{}", last.raw);
    assert!(last.json["latency_ms"].is_u64(), "{}", last.raw);
    assert_eq!(last.json["attempts"], 1);
    assert_eq!(last.json["model_used"], "scripted:latest");
    assert_ne!(last.json["success"], false);
}

#[tokio::test]
async fn text_that_comes_with_the_engines_last_chunk_is_not_lost() {
    let mesh = Mesh::start().nodes(1).await;
    mesh.ask("count [tokens=4] [final=text]").rest().await.assert_every_token_once(4);
    let (status, answer) = mesh.task(&json!({"prompt": "count [tokens=4] [final=text]"})).await;
    assert_eq!((status, answer["content"].as_str()), (200, Some("t0 t1 t2 t3 ")));
}

#[tokio::test]
async fn a_node_with_an_openai_engine_answers_the_same() {
    let mesh = Mesh::start().api(Api::Openai).await;
    mesh.ask("count [tokens=7] [delay=2]").rest().await.assert_every_token_once(7);
    let (status, answer) = mesh.task(&json!({"prompt": "count [tokens=3]"})).await;
    assert_eq!((status, answer["content"].as_str()), (200, Some("t0 t1 t2 ")), "{answer}");
}

#[tokio::test]
async fn a_clients_own_task_id_is_his_for_as_long_as_the_task_runs() {
    let mesh = Mesh::start().nodes(1).slots(2).await;
    let body = json!({"prompt": "count [tokens=400] [delay=10]", "task_id": "a.b_c:d-1"});
    let mut first = mesh.stream(&body);
    first.read_tokens(1).await;
    let (status, refusal) = mesh.task(&body).await;
    assert_eq!(status, 409, "{refusal}");
    assert!(refusal["error"].as_str().is_some_and(|text| text.contains("a.b_c:d-1")), "{refusal}");
    assert_eq!(mesh.stream(&body).status().await, 409);
    drop(first);
    mesh.until("the id to be free again", || async {
        let (status, answer) = mesh.task(&json!({"prompt": "[tokens=1]", "task_id": "a.b_c:d-1"})).await;
        holds(status == 200 && answer["task_id"] == "a.b_c:d-1", answer)
    })
    .await;
}

#[tokio::test]
async fn a_model_is_found_with_and_without_its_tag_and_embedders_are_never_the_default() {
    let models = vec![Model::embedding("aaa"), Model::named("bbb"), Model::named("mistral:7b")];
    let mesh = Mesh::start().nodes(1).script(|script| script.models = models).await;
    for (hint, used) in [("bbb", "bbb:latest"), ("bbb:latest", "bbb:latest"), ("mistral:7b", "mistral:7b")] {
        let (status, answer) = mesh.task(&json!({"prompt": "[tokens=1]", "model_hint": hint})).await;
        assert_eq!((status, answer["model_used"].as_str()), (200, Some(used)), "{answer}");
    }
    let (status, answer) = mesh.task(&json!({"prompt": "[tokens=1]"})).await;
    assert_eq!((status, answer["model_used"].as_str()), (200, Some("bbb:latest")), "{answer}");
}

#[tokio::test]
async fn options_reach_the_engine_and_unknown_fields_are_ignored() {
    let mesh = Mesh::start().nodes(1).await;
    let body = json!({"prompt": "count", "options": {"num_predict": 3, "temperature": 0.25, "mirostat": 2},
        "something_new": {"a": 1}});
    let (status, answer) = mesh.task(&body).await;
    assert_eq!((status, answer["content"].as_str()), (200, Some("t0 t1 t2 ")), "{answer}");
    let requests = mesh.engine(0).requests();
    let seen = requests.iter().rev().find(|seen| seen.path == "/api/generate" || seen.path == "/api/chat");
    let options = &seen.expect("a request at the engine").body["options"];
    assert_eq!((&options["temperature"], &options["mirostat"]), (&json!(0.25), &json!(2)), "{options}");
    assert_eq!(options["num_predict"], 3);
}

#[tokio::test]
async fn status_shows_each_node_with_what_it_has() {
    let mesh = Mesh::start().slots(3).await;
    let mut stream = mesh.ask("count [tokens=2000] [delay=10]");
    let node = stream.node().await;
    mesh.until("the running task to be counted", || async {
        let seen = mesh.seen(&node).await;
        holds(seen["active_tasks"] == 1, seen)
    })
    .await;
    let status = mesh.status().await;
    assert_eq!(status["node_count"], 2);
    let now = status["server_time"].as_u64().expect("a time");
    for seen in status["nodes"].as_array().expect("nodes") {
        assert_eq!((&seen["status"], &seen["slots"]), (&json!("idle"), &json!(3)), "{seen}");
        assert_eq!(seen["models"], json!(["scripted:latest"]), "{seen}");
        let id = seen["node_id"].as_str().expect("an id");
        assert_eq!(seen["agent_port"], mesh.node(id).address().port(), "{seen}");
        assert!(seen["agent_host"].is_string(), "{seen}");
        let (heard, joined) = (seen["last_heartbeat"].as_u64(), seen["registered_at"].as_u64());
        let (heard, joined) = (heard.expect("milliseconds"), joined.expect("milliseconds"));
        assert!(joined <= heard && heard <= now && now - heard < 3_000, "{joined} {heard} {now}");
        let details = seen["model_details"][0].clone();
        assert_eq!(details["name"], "scripted:latest");
    }
}

#[tokio::test]
async fn a_node_whose_slots_are_taken_is_busy() {
    let mesh = Mesh::start().nodes(1).await;
    let mut stream = mesh.ask("count [tokens=2000] [delay=10]");
    stream.read_tokens(1).await;
    mesh.node_is("node-a", "busy").await;
    drop(stream);
    mesh.node_is("node-a", "idle").await;
}

#[tokio::test]
async fn health_is_ok_and_metrics_count_the_tasks() {
    let mesh = Mesh::start().nodes(1).await;
    let health = mesh.client().get("/health").send().await.expect("a reply");
    assert_eq!(health.status(), 200);
    mesh.ask("[tokens=1]").rest().await.assert_answered();
    let metrics = mesh.client().get("/metrics").send().await.expect("a reply");
    assert_eq!(metrics.status(), 200);
    assert!(metrics.header("content-type").starts_with("text/plain"));
    let text = metrics.text().await;
    assert!(text.contains("# TYPE ") && text.contains("echo"), "{text}");
}

#[tokio::test]
async fn the_agent_shows_health_and_metrics_on_its_own_port() {
    let mesh = Mesh::start().nodes(1).await;
    let agent = echo_testing::client::Client::new(mesh.node(0).address());
    let health = agent.get("/health").send().await.expect("a reply");
    assert_eq!((health.status(), health.text().await.trim()), (200, "ok"));
    let metrics = agent.get("/metrics").send().await.expect("a reply");
    assert_eq!(metrics.status(), 200);
}

#[tokio::test]
async fn any_edge_serves_any_client() {
    let mesh = Mesh::start().edges(2).orchestrators(2).await;
    for edge in 0..2 {
        let call = mesh.client_of(edge).post("/task/stream", &json!({"prompt": "count [tokens=6]"}));
        Stream::open(call).rest().await.assert_every_token_once(6);
    }
}
