//! SIGKILL of each part in turn, under many streams: everything comes back by itself.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use echo_testing::{
    client::{Transcript, scripted},
    mesh::{holds, until},
};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::here::{CLIENTS, Here};

const TOKENS: u64 = 40;
/// From the kill of the edge to the first answer of the next one.
const SECONDS: Duration = Duration::from_secs(10);

/// Clients that stream without a pause until they are told to stop.
async fn load(here: &Here, answered: &Cell<usize>, stop: &CancellationToken) -> Vec<Transcript> {
    let client = async || {
        let mut seen = Vec::new();
        while !stop.is_cancelled() {
            let answer = here.ask(&format!("count [tokens={TOKENS}] [delay=10]")).rest().await;
            match answer.status {
                200 => answered.set(answered.get() + 1),
                // Nobody listens: a person would try again a little later, too.
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            seen.push(answer);
        }
        seen
    };
    join_all((0..CLIENTS).map(|_| client())).await.concat()
}

/// Kills the part under load, waits until it is back and all are served again; what the clients saw.
async fn killed(here: &Here, part: &str) -> Vec<Transcript> {
    let (answered, stop) = (Cell::new(0), CancellationToken::new());
    let served = async |more: usize| {
        let before = answered.get();
        until("all clients to be served", || async {
            holds(answered.get() > before + more, format!("{} answers", answered.get()))
        })
        .await;
    };
    let kill = async {
        served(CLIENTS).await;
        // They end and begin in step: not between two answers.
        until("most clients to be in mid-answer", || async {
            let status = here.client().get("/status").send().await.map_err(|it| it.to_string())?;
            let status: serde_json::Value = status.json().await;
            let nodes = status["nodes"].as_array().into_iter().flatten();
            let active: u64 = nodes.filter_map(|node| node["active_tasks"].as_u64()).sum();
            holds(active > CLIENTS as u64 / 2, status)
        })
        .await;
        // What a status says is a moment old: this one is in mid-answer for certain.
        let mut long = here.ask(&format!("count [tokens={TOKENS}] [delay=50]"));
        long.read_tokens(3).await;
        let before = here.kill(part).await;
        let began = Instant::now();
        until(&format!("{part} to be back"), || async {
            let pid = if part == "nats-server" && !here.run_dir().join("broker.json").exists() {
                before
            } else {
                here.pid(part)
            };
            holds(pid != before, here.record())
        })
        .await;
        let back = began.elapsed();
        served(1).await;
        eprintln!("{part}: a new process after {back:?}, an answer after {:?}", began.elapsed());
        served(2 * CLIENTS).await;
        stop.cancel();
        long.rest().await
    };
    let (mut seen, long) = tokio::join!(load(here, &answered, &stop), kill);
    seen.push(long);
    here.serves().await;
    seen
}

#[tokio::test]
async fn each_part_comes_back_by_itself_and_no_stream_is_lost_or_doubled() {
    let here = Here::new().await;
    here.up().await;
    for part in ["orchestrator", "agent-a", "agent-b", "nats-server", "broker"] {
        let seen = killed(&here, part).await;
        for answer in &seen {
            answer.assert_every_token_once(TOKENS);
        }
        let restarts = here.part(part)["restarts"].clone();
        assert!(restarts == 1 || part == "nats-server", "{part} was started again {restarts} times");
    }
    here.says(&["down"]).await.ended(0);
    here.assert_clean();
}

#[tokio::test]
async fn an_edge_that_is_killed_breaks_its_own_streams_only_and_the_next_one_serves_within_seconds() {
    let here = Here::new().await;
    here.up().await;
    let began = Instant::now();
    let seen = killed(&here, "edge").await;
    let (whole, cut): (Vec<_>, Vec<_>) = seen.into_iter().partition(|answer| answer.broken.is_none());
    for answer in &whole {
        answer.assert_every_token_once(TOKENS);
    }
    let wanted: String = (0..TOKENS).map(scripted).collect();
    for answer in &cut {
        assert!(wanted.starts_with(&answer.content()) && answer.ends() == 0, "{}", answer.summary());
    }
    let streams = cut.iter().filter(|answer| answer.status == 200).count();
    assert!((1..=CLIENTS + 1).contains(&streams), "{streams} streams were cut");
    let first = whole.iter().filter(|answer| answer.began > cut[0].began).map(|answer| answer.began).min();
    assert!(first.unwrap().duration_since(began) < SECONDS);
    here.says(&["down"]).await.ended(0);
    here.assert_clean();
}
