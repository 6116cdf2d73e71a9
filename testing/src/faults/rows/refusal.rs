//! What is refused, and how soon.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::{fixture::Fixture, order::Order, row::Row, setting::Setting};
use crate::{
    client::Call,
    mesh::{holds, until},
};

const PROMPT: Duration = Duration::from_millis(200);

pub fn rows() -> Vec<Row> {
    let at_once = "the documented error within 1 s, the process stays up";
    vec![
        Row::new("queue-full", Setting::Single, queue_full).says("queue full", at_once),
        Row::new("no-node", Setting::Empty, no_node).says("no node", at_once),
        Row::new("bad-input", Setting::Pair, bad_input).says("bad input", at_once),
        Row::new("huge-body", Setting::Pair, huge_body).says("huge body (9 MiB)", at_once),
        Row::new("hostile-ids", Setting::Pair, hostile_ids)
            .says("hostile ids (`.`, `*`, `>`, spaces, control characters, 10 kB)", at_once),
    ]
}

const ROUTES: [&str; 2] = ["/task", "/task/stream"];

async fn refused(fixture: &Fixture, status: u16, call: Call) {
    let began = Instant::now();
    let reply = call.send().await.expect("a reply");
    let took = began.elapsed();
    let got = (reply.status(), reply.json().await);
    fixture.refused(status, took, &got);
}

/// Plays it, and checks that the same process answers a task afterwards.
async fn stays_up(fixture: &Fixture, play: impl AsyncFnOnce()) {
    let pid = fixture.mesh.edge(0).pid();
    play().await;
    let edge = fixture.mesh.edge(0);
    fixture.promise(edge.runs() && edge.pid() == pid, || "the edge has ended".to_owned());
    fixture.whole_since(Instant::now()).await;
}

async fn queue_full(fixture: &Fixture) {
    stays_up(fixture, async || {
        let mut running = fixture.ask(&Order::tokens(100_000).delay(10));
        running.stream.read_tokens(1).await;
        let mut waiting = fixture.ask(&Order::tokens(1));
        waiting.stream.comment("queued").await;
        for path in ROUTES {
            refused(fixture, 429, fixture.mesh.client().post(path, &json!({"prompt": "hello"}))).await;
        }
        fixture.hang_up(running);
        fixture.answered(waiting).await;
    })
    .await;
}

/// An orchestrator that has just started waits for heartbeats before it says what there is not.
async fn knows_the_mesh(fixture: &Fixture) {
    let body = json!({"prompt": "hello", "model_hint": "unknown"});
    until("a prompt refusal", || async {
        let began = Instant::now();
        let (status, body) = fixture.mesh.task(&body).await;
        holds(status == 503 && began.elapsed() < PROMPT, body)
    })
    .await;
}

async fn no_node(fixture: &Fixture) {
    knows_the_mesh(fixture).await;
    stays_up(fixture, async || {
        for path in ROUTES {
            refused(fixture, 503, fixture.mesh.client().post(path, &json!({"prompt": "hello"}))).await;
        }
    })
    .await;
}

async fn bad_input(fixture: &Fixture) {
    let bodies: [&[u8]; 9] = [
        b"",
        b"hello",
        b"[]",
        b"{}",
        br#"{"prompt": "hello""#,
        br#"{"prompt": " "}"#,
        br#"{"prompt": 7}"#,
        br#"{"prompt": "a", "options": {"temperature": "hot"}}"#,
        b"\xff\xfe{\"prompt\": \"hello\"}",
    ];
    stays_up(fixture, async || {
        for path in ROUTES {
            for body in bodies {
                refused(fixture, 400, fixture.mesh.client().post(path, &Value::Null).body(body)).await;
            }
            let call = fixture.mesh.client().call("POST", path).header("content-type", "image/png");
            refused(fixture, 415, call.body(r#"{"prompt": "hello"}"#)).await;
            refused(fixture, 405, fixture.mesh.client().call("PUT", path)).await;
        }
        refused(fixture, 404, fixture.mesh.client().get("/tasks")).await;
    })
    .await;
}

async fn huge_body(fixture: &Fixture) {
    let body = json!({"prompt": "x".repeat(9 << 20)}).to_string();
    stays_up(fixture, async || {
        for path in ROUTES {
            refused(fixture, 413, fixture.mesh.client().post(path, &Value::Null).body(body.clone())).await;
        }
    })
    .await;
}

async fn hostile_ids(fixture: &Fixture) {
    let long = "x".repeat(10_000);
    knows_the_mesh(fixture).await;
    stays_up(fixture, async || {
        for path in ROUTES {
            for id in ["", "*", ">", "a b", "a\r\nb", "a/b", "é", "a\u{0}b", long.as_str()] {
                let body = json!({"prompt": "[tokens=1]", "task_id": id});
                refused(fixture, 400, fixture.mesh.client().post(path, &body)).await;
            }
        }
        for id in [".", "..", "-"] {
            fixture.answered(fixture.ask(&Order::tokens(1).field("task_id", json!(id)))).await;
        }
        for hint in ["*", ">", "echo.>", "../../etc/passwd"] {
            let body = json!({"prompt": "[tokens=1]", "model_hint": hint});
            refused(fixture, 503, fixture.mesh.client().post("/task", &body)).await;
        }
    })
    .await;
}
