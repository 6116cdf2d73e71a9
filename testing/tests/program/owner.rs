//! What the owner of a machine decides: hours, slots, models, a pause while others need the machine.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use echo_scripted_engine::Model;
use echo_testing::mesh::{Mesh, holds, until};
use futures::future::join_all;
use serde_json::{Value, json};

/// The hour around a moment that is so many hours after now, in universal time, as `--hours` wants it.
fn the_hour_in(hours: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60;
    let clock = |minute: u64| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
    let middle = now + hours * 60;
    format!("{}-{}", clock(middle - 30), clock(middle + 30))
}

async fn order(mesh: &Mesh, what: &str) {
    let reply = mesh.client().call("POST", &format!("/nodes/node-a/{what}")).send().await.expect("an answer");
    assert_eq!(reply.status(), 200);
}

/// Waits until `/status` says this of the node, and returns all that it says.
async fn says(mesh: &Mesh, node: &str, status: &str, paused: &Value) -> Value {
    until(&format!("{node} to be {status}, {paused}"), || async {
        let seen = mesh.seen(node).await;
        if seen["status"] == status && seen["paused"] == *paused { Ok(seen) } else { Err(seen) }
    })
    .await
}

#[tokio::test]
async fn outside_of_its_hours_a_node_takes_nothing_and_says_why_and_when_it_will() {
    let mesh = Mesh::start().nodes(2).await;
    let (node, hours) = (mesh.node("node-a"), the_hour_in(2));
    node.set("--hours", &hours);
    node.env("TZ", "UTC0");
    node.restart().await;
    let seen = says(&mesh, "node-a", "draining", &json!("hours")).await;
    let again = hours.split('-').next().unwrap();
    assert_eq!(seen["reason"], format!("outside of its hours ({hours}), again at {again}"));
    assert_eq!(seen["limits"], json!([format!("works for others at {hours}")]));
    for _ in 0..4 {
        let (_, answer) = mesh.task(&json!({"prompt": "[tokens=2]"})).await;
        assert_eq!(answer["routed_to"], "node-b", "{answer}");
    }
    assert_eq!(mesh.engine("node-a").counters().started, 0);
    order(&mesh, "resume").await;
    says(&mesh, "node-a", "idle", &Value::Null).await;
    order(&mesh, "drain").await;
    let seen = says(&mesh, "node-a", "draining", &json!("owner")).await;
    assert_eq!(seen["reason"], "drained by its owner");
}

#[tokio::test]
async fn hours_are_those_of_the_machines_own_clock() {
    let mesh = Mesh::start().nodes(1).await;
    let node = mesh.node("node-a");
    node.set("--hours", the_hour_in(2));
    node.env("TZ", "HERE-2");
    node.restart().await;
    says(&mesh, "node-a", "idle", &Value::Null).await;
    let (status, answer) = mesh.task(&json!({"prompt": "[tokens=2]"})).await;
    assert_eq!((status, &answer["routed_to"]), (200, &json!("node-a")), "{answer}");
}

#[tokio::test]
async fn who_asks_while_all_nodes_are_outside_of_their_hours_hears_so_and_soon() {
    let mesh = Mesh::start().nodes(1).orchestrator_args(["--outage-wait", "500ms"]).await;
    let (node, hours) = (mesh.node("node-a"), the_hour_in(5));
    node.set("--hours", &hours);
    node.env("TZ", "UTC0");
    node.restart().await;
    says(&mesh, "node-a", "draining", &json!("hours")).await;
    let (status, answer) = mesh.task(&json!({"prompt": "[tokens=2]"})).await;
    let error = answer["error"].as_str().unwrap_or_default();
    assert_eq!(status, 503, "{answer}");
    assert!(error.contains(&format!("node-a: outside of its hours ({hours}), again at")), "{error}");
}

#[tokio::test]
async fn others_never_get_more_slots_than_the_owner_offers() {
    let mesh = Mesh::start().nodes(1).slots(4).agent_args(["--max-slots", "2"]).await;
    let seen = mesh.seen("node-a").await;
    assert_eq!((&seen["slots"], &seen["limits"]), (&json!(2), &json!(["offers 2 of 4 slots"])));
    let body = json!({"prompt": "count [tokens=10] [delay=20]"});
    let answers = join_all((0..8).map(|_| mesh.task(&body))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(mesh.engine("node-a").counters().max_running, 2);
}

#[tokio::test]
async fn a_model_that_is_not_offered_is_neither_seen_nor_used_nor_managed() {
    let named = |name: &str| Model { name: name.to_owned(), ..Model::default() };
    let mesh = Mesh::start()
        .nodes(1)
        .script(|script| script.models = ["private", "llama3", "llama3.1:70b"].map(named).to_vec())
        .agent_args(["--models", "llama3*", "--allow-model-management"])
        .await;
    let seen = mesh.seen("node-a").await;
    assert_eq!(seen["models"], json!(["llama3.1:70b", "llama3:latest"]));
    assert_eq!(seen["limits"], json!(["offers only the models llama3*"]));
    let (status, answer) = mesh.task(&json!({"prompt": "[tokens=2]", "model_hint": "private"})).await;
    assert_eq!((status, &answer["code"]), (503, &json!("model_not_served")), "{answer}");
    let (status, answer) = mesh.task(&json!({"prompt": "[tokens=2]", "model_hint": "llama3"})).await;
    assert_eq!(status, 200, "{answer}");
    for (method, path) in [("POST", "/api/pull"), ("DELETE", "/api/delete")] {
        let body = json!({"model": "private", "stream": false}).to_string();
        let reply = mesh.client().call(method, path).body(body).send().await.expect("an answer");
        let (status, error) = (reply.status(), reply.json().await);
        eprintln!("{path}: {status} {error}");
        assert!((400..500).contains(&status), "{path}: {status} {error}");
    }
    assert_eq!(mesh.engine("node-a").counters().started, 1);
}

/// A program that needs the processor.
struct Busy(Vec<Child>);

impl Busy {
    fn begin() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shell =
            || Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap();
        Self((0..cores).map(|_| shell()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether it goes on afterwards cannot be awaited here: other builds on this machine need the processor, too. The memory of
/// the GPU below shows that; `what_our_own_processes_use_is_not_charged_to_others` shows who is counted.
#[tokio::test]
async fn a_program_that_needs_the_processor_makes_the_node_pause() {
    let mesh = Mesh::start()
        .nodes(1)
        .engine_programs()
        .agent_args(["--pause-after", "2s", "--resume-after", "1s"])
        .await;
    let node = mesh.node("node-a");
    node.set("--pause-on-load", "cpu=0.2");
    let busy = Busy::begin();
    node.restart().await;
    let seen = says(&mesh, "node-a", "draining", &json!("load")).await;
    drop(busy);
    let reason = seen["reason"].as_str().unwrap_or_default();
    let share = reason
        .strip_prefix("the machine is busy: ")
        .and_then(|it| it.strip_suffix(" of the processor is used by others"));
    let share: f64 = share.and_then(|share| share.parse().ok()).unwrap_or_else(|| panic!("{reason}"));
    assert!((0.2..=1.0).contains(&share), "{reason}");
}

/// In place of NVIDIA's tool: tells what stands in two files.
const TOOL: &str = r#"#!/bin/sh
case "$1" in
  --query-gpu=*) cat "${0%/*}/memory" ;;
  *) cat "${0%/*}/processes" ;;
esac
"#;

#[tokio::test]
async fn a_game_on_the_gpu_makes_the_node_pause_and_its_end_makes_it_go_on() {
    let mesh = Mesh::start().nodes(1).agent_args(["--pause-after", "0s", "--resume-after", "0s"]).await;
    let (node, tool) = (mesh.node("node-a"), mesh.folder().join("nvidia-smi"));
    let tell = |name: &str, text: &str| std::fs::write(mesh.folder().join(name), text).unwrap();
    tell("nvidia-smi", TOOL);
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    tell("memory", "6200, 8192\n");
    // The engine is in this process: what it has there is not others'.
    tell("processes", &format!("{}, 6000\n", std::process::id()));
    node.set("--pause-on-load", "gpu=0.5");
    node.env("PATH", format!("{}:{}", mesh.folder().display(), std::env::var("PATH").unwrap()));
    node.restart().await;
    says(&mesh, "node-a", "idle", &Value::Null).await;
    let mut stream = mesh.ask("count [tokens=100] [delay=100]");
    stream.read_tokens(1).await;
    tell("processes", "");
    let seen = says(&mesh, "node-a", "draining", &json!("load")).await;
    assert!(seen["reason"].as_str().unwrap().ends_with("of the GPU's memory is used by others"), "{seen}");
    stream.rest().await.assert_every_token_once(100);
    tell("memory", "200, 8192\n");
    says(&mesh, "node-a", "idle", &Value::Null).await;
    until("an answer", || async {
        let (status, answer) = mesh.task(&json!({"prompt": "[tokens=2]"})).await;
        holds(status == 200, answer)
    })
    .await;
}

#[tokio::test]
async fn a_value_that_cannot_be_meant_is_refused_with_a_sentence() {
    let mesh = Mesh::start().nodes(1).await;
    for (name, value, word) in [
        ("ECHO_HOURS", "22-7", "write HH:MM-HH:MM"),
        ("ECHO_HOURS", "weekend 22:00-07:00", "is no day"),
        ("TZ", "No/Where", "install the package tzdata"),
        ("ECHO_MAX_SLOTS", "0", "1..=16384"),
        ("ECHO_MODELS", "a b", "names no model"),
        ("ECHO_PAUSE_ON_LOAD", "50%", "0.01 to 1"),
    ] {
        let bad = mesh.agent("node-x", "http://127.0.0.1:9", &echo_scripted_engine::Script::default());
        bad.env("ECHO_HOURS", "22:00-07:00");
        bad.env("TZ", "UTC0");
        bad.env(name, value);
        bad.launch().await;
        bad.mentions(word).await;
        assert_eq!(bad.exit().await.code(), Some(2), "{name}={value}");
    }
}
