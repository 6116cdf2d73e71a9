//! `echo-mesh models`.

use std::time::Duration;

use echo_testing::mesh::{Mesh, holds, until};
use serde_json::Value;

use super::run::{SIZE, run, url};
use crate::terminal::Terminal;

const MANAGED: [&str; 1] = ["--allow-model-management"];

async fn have(mesh: &Mesh, model: &str, nodes: &[&str]) {
    until("exactly these nodes to have the model", || async {
        let status = mesh.status().await;
        let all = status["nodes"].as_array().cloned().unwrap_or_default();
        let has = |node: &&Value| node["models"].as_array().is_some_and(|all| all.contains(&model.into()));
        let mut having: Vec<_> =
            all.iter().filter(has).filter_map(|node| node["node_id"].as_str().map(str::to_owned)).collect();
        having.sort();
        holds(having == nodes, format!("{having:?}"))
    })
    .await;
}

#[tokio::test]
async fn the_table_says_what_is_where() {
    let mesh = Mesh::start().await;
    let ended = run(&mesh, &["models"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let lines: Vec<Vec<&str>> = ended
        .out
        .lines()
        .map(|line| line.split("  ").filter(|it| !it.is_empty()).map(str::trim).collect())
        .collect();
    assert_eq!(lines[0], ["MODEL", "SIZE", "CAN", "ON", "LOADED ON"], "{}", ended.out);
    assert_eq!(
        lines[1][..4],
        ["scripted:latest", "98 MB", "completion, tools", "node-a, node-b"],
        "{}",
        ended.out
    );
    let all: Value = serde_json::from_str(&run(&mesh, &["models", "--json"]).await.out).unwrap();
    assert_eq!((&all[0]["model"], &all[0]["size"]), (&"scripted:latest".into(), &98_362_432.into()), "{all}");
}

#[tokio::test]
async fn a_model_is_pulled_to_the_named_nodes_and_removed_from_them() {
    let mesh = Mesh::start().agent_args(MANAGED).await;
    let pulled = run(&mesh, &["models", "pull", "one", "--on", "node-b"]).await;
    assert_eq!((pulled.code, pulled.out.as_str()), (Some(0), "node-b: has one\n"), "{}", pulled.err);
    assert!(pulled.err.contains("node-b: 50%\n") && pulled.err.contains("node-b: 100%\n"), "{}", pulled.err);
    have(&mesh, "one:latest", &["node-b"]).await;
    let pulled = run(&mesh, &["models", "pull", "two", "--on", "all"]).await;
    assert_eq!(pulled.out, "node-a: has two\nnode-b: has two\n", "{}", pulled.err);
    have(&mesh, "two:latest", &["node-a", "node-b"]).await;
    let anywhere = run(&mesh, &["models", "pull", "three"]).await;
    assert!(anywhere.out.starts_with("node-") && anywhere.out.ends_with(": has three\n"), "{anywhere:?}");
    let asked = run(&mesh, &["models", "rm", "two", "--on", "all"]).await;
    assert_eq!((asked.code, asked.err.contains("--yes")), (Some(2), true), "{}", asked.err);
    let removed = run(&mesh, &["models", "rm", "two", "--on", "node-a", "--yes"]).await;
    assert_eq!(
        (removed.code, removed.out.as_str()),
        (Some(0), "node-a: two is removed\n"),
        "{}",
        removed.err
    );
    have(&mesh, "two:latest", &["node-b"]).await;
    let removed = run(&mesh, &["models", "rm", "two", "--on", "all", "-y"]).await;
    assert_eq!(removed.out, "node-b: two is removed\n", "{}", removed.err);
    let none = run(&mesh, &["models", "rm", "two", "--on", "node-a", "-y"]).await;
    assert_eq!((none.code, none.err.contains("node-a: has no two")), (Some(1), true), "{}", none.err);
    let nobody = run(&mesh, &["models", "pull", "x", "--on", "node-x"]).await;
    assert_eq!((nobody.code, nobody.err.contains("node-a, node-b")), (Some(2), true), "{}", nobody.err);
}

#[tokio::test]
async fn a_node_that_cannot_does_not_keep_the_others_from_it() {
    let mesh = Mesh::start().agent_args(MANAGED).await;
    mesh.engine(0).edit(|script| script.pull_error = Some("disk is full\u{1b}[2J".to_owned()));
    let pulled = run(&mesh, &["models", "pull", "one", "--on", "all"]).await;
    assert_eq!((pulled.code, pulled.out.as_str()), (Some(1), "node-b: has one\n"), "{}", pulled.err);
    assert!(pulled.err.contains("error: node-a: ") && pulled.err.contains("disk is full"), "{}", pulled.err);
    assert!(!pulled.err.contains('\x1b'), "{:?}", pulled.err);
    have(&mesh, "one:latest", &["node-b"]).await;
}

#[tokio::test]
async fn a_node_whose_owner_allows_it_not_says_so() {
    let mesh = Mesh::start().nodes(1).await;
    for args in
        [&["models", "pull", "x", "--on", "all"][..], &["models", "rm", "scripted", "--on", "all", "-y"]]
    {
        let ended = run(&mesh, args).await;
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        assert!(
            ended.err.contains("node-a") && ended.err.contains("--allow-model-management"),
            "{}",
            ended.err
        );
    }
}

#[tokio::test]
async fn a_terminal_shows_a_bar_for_each_node_and_is_asked_before_a_removal() {
    let slow = |script: &mut echo_scripted_engine::Script| script.pull_delay = Duration::from_millis(400);
    let mesh = Mesh::start().agent_args(MANAGED).script(slow).await;
    let edge = url(&mesh);
    let env = [("ECHO_EDGE_URL", edge.as_str())];
    let mut pull = Terminal::start(SIZE, &["models", "pull", "one", "--on", "all"], &env);
    until("two bars", || async {
        let screen = pull.screen();
        // Bars fill their lines, so the screen is one long line to its reader.
        holds(screen.contains("node-a █") && screen.contains("node-b █"), screen)
    })
    .await;
    assert_eq!(pull.exit().await.exit_code(), 0);
    pull.shows(&["node-a: has one"]).await;
    have(&mesh, "one:latest", &["node-a", "node-b"]).await;
    for (answer, left) in [("n\r", &["node-a", "node-b"][..]), ("y\r", &[])] {
        let mut remove = Terminal::start(SIZE, &["models", "rm", "one", "--on", "all"], &env);
        remove.shows(&["remove one from node-a, node-b? [y/N]"]).await;
        remove.press(answer);
        assert_eq!(remove.exit().await.exit_code(), u32::from(!left.is_empty()));
        have(&mesh, "one:latest", left).await;
    }
}

#[tokio::test]
async fn ctrl_c_ends_a_pull() {
    let slow = |script: &mut echo_scripted_engine::Script| script.pull_delay = Duration::from_secs(600);
    let mesh = Mesh::start().nodes(1).agent_args(MANAGED).script(slow).await;
    let edge = url(&mesh);
    let mut pull =
        Terminal::start(SIZE, &["models", "pull", "one", "--on", "node-a"], &[("ECHO_EDGE_URL", &edge)]);
    pull.shows(&["node-a"]).await;
    until("the pull to reach the engine", || async {
        let seen = mesh.engine(0).requests();
        holds(seen.iter().any(|seen| seen.path == "/api/pull"), format!("{} requests", seen.len()))
    })
    .await;
    pull.press("\x03");
    assert_eq!(pull.exit().await.exit_code(), 130);
}
