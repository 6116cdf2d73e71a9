//! `echo-mesh top`, in a terminal.

use echo_testing::mesh::{Mesh, holds, soon, until};

use crate::hostile;
use crate::terminal::{Terminal, run};

fn top(mesh: &Mesh, size: (u16, u16), env: &[(&str, &str)]) -> Terminal {
    Terminal::start(size, &["top", "--edge", &format!("http://{}", mesh.edge(0).address())], env)
}

#[tokio::test]
async fn it_shows_both_nodes_and_a_running_task_with_its_node_and_why_and_q_gives_the_screen_back() {
    let mesh = Mesh::start().await;
    let mut terminal = top(&mesh, (110, 30), &[]);
    terminal.shows(&["NODES (2)", "node-a  ready", "node-b  ready", "TASKS (0)"]).await;
    assert!(terminal.is_drawn_on() && !terminal.takes_lines());
    let mut stream = mesh.ask("[tokens=5000] [delay=20]");
    let node = stream.node().await;
    let other = if node == "node-a" { "node-b" } else { "node-a" };
    terminal.press("\t");
    let busy = format!("{node}  busy   ██████ 1/1");
    let runs = format!("running  {node}");
    let screen = terminal
        .shows(&["1 task running, 0 waiting", &busy, &runs, &format!("on {node}, attempt 1"), "why: ", other])
        .await;
    assert!(screen.contains(&format!("not {other}")), "why it is not on the other node:\n{screen}");
    // Tokens and their speed come with the heartbeats.
    until("tokens and a speed", || async {
        let screen = terminal.screen();
        let row = screen.lines().find(|line| line.contains(&runs)).unwrap_or_default().to_owned();
        let figures = row.split_whitespace().skip(4).take(2);
        let figures: Vec<f64> = figures.filter_map(|figure| figure.parse().ok()).collect();
        holds(
            matches!(figures[..], [tokens, speed] if tokens > 20.0 && speed > 5.0),
            format!("{figures:?}\n{screen}"),
        )
    })
    .await;
    terminal.press("q");
    assert!(terminal.exit().await.success());
    assert!(!terminal.is_drawn_on() && terminal.takes_lines());
}

#[tokio::test]
async fn keys_drain_a_node_and_resume_it() {
    let mesh = Mesh::start().await;
    let mut terminal = top(&mesh, (80, 24), &[]);
    terminal.shows(&["node-a  ready", "node-b  ready"]).await;
    terminal.press("jd");
    terminal.shows(&["node-b  drained", "node-b takes nothing new"]).await;
    mesh.node_is("node-b", "draining").await;
    terminal.press("r");
    terminal.shows(&["node-b  ready"]).await;
    mesh.node_is("node-b", "idle").await;
}

#[tokio::test]
async fn a_key_cancels_a_task_down_to_the_engine_and_only_after_a_yes() {
    let mesh = Mesh::start().nodes(1).await;
    let mut terminal = top(&mesh, (80, 24), &[]);
    terminal.shows(&["node-a  ready"]).await;
    let mut stream = mesh.ask("[tokens=100000] [delay=20]");
    stream.node().await;
    let waits = tokio::spawn(mesh.ask("[tokens=3] [delay=10]").rest());
    terminal.shows(&["1 task running, 1 waiting", "running", "waiting"]).await;
    terminal.press("\tcn");
    terminal.press("c");
    terminal.shows(&["Cancel task ", "? y/n"]).await;
    assert_eq!(mesh.engine(0).counters().cancelled, 0);
    terminal.press("y");
    terminal.shows(&["The task is cancelled"]).await;
    until("the engine to stop", || async {
        let counters = mesh.engine(0).counters();
        holds(counters.cancelled == 1, format!("{counters:?}"))
    })
    .await;
    soon("the other task", waits).await.unwrap().assert_every_token_once(3);
    mesh.is_quiet().await;
    terminal.shows(&["TASKS (0)"]).await;
}

#[tokio::test]
async fn a_smaller_window_shows_one_list_and_a_larger_one_both_again() {
    let mesh = Mesh::start().await;
    let mut terminal = top(&mesh, (80, 24), &[]);
    terminal.shows(&["NODES (2)", "TASKS (0)", "q quit"]).await;
    terminal.resize((40, 12));
    until("one list", || async {
        let screen = terminal.screen();
        let is_small =
            screen.contains("node-b  ready") && screen.contains("q quit") && !screen.contains("TASKS");
        holds(is_small && !terminal.wraps(), screen)
    })
    .await;
    terminal.press("?");
    terminal.shows(&["cancel the task", "Any key goes back."]).await;
    terminal.press("x");
    terminal.resize((100, 30));
    terminal.shows(&["NODES (2)", "TASKS (0)"]).await;
}

#[tokio::test]
async fn it_says_what_is_old_and_comes_back_with_the_edge() {
    let mesh = Mesh::start().nodes(1).await;
    let terminal = top(&mesh, (80, 24), &[]);
    terminal.shows(&["node-a  ready"]).await;
    mesh.edge(0).kill().await;
    terminal.shows(&["OLD: this is from ", "trying again: no mesh answers", "node-a  ready"]).await;
    mesh.edge(0).start().await;
    until("the news", || async {
        let screen = terminal.screen();
        holds(!screen.contains("OLD") && screen.contains("node-a  ready"), screen)
    })
    .await;
}

#[tokio::test]
async fn a_killed_node_is_shown_as_silent_and_its_task_on_the_other_node() {
    let mesh = Mesh::start().await;
    let mut terminal = top(&mesh, (110, 30), &[]);
    terminal.shows(&["node-a  ready", "node-b  ready"]).await;
    let mut stream = mesh.ask("[tokens=5000] [delay=20]");
    let first = stream.node().await;
    let other = if first == "node-a" { "node-b" } else { "node-a" };
    let _rest = tokio::spawn(stream.rest());
    terminal.shows(&[&format!("running  {first}")]).await;
    mesh.node(&first).kill().await;
    terminal.press(if first == "node-b" { "j" } else { "k" });
    terminal.shows(&[&format!("{first}  silent"), "not heard of for ", &format!("running  {other}")]).await;
    terminal.press("\t");
    terminal.shows(&["attempt 2", &format!("why: was on {first}")]).await;
}

#[tokio::test]
async fn signals_give_the_screen_back() {
    let mesh = Mesh::start().nodes(1).await;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut terminal = top(&mesh, (80, 24), &[]);
        terminal.shows(&["node-a  ready"]).await;
        terminal.signal(signal);
        assert!(terminal.exit().await.success());
        assert!(!terminal.is_drawn_on() && terminal.takes_lines());
    }
    let mut terminal = top(&mesh, (80, 24), &[]);
    terminal.shows(&["node-a  ready"]).await;
    terminal.press("\x03");
    assert!(terminal.exit().await.success());
    assert!(!terminal.is_drawn_on() && terminal.takes_lines());
}

#[tokio::test]
async fn there_are_colours_and_none_with_no_color() {
    let mesh = Mesh::start().nodes(1).await;
    let ordered = mesh.client().call("POST", "/nodes/node-a/drain").send().await.unwrap();
    assert_eq!(ordered.status(), 200);
    for (env, has_colour) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let terminal = top(&mesh, (80, 24), env);
        terminal.shows(&["node-a  drained"]).await;
        assert_eq!(terminal.has_colour(), has_colour);
    }
}

#[tokio::test]
async fn without_a_terminal_it_names_what_to_use() {
    let said = run(&["top"]).await;
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    assert!(said.err.contains("`echo-mesh status --watch`"), "{}", said.err);
}

#[tokio::test]
async fn a_hostile_node_takes_over_no_screen() {
    let mesh = Mesh::start().nodes(1).await;
    let _evil = hostile::node(&mesh).await;
    let mut terminal = top(&mesh, (120, 30), &[]);
    // The screen that is read here leaves out what stands for what was taken out.
    terminal.shows(&["evil    unavailable", "node-a  ready", "reason[2J"]).await;
    assert!(terminal.raw().contains("reason\u{fffd}[2J"));
    // `top` itself clears the screen and moves the cursor.
    hostile::assert_harmless(&terminal.raw(), &["\x1b[2J", "\x1b[1;1H", "\r\n"]);
    terminal.press("q");
    assert!(terminal.exit().await.success());
}
