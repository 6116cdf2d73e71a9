//! Models that are loaded, unloaded and pulled with nothing asked of them: who gets the next task knows of it.

use std::time::Duration;

use echo_scripted_engine::Api;
use echo_testing::mesh::{Mesh, holds, until, until_within};
use serde_json::{Value, json};

/// As long as dozens of answers take.
const LOAD: Duration = Duration::from_millis(1_500);

/// The node that has answered this.
async fn post(mesh: &Mesh, path: &str, body: &Value) -> String {
    let reply = mesh.client().post(path, body).send().await.expect("an answer");
    let (status, node) = (reply.status(), reply.header("x-echo-node").to_owned());
    assert_eq!(status, 200, "{path} {body}: {}", reply.text().await);
    node
}

async fn answer(mesh: &Mesh, model: &str) -> String {
    post(mesh, "/api/generate", &json!({"model": model, "prompt": "count [tokens=3]", "stream": false})).await
}

async fn warm_up(mesh: &Mesh, keep_alive: Value) -> String {
    post(mesh, "/api/generate", &json!({"model": "scripted", "keep_alive": keep_alive})).await
}

/// The first model of a node, as `/status` tells it.
async fn model(mesh: &Mesh, node: &str) -> Value {
    mesh.seen(node).await["model_details"][0].clone()
}

fn loads(mesh: &Mesh) -> u64 {
    mesh.nodes().iter().map(|node| node.engine().counters().loads).sum()
}

#[tokio::test]
async fn a_warmed_node_gets_the_next_task_and_an_unload_makes_it_cold_again() {
    let mesh = Mesh::start().nodes(2).script(|script| script.load_delay = LOAD).await;
    let warm = warm_up(&mesh, json!(-1)).await;
    for _ in 0..4 {
        // An end is told to the client first. Until the orchestrator knows of it too, the node counts as busy.
        until("the node to be idle", || async {
            let seen = mesh.seen(&warm).await;
            holds(seen["active_tasks"] == 0, seen)
        })
        .await;
        assert_eq!(answer(&mesh, "scripted").await, warm, "the other one is idle too, and was used less");
    }
    assert_eq!(loads(&mesh), 1);
    let told = until("the load to be measured", || async {
        let told = model(&mesh, &warm).await;
        if told["load_ms"].is_u64() { Ok(told) } else { Err(told) }
    })
    .await;
    let took = Duration::from_millis(told["load_ms"].as_u64().unwrap_or_default());
    assert!((LOAD..LOAD * 2).contains(&took), "Ollama does not say how long it loads: {told}");
    warm_up(&mesh, json!(0)).await;
    let cold = Duration::from_secs(3);
    until_within(cold, "the model to be told as unloaded", || async {
        let told = model(&mesh, &warm).await;
        holds(told["loaded"] == false, told)
    })
    .await;
    let next = answer(&mesh, "scripted").await;
    assert_ne!(next, warm, "equally cold, the other one was used less");
    assert_eq!(loads(&mesh), 2);
}

#[tokio::test]
async fn a_load_alone_has_no_speed_no_length_and_no_part_in_the_caches() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = Mesh::start().nodes(1).api(api).script(|script| script.load_delay = LOAD).await;
        for _ in 0..3 {
            warm_up(&mesh, json!("5m")).await;
        }
        let told = until("the model to be told as loaded", || async {
            let told = model(&mesh, "node-a").await;
            if told["loaded"] == true { Ok(told) } else { Err(told) }
        })
        .await;
        for fact in ["speeds", "long_run", "tokens_per_second", "prompt_tokens_per_second", "lengths"] {
            assert!(told.get(fact).is_none(), "{api:?} {fact}: {told}");
        }
    }
}

#[tokio::test]
async fn a_load_alone_occupies_a_slot() {
    let mesh = Mesh::start().nodes(1).script(|script| script.load_delay = LOAD).await;
    let (_, node) = tokio::join!(warm_up(&mesh, json!(-1)), async {
        mesh.node_is("node-a", "busy").await;
        answer(&mesh, "scripted").await
    });
    assert_eq!((node.as_str(), loads(&mesh)), ("node-a", 1));
}

#[tokio::test]
async fn a_pulled_model_is_tried_where_it_was_pulled_and_a_deleted_one_nowhere() {
    let mesh = Mesh::start().nodes(2).agent_args(["--allow-model-management"]).await;
    for node in ["node-b", "node-a"] {
        let pull = json!({"model": "fresh", "nodes": [node], "stream": false});
        post(&mesh, "/api/pull", &pull).await;
        let having = until_within(Duration::from_secs(3), "the model to be there", || async {
            let seen = mesh.seen(node).await;
            holds(seen["models"].to_string().contains("fresh:latest"), seen)
        });
        having.await;
        assert_eq!(answer(&mesh, "fresh").await, node);
        let delete = mesh.client().call("DELETE", "/api/delete").body(r#"{"model": "fresh"}"#);
        assert_eq!(delete.send().await.expect("an answer").status(), 200);
        let gone = until_within(Duration::from_secs(6), "the model to be gone", || async {
            let ask = json!({"model": "fresh", "prompt": "hi", "stream": false});
            let reply = mesh.client().post("/api/generate", &ask).send().await;
            let status = reply.expect("an answer").status();
            holds(status == 404, status)
        });
        gone.await;
    }
}

/// Nobody knows how fast it is: it is found out.
#[tokio::test]
async fn a_node_that_was_never_measured_is_tried_within_a_few_tasks() {
    let slow = Duration::from_millis(20);
    let mesh = Mesh::start().nodes(2).api(Api::Openai).script(|script| script.token_delay = slow).await;
    let ask = async |name: &str| {
        let prompt = format!("{name} {} [tokens=40] [first=50]", "word ".repeat(400));
        let body = json!({"model": "scripted", "prompt": prompt, "stream": false});
        post(&mesh, "/api/generate", &body).await
    };
    let first = ask("one").await;
    until("its speed to be known", || async {
        let told = model(&mesh, &first).await;
        holds(told["speeds"][0].is_object() && told["prompt_tokens_per_second"].is_f64(), told)
    })
    .await;
    let mut tried = Vec::new();
    for name in ["two", "three", "four", "five"] {
        tried.push(ask(name).await);
    }
    assert!(tried.iter().any(|node| *node != first), "{tried:?}");
}
