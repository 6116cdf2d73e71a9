//! Clients that are cut off and come back for the rest of their answer.

use serde_json::json;

use super::super::{fixture::Fixture, order::Asked, order::Order, row::Row, setting::Setting};

const TOKENS: u64 = 60;
/// Where the client is cut off.
const CUT: usize = 20;
const ONCE: &str = "every piece once and in order, one end";

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("rejoin", Setting::Pair, at_once).says("client cut off, comes back for the rest", ONCE),
        Row::new("rejoin-node-killed", Setting::Pair, after_a_kill)
            .says("the same, its node killed while nobody listens", ONCE),
        Row::new("rejoin-edge", Setting::Edges, elsewhere).says("the same, at another edge", ONCE),
        Row::new("rejoin-often", Setting::Edges, often)
            .says("ten times in a row, at two edges in turns", ONCE),
    ]
}

async fn begun(fixture: &Fixture) -> Asked {
    let order = Order::tokens(TOKENS).delay(10).field("keep", json!("60s"));
    let mut asked = fixture.ask(&order);
    asked.stream.read_tokens(CUT).await;
    asked
}

fn back(fixture: &Fixture, asked: Asked, edge: usize) -> Asked {
    Asked { stream: asked.stream.rejoin(&fixture.mesh.client_of(edge)), ..asked }
}

async fn at_once(fixture: &Fixture) {
    let asked = begun(fixture).await;
    fixture.answered(back(fixture, asked, 0)).await;
}

async fn after_a_kill(fixture: &Fixture) {
    let asked = begun(fixture).await;
    let node = asked.stream.so_far().nodes().pop().expect("a token has come");
    let agent = fixture.mesh.node(node.as_str());
    agent.kill().await;
    fixture.answered(back(fixture, asked, 0)).await;
    let began = std::time::Instant::now();
    agent.start().await;
    fixture.whole_since(began).await;
}

async fn elsewhere(fixture: &Fixture) {
    let asked = begun(fixture).await;
    fixture.answered(back(fixture, asked, 1)).await;
}

async fn often(fixture: &Fixture) {
    let mut asked = begun(fixture).await;
    for round in 1..=10 {
        asked = back(fixture, asked, round % 2);
        asked.stream.read_tokens(CUT + 3 * round).await;
    }
    fixture.answered(asked).await;
}
