//! Whether counting prompts disturbs answers: `cargo run --release -p echo-bench --example counts`
//!
//! Twenty streams, alone and beside waves of forty counts at once, in turns. The agents are before engines that count for
//! themselves, so that each count goes the whole way.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use echo_bench::{
    client::{
        Connection, Dialect,
        request::{Ask, MODEL},
    },
    engines::Engines,
    load::{Amount, Load, Outcome},
    stats::{median, percentile},
    system::bare_mesh,
};
use echo_testing::mesh::{Program, holds, until};
use serde_json::{Value, json};

const STREAMS: usize = 20;
const AT_ONCE: usize = 40;
/// Between two waves, as an editor that starts again and again.
const PAUSE: Duration = Duration::from_secs(1);
const TURN: Duration = Duration::from_secs(10);
const TURNS: usize = 5;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let engines = Engines::start(64).await?;
    let (programs, edge) = mesh(&engines).await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (counted, slowest) = (AtomicU64::new(0), AtomicU64::new(0));
    // The first turn warms up.
    turn(edge).await?;
    for _ in 0..TURNS {
        alone.push(turn(edge).await?);
        let over = AtomicBool::new(false);
        let waves = async {
            while !over.load(Relaxed) {
                let begun = Instant::now();
                counted.fetch_add(wave(edge).await, Relaxed);
                let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                slowest.fetch_max(took, Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        };
        let streams = async {
            let outcome = turn(edge).await;
            over.store(true, Relaxed);
            outcome
        };
        let ((), outcome) = tokio::join!(waves, streams);
        beside.push(outcome?);
    }
    println!("| {STREAMS} streams | gap p50 | gap p99 | in each turn | first token p50 | errors |");
    println!("| --- | --- | --- | --- | --- | --- |");
    row("alone", &alone);
    row(&format!("beside {AT_ONCE} counts at once, each {} s", PAUSE.as_secs()), &beside);
    let (counted, slowest) = (counted.into_inner(), slowest.into_inner() / 1_000);
    println!("\n{counted} counts were answered; the slowest wave took {slowest} ms.");
    drop(programs);
    Ok(())
}

async fn turn(edge: SocketAddr) -> anyhow::Result<Outcome> {
    let ask = Ask { tokens: 64, delay: 20, stream: true };
    let load = Load { clients: STREAMS, spread: Duration::from_millis(400), amount: Amount::Time(TURN), ask };
    load.run(&[edge], Dialect::OpenAi).await
}

fn row(name: &str, turns: &[Outcome]) {
    let of = |figure: &dyn Fn(&Outcome) -> f64| turns.iter().map(figure).collect::<Vec<_>>();
    let first = |turn: &Outcome| turn.samples.iter().filter_map(|sample| sample.first).collect();
    let middle = |values: &[f64]| median(values).unwrap_or(f64::NAN);
    let worst = of(&|turn| millis(turn.gaps.clone(), 0.99));
    println!(
        "| {name} | {:.2} ms | {:.2} ms | {} | {:.2} ms | {} |",
        middle(&of(&|turn| millis(turn.gaps.clone(), 0.5))),
        middle(&worst),
        worst.iter().map(|gap| format!("{gap:.2}")).collect::<Vec<_>>().join(", "),
        middle(&of(&|turn| millis(first(turn), 0.5))),
        turns.iter().map(|turn| turn.errors).sum::<u64>(),
    );
}

/// A percentile of times in microseconds, in milliseconds.
fn millis(mut times: Vec<u32>, share: f64) -> f64 {
    times.sort_unstable();
    percentile(&times, share).map_or(f64::NAN, |time| f64::from(time) / 1e3)
}

/// A wave of counts, each on a connection of its own; how many were answered.
async fn wave(edge: SocketAddr) -> u64 {
    let mut wave = tokio::task::JoinSet::new();
    for number in 0..AT_ONCE {
        wave.spawn(count(edge, number));
    }
    wave.join_all().await.into_iter().flatten().count() as u64
}

/// The tokens of a prompt; `None` where there was no answer.
async fn count(edge: SocketAddr, number: usize) -> Option<u64> {
    let text = format!("file {number}: {}", "let x = a + b; ".repeat(500));
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": text}]}).to_string();
    let request = format!(
        "POST /v1/messages/count_tokens HTTP/1.1\r\nHost: {edge}\r\nContent-Type: application/json\r\n\
         anthropic-version: 2023-06-01\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut reply = Vec::new();
    let mut connection = Connection::new(edge, 4 << 10);
    let status = connection.ask(request.as_bytes(), |bytes| reply.extend_from_slice(bytes)).await.ok()?;
    let reply: Value = serde_json::from_slice(&reply).ok()?;
    reply["input_tokens"].as_u64().filter(|_| status == 200)
}

/// The mesh before engines that show their prompts.
async fn mesh(engines: &Engines) -> (Vec<Program>, SocketAddr) {
    let (mut programs, url) = bare_mesh().await;
    for (id, engine) in ["node-a", "node-b"].into_iter().zip(engines.addresses()) {
        let engine = format!("http://{engine}");
        let mut args = vec!["--nats", &url, "--node", id, "--engine", "openai", "--engine-url", &engine];
        args.extend(["--slots", "64", "--listen", "127.0.0.1:0", "--no-calibration"]);
        programs.push(started(id, "agent", &args).await);
    }
    let edge = started("edge", "edge", &["--nats", &url, "--listen", "127.0.0.1:0"]).await;
    let address = edge.address();
    programs.push(edge);
    until("both nodes to be ready", || async {
        let mut reply = Vec::new();
        let request = format!("GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let mut connection = Connection::new(address, 16 << 10);
        let asked = connection.ask(request.as_bytes(), |bytes| reply.extend_from_slice(bytes)).await;
        let status: Value = serde_json::from_slice(&reply).unwrap_or_default();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let ready = nodes.iter().filter(|node| node["models"][0].is_string()).count();
        holds(asked.is_ok() && ready == 2, status)
    })
    .await;
    programs.reverse();
    (programs, address)
}

async fn started(name: &str, binary: &'static str, args: &[&str]) -> Program {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let program = Program::new(name, binary, args).as_users_run_it();
    program.start().await;
    program
}
