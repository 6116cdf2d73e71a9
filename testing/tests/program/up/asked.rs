//! A mesh on ports of its own and with keys, as those find it who say no more than where it keeps its things.

use std::process::Command;

use serde_json::{Value, json};

use super::here::Here;

/// Without the variables that say where the mesh is.
fn untold(here: &Here, words: &[&str]) -> Command {
    let mut command = here.command(words);
    for name in ["ECHO_RUN_DIR", "ECHO_LOG_DIR", "ECHO_ADVERTISE", "ECHO_NATS_LISTEN", "ECHO_EDGE_LISTEN"] {
        command.env_remove(name);
    }
    command.env("ECHO_ENGINE_URL", here.setting("ECHO_ENGINE_A_URL"));
    command
}

async fn says(mut command: Command) -> (Option<i32>, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

#[tokio::test]
async fn every_command_finds_the_mesh_by_its_run_directory_and_doctor_finds_nothing_wrong() {
    let mut here = Here::new().await;
    here.lan().await;
    here.serves().await;
    let run = here.run_dir().to_string_lossy().into_owned();

    let (code, text) = says(untold(&here, &["doctor", "--json", "--run-dir", &run])).await;
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((code, &json["findings"]), (Some(0), &json!([])), "{json:#}");
    assert!(text.contains("nats-server 2."), "the broker was looked at: {text}");

    for (words, seen) in [
        (&["ask", "-q", "count [tokens=2]"][..], ""),
        (&["models"], "scripted"),
        (&["models", "list"], "scripted"),
        (&["status"], "node-b"),
        (&["check"], "6 of 6 checks ok."),
        (&["drain", "node-a"], "is drained"),
        (&["resume", "node-a"], "takes work again"),
    ] {
        let (code, text) = says(untold(&here, &[words, &["--run-dir", &run]].concat())).await;
        assert!(code == Some(0) && text.contains(seen), "{words:?}: {code:?}\n{text}");
    }
    // As a setting of the file; and a variable that is empty says nothing.
    let file = here.file("config.toml", &format!("run-dir = {run:?}\n")).to_string_lossy().into_owned();
    let mut models = untold(&here, &["models", "--config", &file]);
    models.envs([("ECHO_RUN_DIR", ""), ("ECHO_EDGE_URL", ""), ("ECHO_NATS_URL", "")]);
    let (code, text) = says(models).await;
    assert!(code == Some(0) && text.contains("scripted"), "{code:?}\n{text}");
    // Who names another bus means it.
    let elsewhere = ["drain", "node-a", "--run-dir", &run, "--nats", "nats://127.0.0.1:1"];
    let (code, text) = says(untold(&here, &elsewhere)).await;
    assert!(code == Some(1) && text.contains("127.0.0.1:1"), "{code:?}\n{text}");
    here.nothing_was_denied();
    here.says(&["down"]).await.ended(0);
}
