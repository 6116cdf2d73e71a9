//! What the parts export, and what is written about it: the table of docs/metrics.md, the dashboard and the alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use echo_testing::client::Client;
use echo_testing::mesh::{Mesh, Program, holds, until};
use serde_json::{Value, json};

use super::exposition::{self, Family};
use echo_testing::skip::machine_lacks;

type Families = BTreeMap<String, Family>;

async fn text_of(program: &Program) -> String {
    let reply = Client::new(program.address()).get("/metrics").send().await.expect("a reply");
    assert_eq!(
        (reply.status(), reply.header("content-type")),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    reply.text().await
}

async fn scrape(program: &Program) -> Families {
    let text = text_of(program).await;
    exposition::read(&text)
        .unwrap_or_else(|why| panic!("{} exports what nobody reads: {why}", program.name()))
}

/// A mesh after one of everything: an answer, a load, a refusal, a wait, an answer that went on, a cancel.
async fn used() -> Mesh {
    let mesh = Mesh::start()
        .script(|script| script.load_delay = Duration::from_millis(200))
        .orchestrator_args(["--listen", "127.0.0.1:0"])
        .await;
    for _ in 0..3 {
        let (status, answer) =
            mesh.task(&json!({"prompt": "count [tokens=20] [delay=30] [first=100]"})).await;
        assert_eq!(status, 200, "{answer}");
    }
    for n in 0..20 {
        let body = json!({"prompt": "x", "model": format!("made-up-{n}")});
        let reply = mesh.client().post("/api/generate", &body).send().await.expect("a reply");
        assert_eq!(reply.status(), 404);
    }
    let mut left = mesh.ask("count [tokens=3000] [delay=30]");
    left.read_tokens(2).await;
    left.hang_up();
    mesh.is_quiet().await;
    let mut stream = mesh.ask("count [tokens=60] [delay=30]");
    stream.read_tokens(5).await;
    let first = stream.node().await;
    mesh.node(&*first).kill().await;
    let answer = stream.rest().await;
    answer.assert_every_token_once(60);
    mesh
}

async fn all(mesh: &Mesh) -> [Families; 3] {
    let agent = mesh.nodes().iter().find(|node| node.runs()).expect("one is alive");
    // Gauges of the orchestrator, and what a node says of itself, come with time.
    until("the orchestrator to have lost a node", || async {
        let told = scrape(mesh.orchestrator(0)).await;
        let of = |name: &str| told[name].sum(&[]);
        let (left, here) = (of("echo_orchestrator_nodes_left_total"), of("echo_orchestrator_nodes"));
        holds((left, here) == (1.0, 1.0), format!("{left} left, {here} are here"))
    })
    .await;
    [scrape(mesh.edge(0)).await, scrape(mesh.orchestrator(0)).await, scrape(agent).await]
}

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Type and labels by name, as the tables below these headings say.
fn documented(heads: [&str; 2]) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let (text, mut inside, mut rows) = (file("metrics.md"), false, BTreeMap::new());
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("## ") {
            inside = heads.contains(&head);
        }
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        if let (true, [name, kind, labels, meaning]) = (inside && line.starts_with("| `"), cells.as_slice()) {
            assert!(!meaning.is_empty(), "{name} without a meaning");
            let labels = labels.split(',').map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
            let before =
                rows.insert(name.trim_matches('`').to_owned(), ((*kind).to_owned(), labels.collect()));
            assert!(before.is_none(), "{name} stands there twice");
        }
    }
    rows
}

#[tokio::test]
async fn what_is_exported_is_what_the_documents_the_dashboard_and_the_alerts_say() {
    let mesh = used().await;
    let parts = all(&mesh).await;
    for (head, part) in ["Edge", "Orchestrator", "Agent"].into_iter().zip(&parts) {
        let told: BTreeMap<_, _> =
            part.iter().map(|(name, it)| (name.clone(), (it.kind.clone(), it.labels.clone()))).collect();
        assert_eq!(documented([head, "Every part"]), told, "{head}: the table, and what is exported");
    }
    let exported: Families = parts.into_iter().flatten().collect();
    let board: Value = serde_json::from_str(&file("grafana/echo.json")).expect("JSON");
    let panels = board["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let shown: Vec<_> = targets.map(|it| it["expr"].as_str().expect("an expression").to_owned()).collect();
    let alerts = file("prometheus/alerts.yml");
    let alerts: Vec<_> = alerts.lines().filter_map(|it| it.trim().strip_prefix("expr: ")).collect();
    assert!(shown.len() > 15 && alerts.len() > 5, "{} {}", shown.len(), alerts.len());
    for expression in shown.iter().map(String::as_str).chain(alerts) {
        asks_for_what_is_there(expression, &exported);
    }
}

/// All names of an expression are metrics, functions of PromQL, or labels that one of its metrics has.
fn asks_for_what_is_there(expression: &str, exported: &Families) {
    const WORDS: [&str; 16] = [
        "sum",
        "max",
        "by",
        "rate",
        "increase",
        "histogram_quantile",
        "le",
        "job",
        "instance",
        "up",
        "echo",
        "__rate_interval",
        "m",
        "e",
        "failed",
        "answered",
    ];
    let (mut labels, mut asked) = (BTreeSet::new(), BTreeSet::new());
    let names = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for name in names.filter(|it| it.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')) {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let family = match histogram.and_then(|base| exported.get(base)) {
            Some(family) if family.kind == "histogram" => Some(family),
            _ => exported.get(name).filter(|family| family.kind != "histogram"),
        };
        match family {
            Some(family) => labels.extend(&family.labels),
            None if !WORDS.contains(&name) => {
                asked.insert(name.to_owned());
            }
            None => {}
        }
    }
    // Values in quotes are words of the parts.
    let quoted: BTreeSet<_> = expression.split('"').skip(1).step_by(2).flat_map(|it| it.split('|')).collect();
    let strange =
        asked.iter().filter(|it| !labels.contains(it) && !quoted.iter().any(|q| q.starts_with(&***it)));
    assert_eq!(strange.collect::<Vec<_>>(), Vec::<&String>::new(), "{expression}");
}

#[tokio::test]
async fn a_client_makes_no_labels_and_what_happened_is_counted_where_it_did() {
    let mesh = used().await;
    let [edge, orchestrator, agent] = all(&mesh).await;
    let tasks = &edge["echo_tasks_total"];
    let ended = |outcome| tasks.sum(&[("outcome", outcome)]);
    assert_eq!((ended("answered"), ended("failed"), ended("cancelled")), (4.0, 20.0, 1.0));
    assert_eq!(tasks.sum(&[("model", "scripted:latest")]), 4.0, "{tasks:?}");
    let models: BTreeSet<_> = tasks.samples.iter().map(|it| it.labels["model"].as_str()).collect();
    assert_eq!(models, BTreeSet::from(["", "scripted:latest"]));
    assert_eq!(edge["echo_task_failures_total"].sum(&[("code", "model_not_served")]), 20.0);
    assert_eq!(edge["echo_continuations_total"].sum(&[]), 1.0);
    assert_eq!(edge["echo_continuation_gap_seconds"].sum(&[]), 1.0);
    assert_eq!(edge["echo_tokens_total"].sum(&[]), 120.0);
    assert!(edge["process_resident_memory_bytes"].sum(&[]) > 1e6);
    assert_eq!(edge["echo_first_token_seconds"].sum(&[("model", "scripted:latest")]), 4.0);
    // The one that was cancelled, the three, and two attempts of the one that went on.
    assert_eq!(orchestrator["echo_orchestrator_placed_total"].sum(&[]), 6.0);
    assert_eq!(orchestrator["echo_orchestrator_queued_tasks"].sum(&[]), 0.0);
    assert_eq!(orchestrator["echo_orchestrator_nodes"].sum(&[]), 1.0);
    assert!(agent["echo_agent_tasks_total"].sum(&[("outcome", "done"), ("model", "scripted:latest")]) >= 1.0);
    assert_eq!(agent["echo_agent_engine_up"].sum(&[]), 1.0);
}

#[tokio::test]
async fn promtool_takes_all_of_it_where_it_is_there() {
    if Command::new("promtool").arg("--version").output().is_err() {
        return machine_lacks("promtool: /metrics is read by the test's own strict reader only");
    }
    let mesh = used().await;
    all(&mesh).await;
    for program in mesh.programs().filter(|it| it.runs() && !it.name().starts_with("broker")) {
        let text = text_of(program).await;
        let mut check = Command::new("promtool");
        let mut child = check
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), text.as_bytes())
            .expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {words}", program.name());
    }
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/prometheus/alerts.yml");
    let checked = Command::new("promtool").args(["check", "rules"]).arg(rules).output().expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[tokio::test]
async fn what_a_client_names_to_be_pulled_is_no_label() {
    let mesh = Mesh::start().nodes(1).agent_args(["--allow-model-management"]).await;
    let body = json!({"model": "evil-name", "stream": false});
    mesh.client().post("/api/pull", &body).send().await.expect("a reply").text().await;
    mesh.is_quiet().await;
    let ended = |families: &Families, name: &str| families.get(name).map_or(0.0, |it| it.sum(&[]));
    mesh.until("the pull to be counted", || async {
        let (edge, agent) = (scrape(mesh.edge(0)).await, scrape(mesh.node(0)).await);
        let counts = (ended(&edge, "echo_tasks_total"), ended(&agent, "echo_agent_tasks_total"));
        holds(counts.0 >= 1.0 && counts.1 >= 1.0, format!("{counts:?}"))
    })
    .await;
    for program in [mesh.edge(0), mesh.node(0)] {
        let text = text_of(program).await;
        assert!(!text.contains("evil-name"), "{text}");
    }
}
