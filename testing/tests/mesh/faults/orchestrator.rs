//! The orchestrator dies and comes back; it knows nothing that it cannot learn again.

use std::time::Duration;

use echo_testing::mesh::{Mesh, until_within};
use serde_json::json;

/// The mesh is whole again within this time after the last part's return.
const WHOLE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn tasks_that_come_while_it_is_away_wait_for_it() {
    let mesh = Mesh::start().await;
    mesh.orchestrator(0).kill().await;
    let back = async {
        mesh.edge(0).mentions(super::NOBODY_TAKES_IT).await;
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
