//! Two agents under one node id: one stays, the other leaves with a clear word.

use echo_testing::mesh::{Mesh, holds, until};

#[tokio::test]
async fn twins_that_meet_when_the_bus_comes_back_part_again() {
    let mesh = Mesh::start().nodes(1).await;
    // Of two that started within a tenth of a second, either may stay.
    until("the first to be clearly older", || async {
        let status = mesh.status().await;
        let (now, since) = (&status["server_time"], &status["nodes"][0]["registered_at"]);
        let age = now.as_u64().zip(since.as_u64()).map_or(0, |(now, since)| now.saturating_sub(since));
        holds(age >= 300, format!("it has been known for {age} ms"))
    })
    .await;
    mesh.broker.kill().await;
    let engine = mesh.engine(0);
    let twin = mesh.agent("node-a", &engine.url(), &engine.script());
    twin.launch().await;
    mesh.broker.start().await;
    until("the younger twin to leave", || async { if twin.runs() { Err("it still runs") } else { Ok(()) } })
        .await;
    assert!(!twin.exit().await.success(), "{}", twin.logs().tail(10));
    assert!(mesh.node(0).runs(), "the older one stays");
    mesh.is_whole().await;
    for _ in 0..3 {
        mesh.ask("count [tokens=5]").rest().await.assert_every_token_once(5);
    }
    assert_eq!(mesh.engine(0).counters().started, 3, "no task ran twice");
}
