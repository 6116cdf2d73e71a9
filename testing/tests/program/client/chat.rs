//! `echo-mesh chat`.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use echo_testing::mesh::{Mesh, holds, until};
use serde_json::{Value, json};

use super::run::{SIZE, fed, url};
use crate::terminal::Terminal;

/// A chat in a terminal.
fn chat(mesh: &Mesh, more: &[&str]) -> Terminal {
    let (edge, folder) = (url(mesh), mesh.folder().join("state"));
    let args: Vec<&str> = std::iter::once("chat").chain(more.iter().copied()).collect();
    Terminal::start(SIZE, &args, &[("ECHO_EDGE_URL", &edge), ("ECHO_RUN_DIR", folder.to_str().unwrap())])
}

/// The messages of the newest request at any engine.
fn messages(mesh: &Mesh) -> Vec<(String, String)> {
    let all = mesh.nodes().iter().flat_map(|node| node.engine().requests());
    let longest = all
        .filter(|seen| seen.path == "/api/chat")
        .map(|seen| seen.body["messages"].as_array().cloned().unwrap_or_default())
        .max_by_key(Vec::len);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    longest.unwrap_or_default().iter().map(|it| (text(&it["role"]), text(&it["content"]))).collect()
}

fn said(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(role, text)| ((*role).to_owned(), (*text).to_owned())).collect()
}

/// An end is told to the client first. Until the orchestrator knows of it too, the node counts as busy.
async fn is_idle(mesh: &Mesh) {
    until("every node to be idle", || async {
        let status = mesh.status().await;
        let idle = status["nodes"].as_array().unwrap().iter().all(|node| node["active_tasks"] == 0);
        holds(idle, status)
    })
    .await;
}

#[tokio::test]
async fn a_conversation_stays_on_the_node_that_has_it_in_its_cache() {
    let mesh = Mesh::start().await;
    let mut terminal = chat(&mesh, &[]);
    terminal.shows(&["scripted:latest at http://"]).await;
    let mut nodes = Vec::new();
    for turn in 1..=4 {
        terminal.shows(&[">>> "]).await;
        terminal.press(&format!("turn {turn} [tokens=3] {}\r", "word ".repeat(20)));
        until("its answer", || async { holds(terminal.count("· 3 tokens") == turn, terminal.screen()) })
            .await;
        is_idle(&mesh).await;
    }
    for line in terminal.screen().lines().filter(|line| line.contains("· 3 tokens")) {
        nodes.push(line.split(' ').next().unwrap_or_default().to_owned());
    }
    assert_eq!(nodes.len(), 4, "{nodes:?}");
    assert!(nodes.iter().all(|node| *node == nodes[0]), "{nodes:?}");
    assert_eq!(messages(&mesh).len(), 7);
    terminal.press("\x04");
    assert_eq!(terminal.exit().await.exit_code(), 0);
}

#[tokio::test]
async fn ctrl_c_stops_the_answer_and_the_chat_goes_on() {
    let mesh = Mesh::start().nodes(1).await;
    let mut terminal = chat(&mesh, &[]);
    terminal.shows(&[">>> "]).await;
    terminal.press("count [tokens=100000] [delay=20]\r");
    terminal.shows(&["t5 "]).await;
    terminal.press("\x03");
    terminal.shows(&["stopped"]).await;
    // Shorter than a task is kept whose client has only left.
    mesh.is_quiet_within(Duration::from_secs(8)).await;
    assert_eq!(mesh.engine(0).counters().cancelled, 1);
    terminal.press("\x03");
    terminal.shows(&["Ctrl-D or /quit leaves"]).await;
    terminal.press("more [tokens=3]\r");
    terminal.shows(&["· 3 tokens"]).await;
    let heard = messages(&mesh);
    assert_eq!((heard.len(), heard[1].1.starts_with("t0 t1 t2 ")), (3, true), "{heard:?}");
    terminal.press("/quit\r");
    assert_eq!(terminal.exit().await.exit_code(), 0);
}

#[tokio::test]
async fn ctrl_d_in_mid_answer_leaves_after_it() {
    let mesh = Mesh::start().nodes(1).await;
    let mut terminal = chat(&mesh, &[]);
    terminal.shows(&[">>> "]).await;
    // Ctrl-Space, which the terminal says in the same way.
    terminal.press("\0count [tokens=30] [delay=20]\r");
    terminal.shows(&["t5 "]).await;
    terminal.press("\x04");
    assert_eq!(terminal.exit().await.exit_code(), 0);
    assert!(terminal.screen().contains("· 30 tokens"), "{}", terminal.screen());
}

#[tokio::test]
async fn a_chat_goes_on_when_its_node_dies() {
    let mesh = Mesh::start().await;
    let mut terminal = chat(&mesh, &[]);
    terminal.shows(&[">>> "]).await;
    terminal.press("count [tokens=60] [delay=20]\r");
    terminal.shows(&["t9 "]).await;
    let node = mesh.worker().await;
    mesh.node(&node).kill().await;
    terminal.shows(&[&format!("2 attempts: begun on {node}, went on on")]).await;
    let text: String = terminal.screen().split_whitespace().collect();
    let whole: String = (0..60).map(|number| format!("t{number}")).collect();
    assert!(text.contains(&whole), "{}", terminal.screen());
    terminal.press("again [tokens=7]\r");
    terminal.shows(&["· 7 tokens"]).await;
}

#[tokio::test]
async fn several_lines_are_one_message_and_orders_are_for_the_chat() {
    let mesh = Mesh::start().nodes(1).await;
    let mut terminal = chat(&mesh, &["--system", "be brief"]);
    let file = mesh.folder().join("saved.md");
    terminal.shows(&[">>> "]).await;
    terminal.press("\"\"\"one [tokens=2]\r");
    terminal.shows(&["... "]).await;
    terminal.press("two\"\"\"\r");
    terminal.shows(&["· 2 tokens"]).await;
    terminal.press("a\\\r");
    until("another line", || async { holds(terminal.count("... ") == 2, terminal.screen()) }).await;
    terminal.press("b [tokens=4]\r");
    terminal.shows(&["· 4 tokens"]).await;
    let wanted = said(&[
        ("system", "be brief"),
        ("user", "one [tokens=2]\ntwo"),
        ("assistant", "t0 t1 "),
        ("user", "a\nb [tokens=4]"),
    ]);
    assert_eq!(messages(&mesh), wanted);
    terminal.press("/model nobody\r");
    terminal.shows(&["no node serves \"nobody\"; there are: scripted:latest"]).await;
    terminal.press("/levitate\r");
    terminal.shows(&["there is no /levitate"]).await;
    terminal.press(&format!("/save {}\r", file.display()));
    terminal.shows(&["saved as"]).await;
    let saved = std::fs::read_to_string(&file).unwrap();
    assert!(saved.contains("## You\n\na\nb [tokens=4]\n\n## scripted:latest\n\nt0 t1 t2 t3"), "{saved}");
    terminal.press("/retry\r");
    until("the answer again", || async { holds(terminal.count("· 4 tokens") == 2, terminal.screen()) }).await;
    assert_eq!(messages(&mesh), wanted, "the first answer to it is forgotten");
    terminal.press("/help\r");
    terminal.shows(&["begin a new conversation"]).await;
    terminal.press("/clear\r");
    terminal.press("new [tokens=6]\r");
    terminal.shows(&["· 6 tokens"]).await;
    let newest = mesh.engine(0).requests().pop().unwrap().body;
    assert_eq!(newest["messages"].as_array().unwrap().len(), 2, "{newest}");
    terminal.press("\x04");
    assert_eq!(terminal.exit().await.exit_code(), 0);
}

#[tokio::test]
async fn what_was_typed_is_there_in_the_next_chat_and_nobody_else_reads_it() {
    let mesh = Mesh::start().nodes(1).await;
    let file = mesh.folder().join("state/chat-history");
    let mut secret = chat(&mesh, &["--no-history"]);
    secret.shows(&[">>> "]).await;
    secret.press("not this [tokens=2]\r");
    secret.shows(&["· 2 tokens"]).await;
    secret.press("\x04");
    secret.exit().await;
    assert!(!file.exists());
    let mut first = chat(&mesh, &[]);
    first.shows(&[">>> "]).await;
    first.press("remember this [tokens=2]\r");
    first.shows(&["· 2 tokens"]).await;
    drop(first);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    let mut second = chat(&mesh, &[]);
    second.shows(&[">>> "]).await;
    second.press("\x1b[A");
    second.shows(&[">>> remember this [tokens=2]"]).await;
}

#[tokio::test]
async fn without_a_terminal_each_line_is_a_turn() {
    let mesh = Mesh::start().nodes(1).await;
    let ended = fed(&mesh, &["chat"], "one [tokens=1]\n\n/model\ntwo\\\nthree [tokens=2]").await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "t0 \nt0 t1 \n"), "{}", ended.err);
    assert_eq!(ended.err.matches("1 attempt").count(), 2, "{}", ended.err);
    assert_eq!(messages(&mesh).last().unwrap().1, "two\nthree [tokens=2]");
    let failed = fed(&mesh, &["chat", "nobody"], "one\n").await;
    assert_eq!((failed.code, failed.err.contains("scripted:latest")), (Some(1), true), "{}", failed.err);
    let body = json!({"prompt": "c", "messages": [{"role": "nobody", "content": ""}]});
    let (status, refusal) = mesh.task(&body).await;
    assert_eq!((status, refusal["error"].as_str().unwrap().contains("messages[0].role")), (400, true));
}
