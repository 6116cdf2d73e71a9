//! The end of a mesh: asked for, insisted on, and after a supervisor that was killed.

use std::{os::unix::fs::PermissionsExt as _, process::Command, time::Instant};

use echo_testing::mesh::{holds, soon, until};

use super::{
    SOON,
    here::{Here, lives, signal},
};

#[tokio::test]
async fn ctrl_c_stops_all_in_order_and_lets_what_runs_end() {
    let here = Here::new().await;
    let (up, logs) = here.foreground().await;
    let mut stream = here.ask("count [tokens=100] [delay=10]");
    stream.read_tokens(3).await;
    up.signal(libc::SIGINT);
    stream.rest().await.assert_every_token_once(100);
    let status = soon("`up` to end", up.exit()).await;
    assert!(status.success(), "{status}: {}", logs.tail(100));
    let lines = logs.all();
    let order: Vec<&str> = lines.iter().filter_map(|line| Some(line.split_once(": stopped")?.0)).collect();
    assert_eq!(order, ["edge", "agent-b", "agent-a", "orchestrator", "broker"], "{}", logs.tail(100));
    here.assert_clean();
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_leaves_no_process() {
    let here = Here::new().await;
    let (up, logs) = here.foreground().await;
    let mut stream = here.ask("count [tokens=6000] [delay=10]");
    stream.read_tokens(3).await;
    up.signal(libc::SIGTERM);
    until("it to begin", || async { holds(logs.tail(9).contains("a second signal"), logs.tail(9)) }).await;
    assert!(up.exited().is_none(), "the edge lets its task end: {}", logs.tail(9));
    let began = Instant::now();
    up.signal(libc::SIGINT);
    soon("`up` to end", up.exit()).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    here.is_empty_within(SOON).await;
    assert!(logs.tail(20).contains("SIGKILL"), "{}", logs.tail(20));
}

#[tokio::test]
async fn a_deaf_part_is_killed_aloud() {
    let mut here = Here::new().await;
    here.up().await;
    let pid = here.pid("orchestrator");
    signal(pid, libc::SIGSTOP);
    here.set("ECHO_STOP_SECONDS", "1");
    let said = here.says(&["down"]).await;
    said.ended(0).has("SIGKILL").has(&format!("pid {pid}"));
    here.is_empty_within(SOON).await;
    assert!(!here.run_dir().join("mesh.json").exists());
}

#[tokio::test]
async fn a_supervisor_that_the_terminal_has_stopped_still_stops_its_parts_in_order() {
    let here = Here::new().await;
    here.up().await;
    signal(here.pid("supervisor"), libc::SIGSTOP);
    let said = here.says(&["down"]).await;
    assert!(!said.ended(0).text.contains("SIGKILL"), "{}", said.text);
    here.assert_clean();
}

#[tokio::test]
async fn a_start_that_is_under_way_is_ended_by_down() {
    let mut here = Here::new().await;
    // It says nothing and serves nothing, so the bus is never ready.
    let server = here.file("nats-server", "#!/bin/sh\nexec sleep 600\n");
    std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).unwrap();
    here.set("ECHO_NATS_SERVER", server.to_string_lossy());
    let (up, ()) = tokio::join!(here.says(&["up", "--detach"]), async {
        until("a start to be recorded", || async { holds(here.record().is_object(), here.logs().display()) })
            .await;
        here.says(&["up", "--detach"]).await.ended(1).has("another start of this mesh is under way");
        here.says(&["down"]).await.ended(0).has("is still at work").has("Stopped.");
    });
    up.ended(1).has("interrupted before the mesh was up");
    here.assert_clean();
}

#[tokio::test]
async fn a_supervisor_that_is_killed_takes_its_parts_with_it_in_order_and_the_next_one_starts() {
    let here = Here::new().await;
    here.up().await;
    let mut stream = here.ask("count [tokens=100] [delay=10]");
    stream.read_tokens(3).await;
    here.kill("supervisor").await;
    // The edge goes first, and lets its task end: so the agents, the orchestrator and the bus were there until then.
    stream.rest().await.assert_every_token_once(100);
    here.is_empty_within(SOON).await;
    let said = here.up().await;
    said.has("has lost its supervisor");
    here.serves().await;
    here.says(&["down"]).await.ended(0);
    here.assert_clean();
}

#[tokio::test]
async fn parts_whose_supervisor_was_killed_are_stopped_by_down() {
    let mut here = Here::new().await;
    here.up().await;
    let mut stream = here.ask("count [tokens=6000] [delay=10]");
    stream.read_tokens(3).await;
    let (edge, broker) = (here.pid("edge"), here.pid("broker"));
    here.kill("supervisor").await;
    signal(edge, libc::SIGSTOP);
    here.set("ECHO_STOP_SECONDS", "1");
    assert!(lives(edge) && lives(broker), "the bus is there as long as the edge");
    let said = here.says(&["down"]).await;
    said.ended(0).has(&format!("edge: pid {edge} did not end within 1 s of SIGTERM, so SIGKILL"));
    here.assert_clean();
}

#[tokio::test]
async fn a_stranger_with_our_pid_is_left_alone() {
    let here = Here::new().await;
    here.up().await;
    let mut record = here.record();
    here.kill("supervisor").await;
    here.is_empty_within(SOON).await;
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    for part in record["parts"].as_array_mut().unwrap() {
        part["process"]["pid"] = stranger.id().into();
    }
    record["supervisor"]["pid"] = stranger.id().into();
    std::fs::write(here.run_dir().join("mesh.json"), record.to_string()).unwrap();
    here.says(&["down"]).await.ended(0).has("edge: had already ended");
    assert!(stranger.try_wait().unwrap().is_none(), "a stranger was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(!here.run_dir().join("mesh.json").exists());
}
