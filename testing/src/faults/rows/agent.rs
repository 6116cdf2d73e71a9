//! Agents are killed and stopped.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::{
    judge::Verdict,
    order::{Live, Order},
    row::{BACK, Row},
    setting::Setting,
    stage::{Stage, attempts},
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

async fn killed_early(stage: &Stage) {
    let asked = stage.ask(&Order::tokens(5).with("[first=1000]"));
    let node = stage.mesh.worker().await;
    let wait = stage.pick(0..200);
    tokio::time::sleep(Duration::from_millis(wait)).await;
    stage.mesh.node(&node).kill().await;
    let answer = stage.answered(asked).await;
    stage.promise(!answer.nodes().contains(&node), || format!("not another node: {}", answer.summary()));
    come_back(stage, &node).await;
}

/// Kills the node that answers after some tokens.
async fn kill_in_mid_answer(stage: &Stage, asked: &mut Live) -> String {
    let node = asked.read(stage.pick(5..25)).await;
    stage.mesh.node(&node).kill().await;
    node
}

async fn come_back(stage: &Stage, node: &str) {
    let began = Instant::now();
    stage.mesh.node(node).start().await;
    stage.whole_since(began).await;
}

async fn killed(stage: &Stage) {
    let mut asked = stage.ask(&Order::tokens(40).delay(20)).live();
    let node = kill_in_mid_answer(stage, &mut asked).await;
    let answer = stage.answered(asked.done().await).await;
    stage.gap(&answer);
    stage.promise(answer.nodes().len() == 2 && attempts(&answer) == 2, || {
        format!("not continued once: {}", answer.summary())
    });
    come_back(stage, &node).await;
}

async fn killed_watched(stage: &Stage) {
    let observer = stage.mesh.observer().await;
    killed(stage).await;
    let frames = observer.subjects().iter().filter(|subject| subject.starts_with("_INBOX.edge.")).count();
    stage.promise(frames > 20, || format!("the observer saw only {frames} frames"));
}

async fn killed_under_a_format(stage: &Stage) {
    let mut asked = stage.ask(&Order::tokens(40).delay(20).field("format", json!("json"))).live();
    let node = kill_in_mid_answer(stage, &mut asked).await;
    let (answer, verdict) = stage.finish(asked.done().await).await;
    stage.promise(verdict == Verdict::Honest("cannot_continue".to_owned()), || {
        format!("{verdict:?}: {}", answer.summary())
    });
    come_back(stage, &node).await;
}

async fn restarted_alone(stage: &Stage) {
    let mut asked = stage.ask(&Order::tokens(40).delay(20)).live();
    kill_in_mid_answer(stage, &mut asked).await;
    let began = Instant::now();
    stage.mesh.node(0).start().await;
    let answer = stage.answered(asked.done().await).await;
    stage.gap(&answer);
    stage.whole_since(began).await;
}

async fn stopped(stage: &Stage) {
    let mut asked = stage.ask(&Order::tokens(60).delay(20)).live();
    let node = asked.read(stage.pick(5..20)).await;
    let agent = stage.mesh.node(&node);
    agent.pause().await;
    // It has a free slot. What is sent to it meanwhile waits in its socket, and must not run when it wakes.
    let meanwhile: Vec<_> = (0..4).map(|_| stage.ask(&Order::tokens(5).delay(20))).collect();
    asked.read(asked.tokens() + 10).await;
    agent.resume();
    let awake = Instant::now();
    let answer = stage.answered(asked.done().await).await;
    stage.gap(&answer);
    stage.promise(answer.nodes().len() == 2 && attempts(&answer) == 2, || {
        format!("not continued once: {}", answer.summary())
    });
    let numbers: Vec<_> = meanwhile.iter().map(|asked| asked.number).collect();
    for asked in meanwhile {
        stage.answered(asked).await;
    }
    stage.whole_since(awake).await;
    stage.once(numbers).await;
}
