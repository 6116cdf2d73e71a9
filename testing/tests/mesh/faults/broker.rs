//! The bus itself goes away and comes back, for everybody or for one.

use std::time::Duration;

use echo_testing::{
    mesh::{Mesh, until_within},
    proxy::Mode,
};

const BACK: Duration = Duration::from_secs(3);

#[tokio::test]
async fn everybody_is_back_three_seconds_after_the_broker() {
    let mesh = Mesh::start().await;
    mesh.broker.kill().await;
    for program in mesh.programs().skip(1) {
        program.mentions("lost the broker").await;
    }
    mesh.broker.start().await;
    until_within(BACK, "a task to be answered", || async {
        let (status, answer) = mesh.task(&serde_json::json!({"prompt": "[tokens=1]"})).await;
        echo_testing::mesh::holds(status == 200, answer)
    })
    .await;
    mesh.is_whole().await;
}

#[tokio::test]
async fn a_task_that_comes_while_the_bus_is_away_is_answered_when_it_is_back() {
    let mesh = Mesh::start().await;
    mesh.broker.kill().await;
    let back = async {
        mesh.edge(0).mentions(super::NOBODY_TAKES_IT).await;
        mesh.broker.start().await;
    };
    let (answer, ()) = tokio::join!(async { mesh.ask("count [tokens=5]").rest().await }, back);
    answer.assert_every_token_once(5);
}

#[tokio::test]
async fn a_client_that_hangs_up_while_the_bus_is_away_stops_the_engine_when_it_is_back() {
    let mesh = Mesh::start().nodes(1).await;
    let mut stream = mesh.ask("count [tokens=6000] [delay=10]");
    stream.read_tokens(5).await;
    mesh.broker.kill().await;
    drop(stream);
    mesh.broker.start().await;
    mesh.is_quiet_within(Duration::from_secs(6)).await;
}

#[tokio::test]
async fn a_broker_that_ends_politely_and_comes_back_is_no_different() {
    let mesh = Mesh::start().await;
    let mut stream = mesh.ask("count [tokens=150] [delay=10]");
    stream.read_tokens(5).await;
    assert!(mesh.broker.stop().await.success());
    mesh.broker.start().await;
    stream.rest().await.assert_every_token_once(150);
}

#[tokio::test]
async fn the_bus_is_restarted_under_load() {
    let mesh = Mesh::start().slots(3).await;
    super::nobody_notices(&mesh, 6, async {
        for _ in 0..2 {
            mesh.broker.restart().await;
            mesh.ask("count [tokens=3]").rest().await.assert_every_token_once(3);
        }
    })
    .await;
}

#[tokio::test]
async fn an_agent_whose_connection_is_cut_for_a_moment_loses_no_token() {
    let mesh = Mesh::start().proxies().nodes(1).await;
    let mut stream = mesh.ask("count [tokens=200] [delay=10]");
    stream.read_tokens(10).await;
    mesh.node(0).bus().cut().await;
    let answer = stream.rest().await;
    answer.assert_every_token_once(200);
    assert_eq!(answer.nodes().len(), 1);
}

#[tokio::test]
async fn an_agent_that_is_cut_off_for_long_is_replaced_and_its_engine_stops() {
    let mesh = Mesh::start().proxies().await;
    let mut stream = mesh.ask("count [tokens=400] [delay=20]");
    stream.read_tokens(10).await;
    let node = stream.node().await;
    mesh.node(&node).bus().set(Mode::Refuse).await;
    let answer = stream.rest().await;
    answer.assert_every_token_once(400);
    assert_eq!(answer.attempts(), 2, "{}", answer.summary());
    assert!(answer.longest_gap() < BACK, "a gap of {:?}", answer.longest_gap());
    mesh.node(&node).bus().set(Mode::Pass).await;
    mesh.node_is(&node, "idle").await;
    mesh.is_quiet().await;
}

#[tokio::test]
async fn an_agent_in_a_black_hole_is_replaced() {
    let mesh = Mesh::start().proxies().await;
    let mut stream = mesh.ask("count [tokens=150] [delay=20]");
    stream.read_tokens(10).await;
    let node = stream.node().await;
    mesh.node(&node).bus().set(Mode::Blackhole).await;
    let answer = stream.rest().await;
    answer.assert_every_token_once(150);
    assert!(answer.longest_gap() < Duration::from_secs(4), "a gap of {:?}", answer.longest_gap());
    mesh.node(&node).bus().set(Mode::Pass).await;
    mesh.node_is(&node, "idle").await;
    mesh.is_quiet().await;
}

#[tokio::test]
async fn a_slow_line_between_agent_and_bus_only_slows() {
    let mesh = Mesh::start().proxies().nodes(1).await;
    mesh.node(0).bus().set(Mode::Delay(Duration::from_millis(100))).await;
    let answer = mesh.ask("count [tokens=50] [delay=5]").rest().await;
    answer.assert_every_token_once(50);
    assert_eq!(answer.attempts(), 1, "{}", answer.summary());
}
