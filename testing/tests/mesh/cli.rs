//! The real `nats` command looks inside, as the README shows.

use std::{path::PathBuf, process::Stdio};

use echo_testing::mesh::{Mesh, soon};
use tokio::process::Command;

use echo_testing::skip::skip;

/// The command, where the environment names it; otherwise the test is skipped aloud.
fn cli(test: &str) -> Option<PathBuf> {
    let cli = std::env::var_os("ECHO_NATS_CLI").map(PathBuf::from).filter(|path| path.is_file());
    if cli.is_none() {
        skip(
            test,
            "ECHO_NATS_CLI names no nats command; get one: go install github.com/nats-io/natscli/nats@v0.5.1",
        );
    }
    cli
}

fn command(cli: &PathBuf, mesh: &Mesh, args: &[&str]) -> Command {
    let mut command = Command::new(cli);
    command.args(["--server", &mesh.broker.url()]).args(args).env("HOME", mesh.folder()).env("NO_COLOR", "1");
    for name in ["NATS_URL", "NATS_CONTEXT", "NATS_USER", "NATS_PASSWORD", "XDG_CONFIG_HOME"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs it to its end and gives all that it says.
async fn says(cli: &PathBuf, mesh: &Mesh, args: &[&str]) -> String {
    let output = soon(&format!("nats {args:?}"), command(cli, mesh, args).output()).await.expect("nats runs");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "nats {args:?} ended with {}: {text}", output.status);
    text
}

#[track_caller]
fn holds_all(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn nats_sub_echo_reads_like_a_log() {
    let Some(cli) = cli("nats_sub_echo_reads_like_a_log") else { return };
    let mesh = Mesh::start().await;
    let text = says(&cli, &mesh, &["sub", "echo.>", "--count", "4"]).await;
    holds_all(&text, &["echo.node.node-a.heartbeat", "echo.node.node-b.heartbeat", r#""status":"idle""#]);
}

#[tokio::test]
async fn nats_sub_inbox_shows_the_tokens() {
    let Some(cli) = cli("nats_sub_inbox_shows_the_tokens") else { return };
    let mesh = Mesh::start().await;
    let seen = says(&cli, &mesh, &["sub", "_INBOX.edge.>", "--count", "25"]);
    let ask = async {
        loop {
            mesh.ask("count [tokens=20] [delay=5]").rest().await.assert_every_token_once(20);
        }
    };
    let text = tokio::select! {
        text = seen => text,
        () = ask => unreachable!("asks for ever"),
    };
    holds_all(
        &text,
        &[r#""frame":"token""#, r#""content":"t7 ""#, r#""frame":"accepted""#, r#""frame":"done""#],
    );
}

#[tokio::test]
async fn nats_req_status_shows_the_mesh() {
    let Some(cli) = cli("nats_req_status_shows_the_mesh") else { return };
    let mesh = Mesh::start().await;
    let text = says(&cli, &mesh, &["req", "echo.mesh.status", "", "--raw"]).await;
    let status: serde_json::Value = serde_json::from_str(text.trim()).expect("JSON");
    assert_eq!(status["node_count"], 2, "{status}");
    assert_eq!(status["nodes"][0]["models"][0], "scripted:latest", "{status}");
}

#[tokio::test]
async fn nats_req_submit_streams_an_answer_by_hand() {
    let Some(cli) = cli("nats_req_submit_streams_an_answer_by_hand") else { return };
    let mesh = Mesh::start().await;
    let task = r#"{"request":{"kind":"generate","prompt":"count [tokens=5] [delay=10]"}}"#;
    let args = ["req", "echo.task.submit", task, "--replies", "0", "--timeout", "3s"];
    let text = says(&cli, &mesh, &args).await;
    holds_all(
        &text,
        &[r#""answer":"taken""#, r#""frame":"accepted""#, r#""content":"t4 ""#, r#""frame":"done""#],
    );
    mesh.is_quiet().await;
}

#[tokio::test]
async fn nats_micro_ls_lists_the_parts() {
    let Some(cli) = cli("nats_micro_ls_lists_the_parts") else { return };
    let mesh = Mesh::start().await;
    let text = says(&cli, &mesh, &["micro", "ls"]).await;
    holds_all(&text, &["echo-orchestrator", "echo-agent", "echo-edge", env!("CARGO_PKG_VERSION")]);
}

#[tokio::test]
async fn nats_rtt_measures() {
    let Some(cli) = cli("nats_rtt_measures") else { return };
    let mesh = Mesh::start().nodes(0).await;
    let address = mesh.broker.address().to_string();
    holds_all(&says(&cli, &mesh, &["rtt"]).await, &[&address, "s"]);
}

#[tokio::test]
async fn nats_server_report_connections_names_the_parts() {
    let Some(cli) = cli("nats_server_report_connections_names_the_parts") else { return };
    let mesh = Mesh::start().await;
    let text = says(&cli, &mesh, &["server", "report", "connections"]).await;
    holds_all(&text, &["agent.node-a.", "agent.node-b.", "orchestrator.", "edge."]);
}

#[tokio::test]
async fn a_watcher_cannot_speak_for_the_mesh() {
    let Some(cli) = cli("a_watcher_cannot_speak_for_the_mesh") else { return };
    let mesh = Mesh::start().await;
    for subject in [
        "echo.node.node-a.cancel.000000000000",
        "echo.node.node-a.heartbeat",
        "_echo.ping.agent.node-a",
        "_INBOX.edge.x",
    ] {
        let run = command(&cli, &mesh, &["pub", subject, "{}"]).output();
        let output = soon("nats pub", run).await.expect("nats runs");
        let text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(text.to_lowercase().contains("permissions violation"), "{subject}: {text}");
    }
    mesh.ask("count [tokens=5]").rest().await.assert_every_token_once(5);
}
