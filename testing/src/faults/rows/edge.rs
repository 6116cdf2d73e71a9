//! The edge goes away, rudely and politely.

use std::time::{Duration, Instant};

use super::super::{judge, order::Order, row::Row, setting::Setting, stage::Stage};
use crate::mesh::{holds, until};

const FREED: Duration = Duration::from_secs(6);

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("edge-killed", Setting::Edges, killed).says(
            "edge killed",
            "its engines stop, its slots are free within 6 s; other edges do not notice",
        ),
        Row::new("edge-drains", Setting::Edges, drains)
            .says("edge drains (SIGTERM)", "finishes what it has, refuses new connections, exits 0"),
    ]
}

async fn killed(stage: &Stage) {
    let mut lost = stage.ask_at(1, &Order::tokens(100_000).delay(10));
    let mut other = stage.ask(&Order::tokens(100).delay(10));
    lost.stream.read_tokens(3).await;
    other.stream.read_tokens(3).await;
    let cancelled = || stage.mesh.nodes().iter().map(|node| node.engine().counters().cancelled).sum::<u64>();
    let before = cancelled();
    stage.mesh.edge(1).kill().await;
    let killed = Instant::now();
    let number = lost.number;
    let seen = lost.stream.rest().await;
    stage.promise(seen.broken.is_some(), || format!("the client does not see it: {}", seen.summary()));
    stage.left(number, &judge::beginning(&seen));
    stage.answered(other).await;
    until("the dead edge's engine to stop", || async {
        holds(cancelled() > before, format!("{} cancelled", cancelled() - before))
    })
    .await;
    stage.mesh.is_quiet().await;
    let took = killed.elapsed();
    stage.promise(took < FREED, || format!("slots free only after {took:?}"));
    let began = Instant::now();
    stage.mesh.edge(1).start().await;
    stage.whole_since(began).await;
}

async fn drains(stage: &Stage) {
    let mut asked = stage.ask_at(1, &Order::tokens(60).delay(10));
    asked.stream.read_tokens(3).await;
    stage.mesh.edge(1).term();
    until("new connections to be refused", || async {
        let reply = stage.mesh.client_of(1).get("/health").send().await;
        holds(reply.is_err(), "it still serves")
    })
    .await;
    stage.answered(asked).await;
    let status = stage.mesh.edge(1).exit().await;
    stage.promise(status.success(), || format!("it ended with {status}"));
    let began = Instant::now();
    stage.mesh.edge(1).start().await;
    stage.whole_since(began).await;
}
