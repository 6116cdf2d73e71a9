//! The orchestrator dies and comes back; it knows nothing that it cannot learn again.

use std::time::Duration;

use echo_testing::mesh::{Mesh, until_within};
use futures::future::join_all;
use serde_json::json;

/// The mesh is whole again within this time after the last part's return.
const WHOLE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn running_answers_do_not_notice() {
    let mesh = Mesh::start().await;
    let mut streams: Vec<_> = (0..2).map(|_| mesh.ask("count [tokens=150] [delay=10]")).collect();
    for stream in &mut streams {
        stream.read_tokens(5).await;
    }
    mesh.orchestrator(0).restart().await;
    for answer in join_all(streams.into_iter().map(|stream| stream.rest())).await {
        answer.assert_every_token_once(150);
        assert_eq!(answer.attempts(), 1);
        assert!(answer.longest_gap() < Duration::from_millis(500), "a gap of {:?}", answer.longest_gap());
    }
}

#[tokio::test]
async fn queued_tasks_go_on_after_it_is_back() {
    let mesh = Mesh::start().nodes(1).await;
    let mut running = mesh.ask("count [tokens=100] [delay=10]");
    running.read_tokens(1).await;
    let mut queued: Vec<_> = (0..3).map(|_| mesh.ask("count [tokens=5] [delay=5]")).collect();
    for stream in &mut queued {
        stream.comment("queued").await;
    }
    mesh.orchestrator(0).kill().await;
    mesh.orchestrator(0).start().await;
    running.rest().await.assert_every_token_once(100);
    for answer in join_all(queued.into_iter().map(|stream| stream.rest())).await {
        answer.assert_every_token_once(5);
    }
    mesh.is_quiet().await;
    assert_eq!(mesh.engine(0).counters().started, 4, "no task ran twice");
}

#[tokio::test]
async fn tasks_that_come_while_it_is_away_wait_for_it() {
    let mesh = Mesh::start().await;
    mesh.orchestrator(0).kill().await;
    let back = async {
        // Long enough for the edge to have been told that nobody takes its tasks.
        tokio::time::sleep(Duration::from_millis(700)).await;
        mesh.orchestrator(0).start().await;
    };
    let body = json!({"prompt": "count [tokens=5]"});
    let (streamed, (status, answer), ()) =
        tokio::join!(async { mesh.ask("count [tokens=5]").rest().await }, mesh.task(&body), back);
    streamed.assert_every_token_once(5);
    assert_eq!((status, answer["content"].as_str()), (200, Some("t0 t1 t2 t3 t4 ")), "{answer}");
}

#[tokio::test]
async fn a_restarted_orchestrator_knows_the_mesh_at_once() {
    let mesh = Mesh::start().await;
    mesh.orchestrator(0).restart().await;
    until_within(WHOLE, "both nodes to be known again", || async {
        let status = mesh.try_status().await?;
        echo_testing::mesh::holds(status["node_count"] == 2, status)
    })
    .await;
}

#[tokio::test]
async fn it_is_restarted_again_and_again_under_load() {
    let mesh = Mesh::start().slots(3).await;
    super::nobody_notices(&mesh, 6, async {
        for _ in 0..3 {
            mesh.orchestrator(0).restart().await;
            mesh.is_known().await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_of_two_is_killed_under_load() {
    let mesh = Mesh::start().slots(3).orchestrators(2).await;
    super::nobody_notices(&mesh, 6, async {
        for number in [0, 1, 0] {
            mesh.orchestrator(number).restart().await;
            mesh.is_known().await;
        }
    })
    .await;
    let twice: u64 = mesh.nodes().iter().map(|node| node.engine().counters().misfits).sum();
    assert_eq!(twice, 0);
}

#[tokio::test]
async fn it_ends_politely() {
    let mesh = Mesh::start().await;
    let status = mesh.orchestrator(0).stop().await;
    assert!(status.success(), "{status}");
}
