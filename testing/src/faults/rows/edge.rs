//! The edge goes away, rudely and politely.

use std::time::{Duration, Instant};

use super::super::{fixture::Fixture, judge, order::Order, row::Row, setting::Setting};
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

async fn killed(fixture: &Fixture) {
    let mut lost = fixture.ask_at(1, &Order::tokens(100_000).delay(10));
    let mut other = fixture.ask(&Order::tokens(100).delay(10));
    lost.stream.read_tokens(3).await;
    other.stream.read_tokens(3).await;
    let cancelled =
        || fixture.mesh.nodes().iter().map(|node| node.engine().counters().cancelled).sum::<u64>();
    let before = cancelled();
    fixture.mesh.edge(1).kill().await;
    let killed = Instant::now();
    let number = lost.number;
    let seen = lost.stream.rest().await;
    fixture.promise(seen.broken.is_some(), || format!("the client does not see it: {}", seen.summary()));
    fixture.left(number, &judge::beginning(&seen));
    fixture.answered(other).await;
    until("the dead edge's engine to stop", || async {
        holds(cancelled() > before, format!("{} cancelled", cancelled() - before))
    })
    .await;
    fixture.mesh.is_quiet().await;
    let took = killed.elapsed();
    fixture.promise(took < FREED, || format!("slots free only after {took:?}"));
    let began = Instant::now();
    fixture.mesh.edge(1).start().await;
    fixture.whole_since(began).await;
}

async fn drains(fixture: &Fixture) {
    let mut asked = fixture.ask_at(1, &Order::tokens(60).delay(10));
    asked.stream.read_tokens(3).await;
    fixture.mesh.edge(1).term();
    until("new connections to be refused", || async {
        let reply = fixture.mesh.client_of(1).get("/health").send().await;
        holds(reply.is_err(), "it still serves")
    })
    .await;
    fixture.answered(asked).await;
    let status = fixture.mesh.edge(1).exit().await;
    fixture.promise(status.success(), || format!("it ended with {status}"));
    let began = Instant::now();
    fixture.mesh.edge(1).start().await;
    fixture.whole_since(began).await;
}
