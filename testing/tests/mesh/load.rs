//! Many at once.

use echo_testing::{client::Stream, mesh::Mesh};
use futures::future::join_all;
use serde_json::json;

#[tokio::test]
async fn two_hundred_clients_at_once_each_get_every_token_once_and_in_order() {
    let mesh = Mesh::start().slots(8).await;
    let answers = join_all((0..200).map(|_| async { mesh.ask("count [tokens=40] [delay=1]").rest().await }));
    for answer in answers.await {
        answer.assert_every_token_once(40);
        assert_eq!((answer.tokens().len(), answer.attempts()), (40, 1), "{}", answer.summary());
    }
    mesh.is_quiet().await;
    for node in mesh.nodes() {
        let counters = node.engine().counters();
        assert!(counters.max_running <= 8, "{counters:?}");
        assert_eq!((counters.cancelled, counters.failed, counters.refused), (0, 0, 0), "{counters:?}");
    }
    let started: u64 = mesh.nodes().iter().map(|node| node.engine().counters().started).sum();
    assert_eq!(started, 200, "no task ran twice");
}

#[tokio::test]
async fn several_edges_and_orchestrators_share_the_work_and_no_task_runs_twice() {
    let mesh = Mesh::start().slots(4).edges(2).orchestrators(2).await;
    let answers = join_all((0..60).map(|number| {
        let call = mesh
            .client_of(number % 2)
            .post("/task/stream", &json!({"prompt": "count [tokens=20] [delay=2]"}));
        async move { Stream::open(call).rest().await }
    }));
    for answer in answers.await {
        answer.assert_every_token_once(20);
    }
    mesh.is_quiet().await;
    let finished: u64 = mesh.nodes().iter().map(|node| node.engine().counters().finished).sum();
    assert_eq!(finished, 60);
}

#[tokio::test]
async fn a_long_answer_at_full_speed_loses_nothing() {
    let mesh = Mesh::start().nodes(1).await;
    mesh.ask("count [tokens=20000]").rest().await.assert_every_token_once(20_000);
    let (status, answer) = mesh.task(&json!({"prompt": "count [tokens=20000]"})).await;
    let content: String = (0..20_000).map(echo_testing::client::scripted).collect();
    assert_eq!(status, 200);
    assert!(answer["content"] == content.as_str(), "the whole answer differs");
}

/// What a task leaves behind must not add up: memory after many tasks is that after some.
#[tokio::test]
async fn ten_thousand_tasks_leave_nothing_behind() {
    let mesh = Mesh::start().slots(8).await;
    run(&mesh, 1_000).await;
    let before = resident(&mesh);
    run(&mesh, 9_000).await;
    for (name, before, after) in
        resident(&mesh).into_iter().zip(before).map(|((name, a), (_, b))| (name, b, a))
    {
        // For seconds after a task, somebody may still ask about it: what is remembered for that grows with the
        // rate and not with the count, and this run is faster than any mesh.
        assert!(
            after <= before + before / 10 + (512 << 10),
            "{name}: {before} bytes after 1,000 tasks, {after} after 10,000"
        );
    }
}

async fn run(mesh: &Mesh, tasks: usize) {
    const AT_ONCE: usize = 32;
    join_all((0..AT_ONCE).map(|_| async {
        for _ in 0..tasks / AT_ONCE {
            let (status, answer) = mesh.task(&json!({"prompt": "[tokens=2]"})).await;
            assert_eq!(status, 200, "{answer}");
        }
    }))
    .await;
    mesh.is_quiet().await;
}

fn resident(mesh: &Mesh) -> Vec<(String, u64)> {
    let agents = mesh.nodes().iter().map(|node| (node.name().to_owned(), node.resident()));
    let rest =
        [mesh.edge(0), mesh.orchestrator(0)].map(|program| (program.name().to_owned(), program.resident()));
    agents.chain(rest).collect()
}
