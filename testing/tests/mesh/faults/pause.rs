//! An agent stands still for a while, as a laptop does that sleeps.

use std::time::{Duration, Instant};

use echo_testing::{
    client::scripted,
    mesh::{Mesh, Observer, holds},
};
use futures::future::join_all;

use super::drain::order;

#[tokio::test]
async fn a_stopped_agent_runs_nothing_stale_when_it_wakes() {
    let mesh = Mesh::start().slots(4).await;
    let stopped = mesh.node(0);
    stopped.pause().await;
    let answers = join_all((0..8).map(|_| async { mesh.ask("count [tokens=10]").rest().await })).await;
    for answer in answers {
        answer.assert_every_token_once(10);
        assert_eq!(answer.nodes(), ["node-b"]);
    }
    mesh.until("the stopped node to be evicted", || async {
        let seen = mesh.seen("node-a").await;
        holds(seen.is_null(), seen)
    })
    .await;
    stopped.resume();
    mesh.node_is("node-a", "idle").await;
    for _ in 0..4 {
        mesh.ask("count [tokens=3]").rest().await.assert_every_token_once(3);
    }
    mesh.is_quiet().await;
    let (a, b) = (mesh.engine(0).counters(), mesh.engine(1).counters());
    assert_eq!(a.started + b.started, 12, "eight tasks and four, none of them twice: {a:?} {b:?}");
}

#[tokio::test]
async fn a_short_stop_is_not_noticed() {
    let mesh = Mesh::start().await;
    let mut stream = mesh.ask("count [tokens=200] [delay=10]");
    stream.read_tokens(20).await;
    let node = stream.node().await;
    mesh.node(&node).pause().await;
    // The fault itself: shorter than the silence after which a holder is pinged.
    tokio::time::sleep(Duration::from_millis(300)).await;
    mesh.node(&node).resume();
    let answer = stream.rest().await;
    answer.assert_every_token_once(200);
    assert_eq!(answer.attempts(), 1, "{}", answer.summary());
}

#[tokio::test]
async fn a_stopped_orchestrator_loses_no_task() {
    let mesh = Mesh::start().orchestrators(2).slots(4).await;
    mesh.orchestrator(0).pause().await;
    let answers = join_all((0..8).map(|_| async { mesh.ask("count [tokens=10]").rest().await })).await;
    mesh.orchestrator(0).resume();
    let whole: String = (0..10).map(scripted).collect();
    for answer in answers {
        answer.assert_answered();
        assert_eq!(answer.content(), whole);
    }
    mesh.is_quiet().await;
}

#[tokio::test]
async fn nobody_waits_longer_than_the_deadline_when_every_node_stands_still() {
    let mesh = Mesh::start().edge_args(["--task-timeout", "3s"]).await;
    join_all(mesh.nodes().iter().map(|node| node.pause())).await;
    let began = Instant::now();
    let answer = mesh.ask("count [tokens=10]").rest().await;
    assert!(answer.error().is_some(), "{}", answer.summary());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    mesh.nodes().iter().for_each(|node| node.resume());
    mesh.is_whole().await;
    mesh.ask("count [tokens=4]").rest().await.assert_every_token_once(4);
}

#[tokio::test]
async fn a_node_that_slept_for_twenty_seconds_runs_nothing_stale_when_it_wakes() {
    let mesh = Mesh::start().slots(8).await;
    let mut long = mesh.ask("count [tokens=2500] [delay=10]");
    let sleeper = long.node().await;
    let agent = mesh.node(&sleeper);
    let before = mesh.engine(&sleeper).counters().started;
    // The same login as a part's: a watcher may not listen to tasks.
    let sent = Observer::listen(&mesh.broker.url(), &format!("echo.node.{sleeper}.task")).await;
    agent.pause().await;
    let slept = Instant::now();
    // Both nodes look free: about half of these go to the one that sleeps, before it is missed.
    let first = join_all((0..12).map(|_| async { mesh.ask("count [tokens=5]").rest().await })).await;
    first.iter().for_each(|answer| answer.assert_every_token_once(5));
    assert!(sent.seen().len() > 2, "only {} tasks had been sent to it", sent.seen().len());
    while slept.elapsed() < Duration::from_secs(20) {
        let impatient = mesh.ask("count [tokens=400] [delay=10]");
        mesh.ask("count [tokens=5] [delay=60]").rest().await.assert_every_token_once(5);
        drop(impatient);
    }
    agent.resume();
    mesh.node_is(&sleeper, "idle").await;
    long.rest().await.assert_every_token_once(2500);
    mesh.is_quiet().await;
    let after = mesh.engine(&sleeper).counters();
    assert_eq!(after.started, before, "it ran what had waited for it, though others had answered: {after:?}");
    // Another may be expected to be faster, so it has to stand aside.
    for other in mesh.nodes().iter().filter(|it| it.address() != agent.address()) {
        assert_eq!(order(other, "/drain").await, 200);
    }
    let answers = join_all((0..12).map(|_| async { mesh.ask("count [tokens=50] [delay=10]").rest().await }));
    for answer in answers.await {
        answer.assert_every_token_once(50);
    }
    assert!(mesh.engine(&sleeper).counters().started > before, "it works again");
}
