//! What deciding costs in a large mesh: `cargo run --release -p echo-orchestrator --example thousand_nodes`

use std::time::{Duration, Instant};

use echo_broker::message::{Heartbeat, Task};
use echo_orchestrator::event::{Action, Answer, Event, Now};
use echo_orchestrator::{Limits, State};
use serde_json::json;

const NODES: usize = 1_000;
const MODELS: usize = 20;
const SECONDS: u64 = 20;
const TASKS_PER_SECOND: u64 = 500;

fn main() -> anyhow::Result<()> {
    let mut now = Now { at: Instant::now(), unix_ms: 0 };
    let mut state = State::new("bench".parse()?, "b".parse()?, Limits::default(), now);
    let (mut reading, mut beating, mut placing, mut ticking) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for second in 1..=SECONDS {
        for node in 0..NODES {
            let bytes = heartbeat(node, second)?;
            let beat: Heartbeat = timed(&mut reading, || serde_json::from_slice(&bytes))?;
            timed(&mut beating, || state.apply(Event::Beat(Box::new(beat)), now));
        }
        for number in 0..TASKS_PER_SECOND {
            let task: Task = serde_json::from_value(json!({
                "inbox": format!("_INBOX.edge.e.{second}-{number}"),
                "request": {"kind": "generate", "model": "model-7", "prompt": "hi"},
            }))?;
            let event = Event::Submitted { task: Ok(Box::new(task)), reply: None };
            let done = timed(&mut placing, || state.apply(event, now));
            for action in done {
                if let Action::Dispatch { asked, .. } = action {
                    let answer = Answer::Accepted { heartbeat: second };
                    state.apply(Event::Answered { asked, answer }, now);
                }
            }
        }
        for _ in 0..20 {
            now.at += Duration::from_millis(50);
            timed(&mut ticking, || state.apply(Event::Tick, now));
        }
    }
    let load = [&reading, &beating, &ticking].into_iter().flatten().sum::<Duration>();
    println!("{NODES} nodes with {MODELS} models each, {TASKS_PER_SECOND} tasks a second");
    print("reading a heartbeat", &mut reading);
    print("taking a heartbeat", &mut beating);
    print("placing a task", &mut placing);
    print("a tick", &mut ticking);
    let share = load.as_secs_f64() / f64::from(u32::try_from(SECONDS)?) * 100.0;
    println!("heartbeats and ticks take {share:.1}% of a core");
    Ok(())
}

fn heartbeat(node: usize, number: u64) -> serde_json::Result<Vec<u8>> {
    let models: Vec<_> = (0..MODELS)
        .map(|model| {
            json!({"name": format!("model-{model}:latest"), "size": 4_000_000_000_u64, "loaded": model == 7,
            "capabilities": ["completion", "tools"], "tokens_per_second": 40.0 + node as f64 % 17.0,
            "extra": {"digest": "0123456789abcdef", "details": {"family": "llama", "parameter_size": "7B"}}})
        })
        .collect();
    let mut beat = json!({
        "node": format!("node-{node}"), "boot": "b1", "number": number, "status": "idle", "active": [], "slots": 4,
        "engine": {"kind": "ollama", "version": "0.33"}, "agent_host": "10.0.0.1", "agent_port": 9001,
        "memory": {"total": 64_000_000_000_u64, "free": 32_000_000_000_u64 + node as u64 * 1_000_000},
        "disk": {"total": 1, "free": 1}, "version": "0.1.0", "uptime_ms": 1_000,
    });
    if number % 2 == 1 {
        beat["models"] = models.into();
    }
    serde_json::to_vec(&beat)
}

fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let made = work();
    times.push(start.elapsed());
    made
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{what:>20}: p50 {p50:?}, p99 {p99:?}, {} times", times.len());
}
