//! `echo-mesh ask`.

use std::process::Stdio;
use std::time::Duration;

use echo_scripted_engine::Model;
use echo_testing::client::scripted;
use echo_testing::mesh::{Mesh, holds, until};
use echo_testing::proxy::{Mode, Proxy};
use serde_json::Value;

use super::run::{SIZE, fed, read_until, rest, run, url};
use crate::terminal::{Run, Terminal, command};

fn counted(tokens: u64) -> String {
    (0..tokens).map(scripted).collect::<String>() + "\n"
}

fn starts(mesh: &Mesh, prompt: &str) -> tokio::process::Child {
    command(&["ask", prompt]).env("ECHO_EDGE_URL", url(mesh)).spawn().unwrap()
}

/// What the engines were asked, as their requests' text.
fn asked(mesh: &Mesh) -> Vec<Value> {
    let all = mesh.nodes().iter().flat_map(|node| node.engine().requests());
    all.filter(|seen| seen.path == "/api/chat").map(|seen| seen.body).collect()
}

#[track_caller]
fn answered(ended: &Run, tokens: u64) {
    assert_eq!((ended.code, &ended.out), (Some(0), &counted(tokens)), "{}", ended.err);
}

#[tokio::test]
async fn an_answer_is_all_of_stdout_and_the_line_about_it_is_on_stderr() {
    let mesh = Mesh::start().nodes(1).await;
    let ended = run(&mesh, &["ask", "--model", "scripted", "count", "[tokens=64]", "[delay=5]"]).await;
    answered(&ended, 64);
    let line = ended.err.trim();
    for part in ["node-a · scripted:latest · 64 tokens · ", " tokens/s · first after 0.", " · 1 attempt"]
    {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
    assert_eq!((line.lines().count(), line.contains('\x1b')), (1, false), "{line:?}");
    let quiet = run(&mesh, &["ask", "-q", "[tokens=2]"]).await;
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("t0 t1 \n", ""));
}

#[tokio::test]
async fn what_is_piped_in_goes_before_the_words_and_options_reach_the_engine() {
    let mesh = Mesh::start().nodes(1).await;
    let args = ["ask", "--system", "be brief", "-t", "0.5", "-n", "3", "sum", "up", "[tokens=9]"];
    let ended = fed(&mesh, &args, "a text\nof lines\n").await;
    answered(&ended, 3);
    assert!(ended.err.contains("cut off at the limit of tokens"), "{}", ended.err);
    let body = asked(&mesh).pop().unwrap();
    let [system, user] = [&body["messages"][0], &body["messages"][1]];
    assert_eq!((&system["role"], &system["content"]), (&"system".into(), &"be brief".into()), "{body}");
    assert_eq!(user["content"], "a text\nof lines\n\nsum up [tokens=9]", "{body}");
    assert_eq!(body["options"]["temperature"], 0.5, "{body}");
    for args in [&["ask"][..], &["ask", "-"]] {
        answered(&fed(&mesh, args, "only this [tokens=2]\n").await, 2);
        assert_eq!(asked(&mesh).pop().unwrap()["messages"][0]["content"], "only this [tokens=2]");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_before_anybody_is_asked() {
    let mesh = Mesh::start().nodes(1).await;
    for (args, input, words) in [
        (&["ask"][..], " \n", "nothing is asked"),
        (&["ask", "see", "--image", "/nowhere/a.png"], "", "/nowhere/a.png"),
        (&["ask", "-"], &"x".repeat((8 << 20) + 1), "more than 8 MiB"),
    ] {
        let mut child = command(args);
        let mut child = child.env("ECHO_EDGE_URL", url(&mesh)).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It closes the pipe when it has read too much.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
        drop(stdin);
        let ended = rest(child).await;
        assert_eq!((ended.code, ended.err.contains(words)), (Some(2), true), "{}", ended.err);
    }
    assert_eq!(asked(&mesh).len(), 0);
}

#[tokio::test]
async fn a_program_gets_one_object_with_the_answer_and_how_it_went() {
    let mesh = Mesh::start().nodes(1).await;
    let ended = run(&mesh, &["ask", "--json", "[tokens=5]", "[delay=60]"]).await;
    let object: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (&object["content"], &object["node"]),
        (&"t0 t1 t2 t3 t4 ".into(), &"node-a".into()),
        "{object}"
    );
    assert_eq!((&object["tokens"], &object["attempts"]), (&5.into(), &1.into()), "{object}");
    assert!(object["tokens_per_second"].is_f64() && object["first_token_ms"].is_u64(), "{object}");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let ended = run(&mesh, &["ask", "--json", "-m", "unknown", "hello"]).await;
    let object: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, &object["code"]), (Some(1), &"model_not_served".into()), "{object}");
}

#[tokio::test]
async fn a_picture_reaches_a_model_that_sees() {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n0000";
    let mesh = Mesh::start().nodes(1).script(|it| it.models = vec![Model::named("eye").able("vision")]).await;
    let file = mesh.folder().join("a.png");
    std::fs::write(&file, PNG).unwrap();
    let ended = run(&mesh, &["ask", "what is this [tokens=2]", "-i", file.to_str().unwrap()]).await;
    answered(&ended, 2);
    assert_eq!(asked(&mesh).pop().unwrap()["messages"][0]["images"], serde_json::json!(["iVBORw0KGgowMDAw"]));
}

#[tokio::test]
async fn an_answer_goes_on_when_its_node_dies_and_the_line_says_where() {
    let mesh = Mesh::start().await;
    let mut child = starts(&mesh, "count [tokens=60] [delay=20]");
    let begun = read_until(&mut child, "t9 ").await;
    let node = mesh.worker().await;
    mesh.node(&node).kill().await;
    let ended = rest(child).await;
    assert_eq!((ended.code, begun + &ended.out), (Some(0), counted(60)), "{}", ended.err);
    let other = if node == "node-a" { "node-b" } else { "node-a" };
    let wanted = format!("2 attempts: begun on {node}, went on on {other}");
    assert!(ended.err.contains(&wanted) && ended.err.contains("· 60 tokens"), "{}", ended.err);
}

#[tokio::test]
async fn a_connection_that_breaks_is_joined_again_where_it_was() {
    let mesh = Mesh::start().await;
    let proxy = Proxy::start(mesh.edge(0).address()).await;
    let mut command = command(&["ask", "count [tokens=100] [delay=20]"]);
    let mut child = command.env("ECHO_EDGE_URL", proxy.url()).spawn().unwrap();
    let mut out = read_until(&mut child, "t9 ").await;
    proxy.cut().await;
    out += &read_until(&mut child, "t29 ").await;
    proxy.set(Mode::Refuse).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.set(Mode::Pass).await;
    let ended = rest(child).await;
    assert_eq!((ended.code, out + &ended.out), (Some(0), counted(100)), "{}", ended.err);
    assert!(ended.err.contains("1 attempt"), "the node has not heard of it: {}", ended.err);
}

#[tokio::test]
async fn an_edge_that_dies_takes_its_answer_along_and_what_came_stays() {
    let mesh = Mesh::start().nodes(1).await;
    let mut child = starts(&mesh, "count [tokens=2000] [delay=20]");
    let mut out = read_until(&mut child, "t9 ").await;
    mesh.edge(0).restart().await;
    let ended = rest(child).await;
    out += &ended.out;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(counted(2000).starts_with(out.trim_end()) && out.ends_with(" \n"), "{out:?}");
    assert!(ended.err.starts_with("error: the connection to the edge broke"), "{}", ended.err);
    println!("{}", ended.err);
    mesh.is_quiet().await;
}

#[tokio::test]
async fn an_error_in_mid_answer_leaves_what_came_and_exits_1() {
    let mesh = Mesh::start().nodes(1).await;
    let ended =
        run(&mesh, &["ask", "count [tokens=20] [delay=10] [fault=error@5] [words=out of luck]"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), "t0 t1 t2 t3 t4 \n"), "{}", ended.err);
    assert!(ended.err.starts_with("error: ") && ended.err.contains("out of luck"), "{}", ended.err);
}

/// Shorter than a task is kept whose client has only left.
const AT_ONCE: Duration = Duration::from_secs(8);

async fn stopped(mesh: &Mesh, terminal: &mut Terminal) {
    terminal.press("\x03");
    assert_eq!(terminal.exit().await.exit_code(), 130);
    mesh.is_quiet_within(AT_ONCE).await;
    let counters = mesh.engine(0).counters();
    assert_eq!((counters.cancelled, counters.finished), (1, 0));
    answered(&run(mesh, &["ask", "[tokens=1]"]).await, 1);
}

#[tokio::test]
async fn ctrl_c_stops_the_engine_and_frees_its_slot() {
    let mesh = Mesh::start().nodes(1).await;
    let edge = url(&mesh);
    let mut terminal =
        Terminal::start(SIZE, &["ask", "[tokens=100000] [delay=20]"], &[("ECHO_EDGE_URL", &edge)]);
    terminal.shows(&["t9 "]).await;
    stopped(&mesh, &mut terminal).await;
}

#[tokio::test]
async fn ctrl_c_before_the_first_token_stops_the_engine_too() {
    let mesh = Mesh::start().nodes(1).await;
    let edge = url(&mesh);
    let mut terminal =
        Terminal::start(SIZE, &["ask", "[tokens=5] [first=300000]"], &[("ECHO_EDGE_URL", &edge)]);
    mesh.worker().await;
    stopped(&mesh, &mut terminal).await;
}

#[tokio::test]
async fn a_reader_that_has_enough_ends_it_without_a_word() {
    let mesh = Mesh::start().nodes(1).await;
    let mut child = starts(&mesh, "count [tokens=100000] [delay=10]");
    read_until(&mut child, "t5 ").await;
    drop(child.stdout.take());
    let ended = rest(child).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(141), ""));
    mesh.is_quiet_within(AT_ONCE).await;
    assert_eq!(mesh.engine(0).counters().cancelled, 1);
}

/// Clears the screen, sets a title, and hides what follows.
const HOSTILE: &str = "[say=ok%1B%5B2J%1B%5D0;title%07%C2%9B8mevil%0D%0Aend]";

#[tokio::test]
async fn a_terminal_does_not_obey_a_model_and_a_pipe_gets_its_words_as_they_are() {
    let mesh = Mesh::start().nodes(1).await;
    let ended = run(&mesh, &["ask", HOSTILE]).await;
    assert_eq!(ended.out, "ok\x1b[2J\x1b]0;title\x07\u{9b}8mevil\r\nend\n");
    let edge = url(&mesh);
    let mut terminal = Terminal::start(SIZE, &["ask", "-q", HOSTILE], &[("ECHO_EDGE_URL", &edge)]);
    assert_eq!(terminal.exit().await.exit_code(), 0);
    terminal.shows(&["ok\u{241b}[2J\u{241b}]0;title\u{2407}"]).await;
    assert!(terminal.raw().contains("\u{2407}\u{fffd}8mevil\r\nend"), "{:?}", terminal.raw());
    assert!(!terminal.raw().contains(['\x1b', '\x07', '\u{9b}']), "{:?}", terminal.raw());
}

#[tokio::test]
async fn thoughts_are_dim_on_a_terminal_and_absent_in_a_pipe_unless_they_are_wanted() {
    let mesh =
        Mesh::start().nodes(1).script(|it| it.models = vec![Model::named("deep").able("thinking")]).await;
    let edge = url(&mesh);
    let mut terminal = Terminal::start(SIZE, &["ask", "-q", "[tokens=2]"], &[("ECHO_EDGE_URL", &edge)]);
    assert_eq!(terminal.exit().await.exit_code(), 0);
    terminal.shows(&["t0 t1"]).await;
    let raw = terminal.raw();
    let (dim, rest) = raw.split_once("\x1b[2m").and_then(|(_, rest)| rest.split_once("\x1b[0m")).expect(&raw);
    assert!(!dim.trim().is_empty() && rest.contains("t0 t1"), "{raw:?}");
    let hidden = run(&mesh, &["ask", "[tokens=2]"]).await;
    assert_eq!(hidden.out, "t0 t1 \n");
    let shown = run(&mesh, &["ask", "--think", "[tokens=2]"]).await.out;
    assert!(shown.ends_with("\n\nt0 t1 \n") && !shown.contains('\x1b'), "{shown:?}");
    let none = run(&mesh, &["ask", "--no-think", "--json", "[tokens=2]"]).await.out;
    assert!(!none.contains("thinking"), "{none}");
}

#[tokio::test]
async fn who_waits_in_line_sees_the_place_and_then_the_answer() {
    let mesh = Mesh::start().nodes(1).await;
    let first = starts(&mesh, "count [tokens=100000] [delay=20]");
    mesh.worker().await;
    let edge = url(&mesh);
    let mut terminal = Terminal::start(SIZE, &["ask", "[tokens=3]"], &[("ECHO_EDGE_URL", &edge)]);
    terminal.shows(&["waiting: place 1 in the line"]).await;
    // As Ctrl-C does, where there is no terminal.
    std::process::Command::new("kill").args(["-INT", &first.id().unwrap().to_string()]).status().unwrap();
    assert_eq!(rest(first).await.code, Some(130));
    assert_eq!(terminal.exit().await.exit_code(), 0);
    terminal.shows(&["t0 t1 t2"]).await;
    assert_eq!(terminal.count("waiting"), 0, "the spinner is gone");
}

#[tokio::test]
async fn an_error_says_what_to_do() {
    let mesh = Mesh::start().nodes(1).orchestrator_args(["--queue-limit", "1"]).await;
    let ended = run(&mesh, &["ask", "-m", "mistral", "hello"]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("mistral") && ended.err.contains("scripted:latest"), "{}", ended.err);
    assert!(!ended.err.contains("curl"), "{}", ended.err);
    let _running = starts(&mesh, "count [tokens=100000] [delay=20]");
    mesh.worker().await;
    let _waiting = starts(&mesh, "count [tokens=100000] [delay=20]");
    until("somebody to wait", || async {
        let status = mesh.status().await;
        holds(status["queued"] == 1, status)
    })
    .await;
    let full = run(&mesh, &["ask", "hello"]).await;
    assert_eq!((full.code, full.err.contains("the queue is full")), (Some(1), true), "{}", full.err);
    let nobody = rest(command(&["ask", "--edge", "http://127.0.0.1:9", "hello"]).spawn().unwrap()).await;
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.err.contains("echo-mesh up") && nobody.err.contains("127.0.0.1:9"), "{}", nobody.err);
}
