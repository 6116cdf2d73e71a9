//! The engine behind a healthy agent fails.

use std::time::{Duration, Instant};

use super::super::{
    fixture::{Fixture, attempts},
    order::{Live, Order},
    row::Row,
    setting::Setting,
};
use crate::mesh::EngineProgram;
use echo_scripted_engine::{Fault, FaultKind};

const ELSEWHERE: &str = "goes on from another node, gap < 1 s";
const SECOND: Duration = Duration::from_secs(1);

pub fn rows() -> Vec<Row> {
    let mid = |row: Row, fault| row.says(fault, ELSEWHERE).gap(SECOND).whole(None);
    let shown =
        "goes on from another node, gap < 1 s; the node says why it is unavailable and recovers by itself";
    let let_go = "goes on from another node, gap < the limit + 1 s; the engine is let go";
    let another = "another node answers";
    vec![
        mid(Row::new("engine-dies", Setting::Pair, dies), "")
            .says("engine dies in mid-answer, and comes back", shown),
        mid(Row::new("engine-killed", Setting::Engines, killed), "")
            .says("engine's process killed (SIGKILL) in mid-answer, and started again", shown),
        mid(Row::new("engine-stopped", Setting::Engines, stopped), "")
            .says("engine's process stopped (SIGSTOP) in mid-answer, and continued", let_go)
            .gap(SECOND + Duration::from_millis(500)),
        mid(Row::new("engine-errors", Setting::Pair, errors), "engine says an error in mid-stream"),
        mid(Row::new("engine-ends", Setting::Pair, ends), "engine ends its stream without `done`"),
        mid(Row::new("engine-cut", Setting::Pair, is_cut), "engine's connection breaks within a chunk"),
        mid(Row::new("engine-garbage", Setting::Pair, garbage), "engine answers garbage"),
        mid(Row::new("engine-stalls", Setting::Impatient, stalls), "")
            .says("engine stalls in mid-answer (--token-timeout 500ms)", let_go)
            .gap(SECOND + Duration::from_millis(500)),
        Row::new("engine-full", Setting::Pair, full).says("engine is full (503)", another).whole(None),
        Row::new("model-missing", Setting::Pair, missing)
            .says("model missing on the node after all (404)", another)
            .whole(None),
    ]
}

/// The engine that gets the task fails in this way somewhere in the answer, once; returns its node.
async fn fails(fixture: &Fixture, kind: &str) -> String {
    let order = Order::tokens(30).delay(20).with(&format!("[fault={kind}@{}]", fixture.pick(3..25)));
    let mut asked = fixture.ask(&order).live();
    let node = asked.read(1).await;
    goes_on(fixture, asked).await;
    node
}

async fn goes_on(fixture: &Fixture, asked: Live) {
    let answer = fixture.answered(asked.done().await).await;
    fixture.gap(&answer);
    fixture.promise(answer.nodes().len() == 2 && attempts(&answer) == 2, || {
        format!("not continued once: {}", answer.summary())
    });
}

/// The status says that a node is unavailable, and why.
async fn is_shown(fixture: &Fixture, node: &str) {
    fixture.mesh.node_is(node, "unavailable").await;
    let seen = fixture.mesh.seen(node).await;
    fixture.promise(seen["reason"].as_str().is_some_and(|reason| reason.len() > 10), || {
        format!("no reason in {seen}")
    });
}

async fn fails_for_a_moment(fixture: &Fixture, kind: &str) {
    fails(fixture, kind).await;
    fixture.whole_since(Instant::now()).await;
}

async fn errors(fixture: &Fixture) {
    fails_for_a_moment(fixture, "error").await;
}

async fn ends(fixture: &Fixture) {
    fails_for_a_moment(fixture, "end").await;
}

async fn is_cut(fixture: &Fixture) {
    fails_for_a_moment(fixture, "cut").await;
}

async fn garbage(fixture: &Fixture) {
    fails_for_a_moment(fixture, "garbage").await;
}

async fn stalls(fixture: &Fixture) {
    fails_for_a_moment(fixture, "stall").await;
}

async fn dies(fixture: &Fixture) {
    let node = fails(fixture, "die").await;
    is_shown(fixture, &node).await;
    for _ in 0..3 {
        let answer = fixture.answered(fixture.ask(&Order::tokens(2))).await;
        fixture.promise(answer.nodes() != [node.as_str()], || {
            format!("it still gets tasks: {}", answer.summary())
        });
    }
    let began = Instant::now();
    fixture.mesh.engine(&node).restart().await.expect("the same port");
    fixture.whole_since(began).await;
}

/// A task's answer goes on elsewhere after this was done to the engine that gave it.
async fn struck(fixture: &Fixture, blow: impl AsyncFnOnce(&EngineProgram)) -> String {
    let mut asked = fixture.ask(&Order::tokens(40).delay(20)).live();
    let node = asked.read(fixture.pick(5..25)).await;
    blow(fixture.mesh.node(&node).engine_program()).await;
    goes_on(fixture, asked).await;
    node
}

async fn killed(fixture: &Fixture) {
    let node = struck(fixture, async |engine| engine.kill().await).await;
    is_shown(fixture, &node).await;
    let began = Instant::now();
    fixture.mesh.node(&node).engine_program().restart().await;
    fixture.whole_since(began).await;
}

async fn stopped(fixture: &Fixture) {
    let node = struck(fixture, async |engine| engine.pause()).await;
    let began = Instant::now();
    fixture.mesh.node(&node).engine_program().resume();
    fixture.whole_since(began).await;
}

/// The second task comes while the first is answered, so that one of the two is sent to the node with the fault.
async fn passed_over(fixture: &Fixture, kind: FaultKind) {
    fixture.mesh.engine(0).fault(Fault::at(kind, 0).times(1));
    let order = Order::tokens(10).delay(40);
    let mut first = fixture.ask(&order).live();
    first.read(1).await;
    let second = fixture.ask(&order);
    for asked in [first.done().await, second] {
        let number = asked.number;
        let answer = fixture.answered(asked).await;
        let met_it = fixture.times(number).await.started > 1;
        fixture.promise(!met_it || answer.nodes() == ["node-b"], || {
            format!("the one that failed answered: {}", answer.summary())
        });
    }
    fixture.promise(fixture.mesh.engine(0).script().faults.is_empty(), || "nobody met the fault".to_owned());
    fixture.mesh.engine(0).heal();
    fixture.whole_since(Instant::now()).await;
}

async fn full(fixture: &Fixture) {
    passed_over(fixture, FaultKind::Busy).await;
}

async fn missing(fixture: &Fixture) {
    passed_over(fixture, FaultKind::Missing).await;
}
