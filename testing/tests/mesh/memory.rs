//! What engines have in memory, and who is sent where because of it.

use std::time::Duration;

use echo_testing::mesh::{Mesh, holds, until_within};
use futures::{StreamExt, future::join_all, stream};
use serde_json::json;

/// A load costs as much as dozens of answers.
const LOAD: Duration = Duration::from_millis(1_500);

/// A mesh whose engines load for so long.
async fn mesh(nodes: usize, slots: usize) -> Mesh {
    Mesh::start().nodes(nodes).slots(slots).script(|script| script.load_delay = LOAD).await
}

/// One answer by the model with a context of this length, or of the engine's own.
async fn answer(mesh: &Mesh, context: Option<u64>) {
    let mut body = json!({"model": "scripted", "prompt": "count [tokens=3] [delay=10]", "stream": false});
    if let Some(context) = context {
        body["options"] = json!({"num_ctx": context});
    }
    let reply = mesh.client().post("/api/generate", &body).send().await.expect("an answer");
    assert_eq!(reply.status(), 200, "{}", reply.text().await);
}

/// Twenty answers by two lengths in turn, so many at a time.
async fn twenty(mesh: &Mesh, at_once: usize) {
    let contexts = stream::iter([4_096, 8_192].into_iter().cycle().take(20));
    contexts.for_each_concurrent(at_once, |context| answer(mesh, Some(context))).await;
}

fn loads(mesh: &Mesh) -> u64 {
    mesh.nodes().iter().map(|node| node.engine().counters().loads).sum()
}

#[tokio::test]
async fn two_context_lengths_stay_on_one_node_each() {
    for slots in [1, 2, 4] {
        let mesh = mesh(2, slots).await;
        twenty(&mesh, 1).await;
        assert_eq!(loads(&mesh), 2, "in turn, with {slots} slots");
        twenty(&mesh, 4).await;
        assert_eq!(loads(&mesh), 2, "four at a time, with {slots} slots");
    }
}

#[tokio::test]
async fn on_one_node_requests_of_one_context_length_are_taken_together() {
    for slots in [1, 2] {
        let mesh = mesh(1, slots).await;
        twenty(&mesh, 4).await;
        let loads = loads(&mesh);
        assert!(loads <= 8, "{loads} loads for twenty answers, with {slots} slots");
    }
}

#[tokio::test]
async fn a_line_that_is_longer_than_a_load_is_worth_one() {
    let mesh = mesh(2, 1).await;
    answer(&mesh, Some(4_096)).await;
    answer(&mesh, Some(8_192)).await;
    let second =
        json!({"model": "scripted", "prompt": "[tokens=20] [delay=50]", "options": {"num_ctx": 4_096}});
    let line = (0..10).map(|_| mesh.client().post("/api/generate", &second).send());
    for reply in join_all(line).await {
        assert!(reply.expect("an answer").text().await.contains("\"done\":true"));
    }
    let each = mesh.nodes().iter().map(|node| node.engine().counters().finished);
    let each: Vec<_> = each.collect();
    assert!(each.iter().all(|finished| *finished > 3), "ten seconds of answers, shared as {each:?}");
    assert_eq!(loads(&mesh), 3);
}

#[tokio::test]
async fn the_time_that_a_load_takes_is_that_of_loads_alone() {
    let mesh = mesh(1, 4).await;
    twenty_of_one(&mesh).await;
    let seen = until_within(Duration::from_secs(10), "the load to be measured", || async {
        let seen = mesh.seen(mesh.node(0).id()).await;
        let model = seen["model_details"][0].clone();
        holds(model["loaded"] == true && model["load_ms"].is_u64(), seen).map(|()| model)
    })
    .await;
    let took = Duration::from_millis(seen["load_ms"].as_u64().expect("just seen"));
    assert!(took >= LOAD && took < LOAD * 2, "a load takes {LOAD:?}, told {seen}");
}

/// Four that find the model cold, and sixteen that do not.
async fn twenty_of_one(mesh: &Mesh) {
    stream::iter(0..20).for_each_concurrent(4, |_| answer(mesh, None)).await;
}
