//! `echo-mesh status`.

use echo_testing::mesh::{Mesh, holds, soon, until};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::hostile;
use crate::terminal::{Terminal, command, run};

fn url(mesh: &Mesh) -> String {
    format!("http://{}", mesh.edge(0).address())
}

#[tokio::test]
async fn it_shows_the_nodes_and_what_runs_and_ends_well_while_one_can_work() {
    let mesh = Mesh::start().slots(2).await;
    let url = url(&mesh);
    let mut stream = mesh.ask("[tokens=5000] [delay=20]");
    let worker = stream.node().await;
    let shown = until("a running task", || async {
        let shown = run(&["status", "--edge", &url]).await;
        holds(shown.out.contains("1 task running, 0 waiting."), &shown.out).map(|()| shown)
    })
    .await;
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""), "{}", shown.out);
    let lines: Vec<&str> = shown.out.lines().collect();
    assert!(lines[0].starts_with("NODE ") && lines[0].ends_with("HEARD"), "{}", shown.out);
    for node in ["node-a", "node-b"] {
        let line = lines.iter().find(|line| line.starts_with(node)).unwrap();
        let state = if node == worker { "answering     1/2" } else { "ready         0/2" };
        assert!(line.contains(state) && line.contains("scripted") && line.contains(" ago"), "{line}");
    }
}

#[tokio::test]
async fn json_is_the_edges_own_and_a_mesh_that_cannot_work_ends_with_1() {
    let mesh = Mesh::start().nodes(1).await;
    let url = url(&mesh);
    let shown = run(&["status", "--json", "--edge", &url]).await;
    let json: Value = serde_json::from_str(&shown.out).unwrap();
    let own = mesh.status().await;
    assert_eq!((shown.code, &json["nodes"][0]["boot"]), (Some(0), &own["nodes"][0]["boot"]), "{json}");
    assert!(json["edge"]["id"].is_string() && json.get("here").is_some(), "{json}");

    let ordered = mesh.client().call("POST", "/nodes/node-a/drain").send().await.unwrap();
    assert_eq!(ordered.status(), 200);
    mesh.node_is("node-a", "draining").await;
    let shown = run(&["status", "--edge", &url]).await;
    assert_eq!(shown.code, Some(1), "{}", shown.out);
    assert!(shown.out.contains("drained") && shown.out.contains("No node takes work now."), "{}", shown.out);
    assert_eq!(run(&["status", "--json", "--edge", &url]).await.code, Some(1));
}

#[tokio::test]
async fn without_a_mesh_it_says_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let shown = run(&["status", "--edge", &url]).await;
    assert_eq!((shown.code, shown.out.as_str()), (Some(1), ""));
    assert!(shown.err.contains(&free.to_string()) && shown.err.contains("`echo-mesh up`"), "{}", shown.err);
    let shown = run(&["status", "--json", "--edge", &url]).await;
    let json: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((shown.code, &json["code"]), (Some(1), &Value::from("no_edge")), "{json}");
}

#[tokio::test]
async fn without_an_orchestrator_it_says_so() {
    let mesh = Mesh::start().nodes(1).await;
    mesh.orchestrator(0).kill().await;
    let shown = run(&["status", "--edge", &url(&mesh)]).await;
    assert_eq!(shown.code, Some(1));
    assert!(shown.out.contains("no orchestrator answers") && shown.out.contains("doctor"), "{}", shown.out);
}

#[tokio::test]
async fn watched_on_a_terminal_it_changes_by_itself_and_gives_the_screen_back() {
    let mesh = Mesh::start().await;
    let mut terminal = Terminal::start((40, 12), &["status", "--watch", "--edge", &url(&mesh)], &[]);
    let screen = terminal.shows(&["node-a  ready", "node-b  ready"]).await;
    assert!(!screen.contains("ENGINE"), "a narrow terminal leaves out what matters less:\n{screen}");
    assert!(terminal.is_drawn_on() && !terminal.takes_lines());
    let ordered = mesh.client().call("POST", "/nodes/node-a/drain").send().await.unwrap();
    assert_eq!(ordered.status(), 200);
    terminal.shows(&["node-a  drained", "drained by its owner"]).await;
    terminal.resize((100, 20));
    terminal.shows(&["ENGINE", "MEMORY"]).await;
    terminal.press("q");
    assert_eq!(terminal.exit().await.exit_code(), 0);
    assert!(!terminal.is_drawn_on() && terminal.takes_lines());
}

#[tokio::test]
async fn watched_without_a_terminal_it_prints_a_block_or_a_line_of_json_each_second() {
    let mesh = Mesh::start().nodes(1).await;
    let url = url(&mesh);
    for args in
        [vec!["status", "--watch", "--edge", &url], vec!["status", "--watch", "--json", "--edge", &url]]
    {
        let mut child = command(&args).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while seen < 2 {
            let line = soon("a line", lines.next_line()).await.unwrap().unwrap();
            assert!(!line.contains('\x1b'), "{line:?}");
            seen += usize::from(line.contains("node-a"));
        }
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        #[allow(unsafe_code)]
        // Safe: no memory is involved.
        unsafe {
            libc::kill(pid, libc::SIGTERM);
        }
        assert_eq!(soon("its end", child.wait()).await.unwrap().code(), Some(0));
    }
}

#[tokio::test]
async fn on_a_terminal_no_line_is_longer_than_it_is_wide() {
    let mesh = Mesh::start().await;
    for columns in [30, 60, 100] {
        let mut terminal = Terminal::start((columns, 20), &["status", "--edge", &url(&mesh)], &[]);
        assert_eq!(terminal.exit().await.exit_code(), 0);
        let screen = terminal.shows(&["node-a", "node-b"]).await;
        assert!(!terminal.wraps(), "{columns}:\n{screen}");
    }
}

#[tokio::test]
async fn a_hostile_node_reaches_no_terminal() {
    let mesh = Mesh::start().nodes(1).await;
    let url = url(&mesh);
    let _evil = hostile::node(&mesh).await;
    let shown = until("the hostile node", || async {
        let shown = run(&["status", "--edge", &url]).await;
        holds(shown.out.contains("evil"), &shown.out).map(|()| shown)
    })
    .await;
    assert!(shown.out.contains("reason\u{fffd}[2J") && shown.out.contains("end"), "{}", shown.out);
    hostile::assert_harmless(&shown.out, &[]);
    let shown = run(&["status", "--json", "--edge", &url]).await;
    hostile::assert_harmless(&shown.out, &[]);
    let json: Value = serde_json::from_str(&shown.out).unwrap();
    let nodes = json["nodes"].as_array().unwrap();
    let evil = nodes.iter().find(|node| node["node_id"] == "evil").unwrap();
    assert!(evil["reason"].as_str().unwrap().contains(&hostile::ORDERS.concat()), "JSON says what was said");
}
