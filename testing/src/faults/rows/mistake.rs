//! Clients whose requests cannot work, or that no engine survives, beside others.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::{fixture::Fixture, order::Order, row::Row, setting::Setting};
use crate::mistakes::revive;

/// Clients that make the mistake at once.
const CLIENTS: usize = 10;
/// Good tasks beside it, one after the other.
const GOOD: usize = 10;

pub fn rows() -> Vec<Row> {
    let nobody = "each hears why at once, on two engines at most; no node rests, every good task is answered";
    vec![
        Row::new("mistakes", Setting::Fleet, mistakes)
            .says("10 clients repeat requests that cannot work", nobody)
            .whole(None),
        Row::new("deadly-request", Setting::Fleet, deadly)
            .says(
                "10 clients send a request that ends its engine, beside 6 good answers; engines come back at once",
                "each hears that its request ended engines (422); few engines end, every good answer is whole",
            )
            .whole(None),
    ]
}

async fn repeated(fixture: &Fixture, body: &Value, status: u16, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let began = Instant::now();
        let reply = fixture.mesh.client().post("/task", body).send().await.expect("a reply");
        let got = (reply.status(), reply.json().await);
        fixture.refused(status, began.elapsed(), &got);
        // Ten clients without any pause measure the machine alone.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn mistakes(fixture: &Fixture) {
    let stop = CancellationToken::new();
    let wrong = [
        (json!({"prompt": "hi", "format": "xml"}), 400),
        (json!({"prompt": "hi", "options": {"num_ctx": "big"}}), 400),
        (json!({"prompt": "hi [fault=fail] [words=boom]"}), 500),
    ];
    let clients = (0..CLIENTS).map(|number| {
        let (body, status) = &wrong[number % wrong.len()];
        repeated(fixture, body, *status, &stop)
    });
    let good = async {
        for _ in 0..GOOD {
            fixture.answered(fixture.ask(&Order::tokens(10).delay(5))).await;
            for node in fixture.mesh.status().await["nodes"].as_array().into_iter().flatten() {
                let up = matches!(node["status"].as_str(), Some("idle" | "busy"));
                fixture.promise(up, || format!("a node is out of order: {node}"));
            }
        }
        stop.cancel();
    };
    tokio::join!(join_all(clients), good);
    fixture.whole_since(Instant::now()).await;
}

async fn deadly(fixture: &Fixture) {
    let stop = CancellationToken::new();
    let mut good: Vec<_> = (0..6).map(|_| fixture.ask(&Order::tokens(150).delay(10)).live()).collect();
    for asked in &mut good {
        asked.read(3).await;
    }
    let run = async {
        let number = fixture.number();
        // All the same request: a number of its own for each would make ten of it.
        let body = json!({"prompt": format!("hi [fault=die] {number}")});
        let asked = (0..CLIENTS).map(|_| async {
            let reply = fixture.mesh.client().post("/task", &body).send().await.expect("a reply");
            let (status, body) = (reply.status(), reply.json().await);
            fixture.promise(status == 422, || format!("status {status}: {body}"));
        });
        join_all(asked).await;
        for asked in good {
            fixture.answered(asked.done().await).await;
        }
        stop.cancel();
    };
    let ((), deaths) = tokio::join!(run, revive(&fixture.mesh, &stop));
    fixture.promise(deaths <= 6, || format!("{deaths} engines ended"));
    fixture.whole_since(Instant::now()).await;
}
