//! Pulls and deletes: where the operators of nodes allow them, and nowhere else.

use std::time::Duration;

use echo_testing::mesh::{Mesh, holds, until};
use serde_json::{Value, json};

use super::wire::{lines, post, send, whole};

#[tokio::test]
async fn without_the_operators_word_nothing_is_pulled_or_deleted() {
    let mesh = Mesh::start().nodes(1).await;
    let (status, error) = whole(mesh.client(), "/api/pull", &json!({"model": "fresh"})).await;
    assert_eq!((status, error["error"].is_string()), (403, true), "{error}");
    let reply = send(mesh.client().call("DELETE", "/api/delete").body(r#"{"model": "scripted"}"#)).await;
    assert_eq!(reply.status(), 403);
    let error = reply.json().await;
    assert!(error["error"].as_str().is_some_and(|text| text.contains("--allow-model-management")), "{error}");
    assert_eq!(mesh.seen("node-a").await["models"], json!(["scripted:latest"]));
}

async fn have(mesh: &Mesh, model: &str, nodes: &[&str]) {
    until("exactly these nodes to have the model", || async {
        let status = mesh.status().await;
        let all = status["nodes"].as_array().cloned().unwrap_or_default();
        let has =
            |node: &&Value| node["models"].as_array().is_some_and(|models| models.contains(&json!(model)));
        let mut having: Vec<String> = all
            .iter()
            .filter(has)
            .map(|node| node["node_id"].as_str().unwrap_or_default().to_owned())
            .collect();
        having.sort();
        holds(having == nodes, format!("{having:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_pull_goes_to_one_node_or_to_the_named_ones_and_a_delete_to_all() {
    let mesh = Mesh::start().agent_args(["--allow-model-management"]).await;
    let told =
        lines(post(mesh.client(), "/api/pull", &json!({"model": "one", "nodes": ["node-b"]})).await).await;
    assert!(told.iter().filter(|line| line["completed"].is_u64()).count() >= 4, "{told:?}");
    assert_eq!(told.last(), Some(&json!({"status": "success"})));
    have(&mesh, "one:latest", &["node-b"]).await;
    let both = json!({"model": "two", "nodes": ["node-a", "node-b"]});
    let told = lines(post(mesh.client(), "/api/pull", &both).await).await;
    for node in ["node-a", "node-b"] {
        assert!(
            told.iter().any(|line| line["node"] == node && line["completed"].is_u64()),
            "{node}: {told:?}"
        );
    }
    assert_eq!(told.iter().filter(|line| line["status"] == "success").count(), 1, "{told:?}");
    have(&mesh, "two:latest", &["node-a", "node-b"]).await;
    let reply = send(mesh.client().call("DELETE", "/api/delete").body(r#"{"model": "two"}"#)).await;
    assert_eq!(reply.status(), 200);
    have(&mesh, "two:latest", &[]).await;
    let (status, error) = whole(mesh.client(), "/api/pull", &json!({"model": "x", "nodes": ["*"]})).await;
    assert_eq!((status, error["error"].is_string()), (400, true), "{error}");
}

#[tokio::test]
async fn a_pull_that_fails_says_so_in_its_last_line() {
    let script = |script: &mut echo_scripted_engine::Script| {
        script.pull_error = Some("pull model manifest: file does not exist".to_owned());
        script.pull_delay = Duration::from_millis(5);
    };
    let mesh = Mesh::start().nodes(1).agent_args(["--allow-model-management"]).script(script).await;
    let told = lines(post(mesh.client(), "/api/pull", &json!({"model": "gone"})).await).await;
    let last = told.last().expect("a last line");
    assert!(last["error"].as_str().is_some_and(|error| error.contains("file does not exist")), "{told:?}");
}
