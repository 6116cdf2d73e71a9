//! Agents are killed and stopped.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::{
    fixture::{Fixture, attempts},
    judge::Verdict,
    order::{Live, Order},
    row::{BACK, Row},
    setting::Setting,
};

pub fn rows() -> Vec<Row> {
    let goes_on = "goes on from another node, every token once and in order; gap p50 < 200 ms, p99 < 1 s";
    vec![
        Row::new("agent-killed-early", Setting::Pair, killed_early)
            .says("agent killed (SIGKILL) before the first token", "another node answers"),
        Row::new("agent-killed", Setting::Pair, killed)
            .says("agent killed (SIGKILL) in mid-answer", goes_on)
            .gap(Duration::from_secs(1))
            .median(Duration::from_millis(200)),
        Row::new("agent-killed-llama", Setting::LlamaPair, killed)
            .says("the same with engines of llama.cpp's kind", goes_on)
            .gap(Duration::from_secs(1))
            .median(Duration::from_millis(200)),
        Row::new("agent-killed-watched", Setting::Pair, killed_watched)
            .says("the same while somebody runs `nats sub '>'`", goes_on)
            .gap(Duration::from_secs(1))
            .median(Duration::from_millis(200)),
        Row::new("agent-killed-json", Setting::Pair, killed_under_a_format).says(
            "agent killed in mid-answer under a JSON format",
            "an explicit error that carries the partial answer",
        ),
        Row::new("agent-restarted-alone", Setting::Single, restarted_alone)
            .says("the only agent killed in mid-answer and started again", "the answer goes on on the new boot")
            .gap(BACK),
        Row::new("agent-stopped", Setting::Broad, stopped)
            .says(
                "agent stopped (SIGSTOP) in mid-answer and continued (SIGCONT)",
                "goes on from another node, gap < 3 s; late frames change nothing, nothing stale runs, it rejoins",
            )
            .gap(BACK),
    ]
}

async fn killed_early(fixture: &Fixture) {
    let asked = fixture.ask(&Order::tokens(5).with("[first=1000]"));
    let node = fixture.mesh.worker().await;
    let wait = fixture.pick(0..200);
    tokio::time::sleep(Duration::from_millis(wait)).await;
    fixture.mesh.node(&node).kill().await;
    let answer = fixture.answered(asked).await;
    fixture.promise(!answer.nodes().contains(&node) && attempts(&answer) == 2, || {
        format!("not another node: {}", answer.summary())
    });
    come_back(fixture, &node).await;
}

/// Kills the node that answers after some tokens.
async fn kill_in_mid_answer(fixture: &Fixture, asked: &mut Live) -> String {
    let node = asked.read(fixture.pick(5..25)).await;
    fixture.mesh.node(&node).kill().await;
    node
}

async fn come_back(fixture: &Fixture, node: &str) {
    let began = Instant::now();
    fixture.mesh.node(node).start().await;
    fixture.whole_since(began).await;
}

async fn killed(fixture: &Fixture) {
    let before = misfits(fixture);
    let mut asked = fixture.ask(&Order::tokens(40).delay(20)).live();
    let node = kill_in_mid_answer(fixture, &mut asked).await;
    let answer = fixture.answered(asked.done().await).await;
    fixture.gap(&answer);
    let (first, told) = (answer.nodes().first() == Some(&node), &answer.last()["nodes"]);
    fixture.promise(first && attempts(&answer) == 2 && *told == json!(answer.nodes()), || {
        format!("not continued once: {}", answer.summary())
    });
    fixture.promise(misfits(fixture) == before, || "the next engine did not get the text so far".to_owned());
    come_back(fixture, &node).await;
}

/// Continuations whose text so far was not what the engines had said.
fn misfits(fixture: &Fixture) -> u64 {
    fixture.mesh.nodes().iter().map(|node| node.engine().counters().misfits).sum()
}

async fn killed_watched(fixture: &Fixture) {
    let observer = fixture.mesh.observer().await;
    killed(fixture).await;
    let frames = observer.subjects().iter().filter(|subject| subject.starts_with("_INBOX.edge.")).count();
    fixture.promise(frames > 20, || format!("the observer saw only {frames} frames"));
    let hidden = observer.subjects().into_iter().find(|subject| subject.starts_with("_echo."));
    fixture
        .promise(hidden.is_none(), || format!("a watcher sees what the parts say to each other: {hidden:?}"));
}

async fn killed_under_a_format(fixture: &Fixture) {
    let mut asked = fixture.ask(&Order::tokens(40).delay(20).field("format", json!("json"))).live();
    let node = kill_in_mid_answer(fixture, &mut asked).await;
    let (answer, verdict) = fixture.finish(asked.done().await).await;
    fixture.promise(verdict == Verdict::Honest("cannot_continue".to_owned()), || {
        format!("{verdict:?}: {}", answer.summary())
    });
    come_back(fixture, &node).await;
}

async fn restarted_alone(fixture: &Fixture) {
    let mut asked = fixture.ask(&Order::tokens(40).delay(20)).live();
    kill_in_mid_answer(fixture, &mut asked).await;
    let began = Instant::now();
    fixture.mesh.node(0).start().await;
    let answer = fixture.answered(asked.done().await).await;
    fixture.gap(&answer);
    fixture.promise(attempts(&answer) == 2 && misfits(fixture) == 0, || {
        format!("not continued once: {}", answer.summary())
    });
    fixture.whole_since(began).await;
}

async fn stopped(fixture: &Fixture) {
    let mut asked = fixture.ask(&Order::tokens(60).delay(20)).live();
    let node = asked.read(fixture.pick(5..20)).await;
    let agent = fixture.mesh.node(&node);
    agent.pause().await;
    // It has a free slot. What is sent to it meanwhile waits in its socket, and must not run when it wakes.
    let meanwhile: Vec<_> = (0..4).map(|_| fixture.ask(&Order::tokens(5).delay(20))).collect();
    asked.read(asked.tokens() + 10).await;
    agent.resume();
    let awake = Instant::now();
    let answer = fixture.answered(asked.done().await).await;
    fixture.gap(&answer);
    fixture.promise(answer.nodes().len() == 2 && attempts(&answer) == 2, || {
        format!("not continued once: {}", answer.summary())
    });
    let numbers: Vec<_> = meanwhile.iter().map(|asked| asked.number).collect();
    for asked in meanwhile {
        fixture.answered(asked).await;
    }
    fixture.whole_since(awake).await;
    fixture.once(numbers).await;
}
