//! `up`, `down`, `logs`, `check`: a whole mesh from one command, and what becomes of it when its parts are killed.

mod asked;
mod engines;
mod here;
mod keys;
mod killed;
mod stopped;

use std::time::Duration;

use echo_testing::mesh::{holds, until};
use here::Here;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn one_command_starts_a_mesh_that_answers_and_another_leaves_nothing_of_it() {
    let here = Here::new().await;
    let said = here.up().await;
    said.has("Let another machine in: ").has(" up --lan");
    said.has("both nodes serve").has(&format!("pid {}", here.pid("edge")));
    here.ask("count [tokens=5]").rest().await.assert_every_token_once(5);
    let record = here.record();
    assert_eq!(record["edge"], format!("http://{}", here.setting("ECHO_EDGE_LISTEN")));
    assert_eq!(record["bus"], format!("nats://{}", here.setting("ECHO_NATS_LISTEN")));
    assert_eq!(record["nodes"][1]["id"], "node-b");
    let down = here.says(&["down"]).await;
    let order: Vec<&str> =
        down.ended(0).text.lines().filter_map(|line| Some(line.split_once(": stopped")?.0)).collect();
    assert_eq!(order, ["edge", "agent-b", "agent-a", "orchestrator", "broker"], "{}", down.text);
    here.assert_clean();
    here.says(&["down"]).await.ended(0).has("Nothing to stop");
}

#[tokio::test]
async fn a_mesh_that_runs_is_shown_and_not_started_twice() {
    let here = Here::new().await;
    let (one, other, third) = tokio::join!(
        here.says(&["up", "--detach"]),
        here.says(&["up", "--detach"]),
        here.says(&["up", "--detach"])
    );
    let started = [&one, &other, &third].iter().filter(|said| said.text.contains("Starting broker")).count();
    assert_eq!(started, 1, "{}\n----\n{}\n----\n{}", one.text, other.text, third.text);
    let before = here.processes().len();
    here.up().await.has("already running").has(&format!("pid {}", here.pid("edge")));
    assert_eq!(here.processes().len(), before);
    here.says(&["down"]).await.ended(0);
    here.assert_clean();
}

#[tokio::test]
async fn half_a_mesh_is_said_to_be_half() {
    let here = Here::new().await;
    here.up().await;
    // While somebody else has its port, the agent cannot come back.
    here.kill("agent-b").await;
    let _taken = here.take("ECHO_AGENT_B_LISTEN").await;
    here.says(&["up", "--detach"]).await.ended(1).has("not running any more: agent-b");
    until("the supervisor to have tried again", || async {
        let log = here.says(&["logs", "up"]).await.text;
        holds(log.contains("agent-b cannot run as it is configured, and is tried again in 30 s"), log)
    })
    .await;
    let log = here.says(&["logs", "up"]).await;
    log.has("agent-b ended unasked (signal: 9 (SIGKILL)) and is started again in 0.5 s");
    log.has("cannot listen on");
}

#[tokio::test]
async fn a_part_that_dies_at_its_start_says_why_and_leaves_nothing() {
    for (part, name, value, words) in [
        ("broker", "ECHO_NATS_CONF", "", "unknown field \"max_paylod\""),
        ("orchestrator", "ECHO_QUEUE_WAIT", "never", "\"never\" is no time"),
        ("agent-", "ECHO_HEARTBEAT", "never", "\"never\" is no time"),
        ("edge", "ECHO_TASK_TIMEOUT", "never", "\"never\" is no time"),
    ] {
        let mut here = Here::new().await;
        let conf = here.file("nats.conf", "max_paylod: 8MB\n").to_string_lossy().into_owned();
        here.set(name, if name == "ECHO_NATS_CONF" { &conf } else { value });
        for up in [&["up", "--detach"][..], &["up"]] {
            let said = here.says(up).await;
            said.ended(1).has(&format!("error: {part}")).has(" ended (exit status: 2)").has(words);
            here.assert_clean();
        }
    }
}

#[tokio::test]
async fn two_meshes_run_side_by_side_and_share_no_logs() {
    let (here, mut there) = (Here::new().await, Here::new().await);
    here.up().await;
    let own = there.setting("ECHO_LOG_DIR");
    there.set("ECHO_LOG_DIR", here.setting("ECHO_LOG_DIR"));
    there.says(&["up", "--detach"]).await.ended(2).has("choose another folder with --log-dir");
    there.set("ECHO_LOG_DIR", own);
    there.up().await;
    here.says(&["down"]).await.ended(0);
    here.assert_clean();
    there.serves().await;
    there.says(&["down"]).await.ended(0);
    there.assert_clean();
}

#[tokio::test]
async fn what_belongs_to_one_part_does_not_reach_another_and_no_key_is_in_arguments_or_variables() {
    let mut here = Here::new().await;
    for (name, value) in [
        ("ECHO_ENGINE", "openai"),
        ("ECHO_NATS_URL", "nats://127.0.0.1:1"),
        ("ECHO_READY_FILE", "/nowhere/ready"),
    ] {
        here.set(name, value);
    }
    here.lan().await;
    here.serves().await;
    let files = std::fs::read_dir(here.run_dir().join("trust/keys")).unwrap();
    let seeds: Vec<String> =
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap().trim().to_owned()).collect();
    assert!(seeds.len() >= 5, "the orchestrator, the edge, two agents and the operator have one each");
    let shows = |text: &str| seeds.iter().any(|seed| text.contains(seed));
    assert!(!shows(&here.record().to_string()), "a key is in the record");
    for (pid, line) in here.processes() {
        assert!(!shows(&line), "a key is in the arguments of {pid}");
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environ = String::from_utf8_lossy(&environ);
        let is_part = pid != here.pid("supervisor");
        for name in ["ECHO_ENGINE", "ECHO_NATS_URL", "ECHO_READY_FILE", "ECHO_SLOTS"] {
            let reached = environ.split('\0').any(|it| it.starts_with(&format!("{name}=")));
            assert!(!(is_part && reached), "{name} has reached {line}");
        }
        assert!(!shows(&environ), "a key is in the environment of {line}");
    }
}

#[tokio::test]
async fn what_a_configuration_file_says_to_agents_reaches_them_and_flags_of_up_do() {
    let mut here = Here::new().await;
    here.file("mesh.toml", "[agent]\nmax-slots = 3\n");
    here.set("ECHO_CONFIG", "mesh.toml");
    let flags = ["--allow-model-management", "--models", "scripted*", "--site", "home"];
    here.says(&[&["up", "--detach"], &flags[..]].concat()).await.ended(0);
    let status: serde_json::Value = here.client().get("/status").send().await.unwrap().json().await;
    assert_eq!(status["nodes"][0]["slots"], 3, "{status}");
    assert_eq!(status["nodes"][0]["site"], "home", "{status}");
    let line = |part: &str| {
        let line = std::fs::read(format!("/proc/{}/cmdline", here.pid(part))).unwrap();
        String::from_utf8_lossy(&line).replace('\0', " ")
    };
    assert!(line("edge").contains("--site home"), "{}", line("edge"));
    let agent = line("agent-a");
    assert!(agent.contains("--allow-model-management") && agent.contains("--models scripted*"), "{agent}");
    here.says(&["down"]).await.ended(0);
    here.says(&["up", "--detach", "--hours", "25:00-26:00"]).await.ended(2);
    here.assert_clean();
}

#[tokio::test]
async fn check_says_ok_of_a_good_mesh_and_fail_of_none() {
    let here = Here::new().await;
    here.says(&["check"]).await.ended(1).has("FAIL  GET /status lists nodes that are ready: no answer");
    here.up().await;
    let said = here.says(&["check"]).await;
    said.ended(0).has("ok    an unknown model is refused with 503").has("6 of 6 checks ok.");
    here.kill("agent-b").await;
    let _taken = here.take("ECHO_AGENT_B_LISTEN").await;
    until("a node less to be noticed", || async {
        let status =
            here.client().get("/status").send().await.map_err(|error| error.to_string())?.json().await;
        holds(status["node_count"] == 1, status)
    })
    .await;
    here.says(&["check"]).await.ended(0).has("on node-a");
}

#[tokio::test]
async fn logs_are_shown_together_by_part_and_as_they_come() {
    let here = Here::new().await;
    here.says(&["logs"]).await.ended(1).has("there are no logs");
    here.up().await;
    let all = here.says(&["logs"]).await;
    all.ended(0).has("broker       | ").has("the bus is ready").has("agent-b      | ").has("edge         | ");
    let one = here.says(&["logs", "edge", "-n", "1"]).await;
    assert_eq!(one.ended(0).text.lines().count(), 1, "{}", one.text);
    here.says(&["logs", "nobody"])
        .await
        .ended(2)
        .has("there are: agent-a, agent-b, broker, edge, orchestrator, up");
    let logs = echo_testing::mesh::logs::Logs::default();
    let follow = echo_testing::mesh::spawn::spawn(here.command(&["logs", "-f", "-n", "1"]), logs.clone())
        .await
        .unwrap();
    until("the follower to be at work", || async { holds(!logs.all().is_empty(), "nothing") }).await;
    here.kill("orchestrator").await;
    until("the crash to be shown", || async {
        holds(
            logs.tail(100).contains("up           | ")
                && logs.tail(100).contains("orchestrator ended unasked"),
            logs.tail(100),
        )
    })
    .await;
    drop(follow);
    here.says(&["down"]).await.ended(0);
}

#[tokio::test]
async fn a_flag_about_logs_reaches_every_part_and_a_folder_of_the_users_outlives_the_mesh() {
    let here = Here::new().await;
    std::fs::create_dir_all(here.run_dir().join("tmp")).unwrap();
    std::fs::write(here.run_dir().join("tmp/thesis"), "").unwrap();
    here.says(&["up", "--detach", "--log-format", "json"]).await.ended(0);
    let killed = here.kill("edge").await;
    until("another edge to be on record", || async {
        let edge = here.part("edge");
        let pid = edge["process"]["pid"].as_i64().filter(|pid| *pid != i64::from(killed));
        pid.ok_or(edge)
    })
    .await;
    for part in ["broker", "orchestrator", "agent-a", "edge", "up"] {
        until("a line of JSON in each log", || async {
            let log = here.says(&["logs", part, "-n", "1"]).await.text;
            holds(log.starts_with("{\"timestamp\":"), format!("{part}: {log}"))
        })
        .await;
    }
    let record = here.run_dir().join("mesh.json");
    let kept = std::fs::read(&record).unwrap();
    std::fs::write(&record, "{").unwrap();
    here.says(&["down"]).await.ended(1).has("mesh.json").has("remove this file");
    std::fs::write(&record, kept).unwrap();
    here.says(&["down"]).await.ended(0);
    assert!(here.run_dir().join("tmp/thesis").exists());
    assert!(!here.run_dir().join("echo-mesh-scratch").exists());
}
