//! What a viewer of the mesh sees, and what an operator does about it, by way of an edge.

use std::time::{Duration, Instant};

use echo_testing::{client::Reply, mesh::Mesh};
use serde_json::{Value, json};

/// A viewer that takes each change, as the page does.
struct Viewer {
    reply: Reply,
    text: String,
    seen: Value,
}

impl Viewer {
    async fn begin(mesh: &Mesh) -> Self {
        let reply = mesh.client().get("/mesh/watch").send().await.expect("an answer");
        assert_eq!((reply.status(), reply.header("content-type")), (200, "text/event-stream"));
        Self { reply, text: String::new(), seen: Value::Null }
    }

    /// Takes the next event; `false` at the end.
    async fn take(&mut self) -> bool {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line =
                    |name| event.lines().find_map(|line: &str| line.strip_prefix(name)).unwrap_or_default();
                let data: Value = serde_json::from_str(line("data: ")).expect("JSON");
                match line("event: ") {
                    "snapshot" => self.seen = data,
                    "change" => merge(&mut self.seen, &data),
                    other => assert_eq!(other, "alive"),
                }
                self.text = rest.to_owned();
                return true;
            }
            let Ok(Some(more)) = self.reply.chunk().await else { return false };
            self.text.push_str(std::str::from_utf8(&more).expect("UTF-8"));
        }
    }

    /// Takes events until something is seen.
    async fn sees(&mut self, what: &str, is_seen: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        while !is_seen(&self.seen) {
            assert!(began.elapsed() < Duration::from_secs(20), "{what} is not seen: {}", self.seen);
            assert!(self.take().await, "the stream has ended before {what}");
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else { return *target = patch.clone() };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().expect("an object");
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn tasks(seen: &Value) -> Vec<&Value> {
    seen["tasks"].as_object().into_iter().flat_map(|tasks| tasks.values()).collect()
}

#[tokio::test]
async fn a_viewer_sees_nodes_a_task_its_move_to_another_node_and_its_end_and_no_text() {
    let mesh = Mesh::start().nodes(2).await;
    let mut viewer = Viewer::begin(&mesh).await;
    viewer.sees("both nodes", |seen| seen["nodes"].as_object().is_some_and(|nodes| nodes.len() == 2)).await;
    let asked = mesh.ask("a-secret-prompt [tokens=120] [delay=20]");
    viewer
        .sees("a running task", |seen| tasks(seen).iter().any(|task| task["tokens"].as_u64() > Some(5)))
        .await;
    let node = tasks(&viewer.seen)[0]["node"].as_str().expect("a node").to_owned();
    mesh.node(node.as_str()).kill().await;
    viewer
        .sees("the task on the other node", |seen| {
            tasks(seen).iter().any(|task| task["state"] == "running" && task["node"] != node.as_str())
        })
        .await;
    let answered = asked.rest().await;
    answered.assert_answered();
    viewer.sees("its end", |seen| tasks(seen).iter().any(|task| task["state"] == "done")).await;
    viewer.sees("the silence of the killed node", |seen| seen["nodes"][&node]["status"] == "silent").await;
    let seen = viewer.seen.to_string();
    assert_eq!(tasks(&viewer.seen)[0]["attempt"], 2, "{seen}");
    let id = answered.events[0].json["task_id"].as_str().expect("an id").to_owned();
    for hidden in ["a-secret-prompt", "t5 ", &id] {
        assert!(!seen.contains(hidden), "{hidden} is shown: {seen}");
    }
}

#[tokio::test]
async fn a_task_that_is_shown_can_be_ended_by_the_name_under_which_it_is_shown() {
    let mesh = Mesh::start().nodes(1).await;
    let mut viewer = Viewer::begin(&mesh).await;
    let _asked = mesh.ask("[tokens=10000] [delay=20]");
    viewer.sees("a running task", |seen| tasks(seen).iter().any(|task| task["state"] == "running")).await;
    let shown =
        viewer.seen["tasks"].as_object().and_then(|tasks| tasks.keys().next()).expect("a task").clone();
    let reply =
        mesh.client().call("DELETE", &format!("/mesh/tasks/{shown}")).send().await.expect("an answer");
    assert_eq!(reply.status(), 200);
    viewer.sees("its end", |seen| tasks(seen).iter().any(|task| task["state"] == "cancelled")).await;
    mesh.is_quiet().await;
    let reply = mesh.client().call("DELETE", "/mesh/tasks/nobody").send().await.expect("an answer");
    assert_eq!(reply.status(), 404);
}

#[tokio::test]
async fn an_answer_that_is_kept_outlives_whoever_cancels_by_the_shown_name() {
    let mesh = Mesh::start().nodes(1).await;
    let mut viewer = Viewer::begin(&mesh).await;
    viewer.sees("the node", |seen| seen["nodes"]["node-a"].is_object()).await;
    let mut asked = mesh.stream(&json!({"prompt": "count [tokens=10000] [delay=20]", "keep": "10m"}));
    asked.read_tokens(3).await;
    let task = asked.hang_up().events[0].json["task_id"].as_str().expect("an id").to_owned();
    viewer.sees("the task", |seen| tasks(seen).iter().any(|task| task["state"] == "running")).await;
    let shown =
        viewer.seen["tasks"].as_object().and_then(|tasks| tasks.keys().next()).expect("a task").clone();
    let shown = format!("/mesh/tasks/{shown}");
    for status in [200, 404] {
        let reply = mesh.client().call("DELETE", &shown).send().await.expect("an answer");
        assert_eq!(reply.status(), status, "it ends once");
        viewer.sees("its end", |seen| tasks(seen).iter().any(|task| task["state"] == "cancelled")).await;
    }
    let kept = mesh.client().get(&format!("/task/{task}")).send().await.expect("an answer");
    let (status, kept) = (kept.status(), kept.json().await);
    assert!(
        status == 200 && kept["content"].as_str().is_some_and(|text| text.starts_with("t0 t1 t2 ")),
        "{kept}"
    );
}

#[tokio::test]
async fn a_response_in_the_background_is_cancelled_by_its_shown_name_too() {
    let mesh = Mesh::start().nodes(1).await;
    let mut viewer = Viewer::begin(&mesh).await;
    viewer.sees("the node", |seen| seen["nodes"]["node-a"].is_object()).await;
    let body = json!({"model": "scripted", "background": true, "input": "count [tokens=10000] [delay=20]"});
    let begun = mesh.client().post("/v1/responses", &body).send().await.expect("an answer").json().await;
    viewer.sees("its text", |seen| tasks(seen).iter().any(|task| task["tokens"].as_u64() > Some(3))).await;
    let shown =
        viewer.seen["tasks"].as_object().and_then(|tasks| tasks.keys().next()).expect("a task").clone();
    let reply =
        mesh.client().call("DELETE", &format!("/mesh/tasks/{shown}")).send().await.expect("an answer");
    assert_eq!(reply.status(), 200);
    viewer.sees("its end", |seen| tasks(seen).iter().any(|task| task["state"] == "cancelled")).await;
    let path = format!("/v1/responses/{}", begun["id"].as_str().expect("an id"));
    let kept = mesh.client().get(&path).send().await.expect("an answer").json().await;
    assert!(kept["status"] == "cancelled" && kept.to_string().contains("t0 t1 t2 "), "{kept}");
}

#[tokio::test]
async fn a_foreign_page_takes_no_viewers_place() {
    let mesh = Mesh::start().nodes(0).await;
    for (site, status) in [("cross-site", 403), ("same-origin", 200), ("none", 200)] {
        let call = mesh.client().get("/mesh/watch").header("sec-fetch-site", site);
        assert_eq!(call.send().await.expect("an answer").status(), status, "{site}");
    }
    let allowed = mesh.client().get("/mesh/watch").header("sec-fetch-site", "cross-site");
    let reply = allowed.header("origin", "http://localhost:3000").send().await.expect("an answer");
    assert_eq!(reply.status(), 200, "its origin may ask");
}

#[tokio::test]
async fn a_node_is_drained_and_resumed_by_way_of_an_edge() {
    let mesh = Mesh::start().nodes(2).await;
    let post = async |path: &str| {
        let reply = mesh.client().call("POST", path).send().await.expect("an answer");
        (reply.status(), reply.json().await)
    };
    let (status, said): (_, Value) = post("/nodes/node-a/drain").await;
    assert_eq!((status, said), (200, json!({"success": true, "node_id": "node-a", "draining": true})));
    mesh.node_is("node-a", "draining").await;
    for _ in 0..4 {
        let (_, answer) = mesh.task(&json!({"prompt": "[tokens=2]"})).await;
        assert_eq!(answer["routed_to"], "node-b");
    }
    assert_eq!(post("/nodes/node-a/resume").await.0, 200);
    mesh.node_is("node-a", "idle").await;
    assert_eq!(post("/nodes/nobody/drain").await.0, 404);
    assert_eq!(post("/nodes/No%20body/drain").await.0, 400);
    let foreign = mesh.client().call("POST", "/nodes/node-a/drain").header("origin", "https://evil.example");
    assert_eq!(foreign.send().await.expect("an answer").status(), 403);
    mesh.node_is("node-a", "idle").await;
}

#[tokio::test]
async fn viewers_keep_no_edge_from_leaving() {
    let mesh = Mesh::start().nodes(1).await;
    let mut viewer = Viewer::begin(&mesh).await;
    viewer.sees("the node", |seen| seen["nodes"]["node-a"].is_object()).await;
    let began = Instant::now();
    mesh.edge(0).stop().await;
    while viewer.take().await {}
    assert!(began.elapsed() < Duration::from_secs(5), "the edge took {:?} to leave", began.elapsed());
}

#[tokio::test]
async fn a_browser_gets_the_page_and_every_client_of_ollama_its_words() {
    let mesh = Mesh::start().nodes(0).await;
    let ask = async |method: &str, path: &str, accept: &str| {
        let call = mesh.client().call(method, path).header("accept", accept);
        call.send().await.expect("an answer")
    };
    for accept in ["*/*", "application/json", "text/plain"] {
        let words = ask("GET", "/", accept).await;
        assert_eq!(words.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!((words.status(), words.text().await.as_str()), (200, "Ollama is running"), "{accept}");
        let head = ask("HEAD", "/", accept).await;
        assert_eq!((head.status(), head.header("content-type")), (200, "text/plain; charset=utf-8"));
    }
    let page = ask("GET", "/", "text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert_eq!((page.status(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(page.header("vary"), "accept");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
    let page = page.text().await;
    for (_, rest) in page.match_indices("\"/page/").map(|(at, _)| page.split_at(at + 1)) {
        let path = rest.split('"').next().unwrap_or_default();
        assert_eq!(ask("GET", path, "*/*").await.status(), 200, "{path}");
    }
    assert_eq!(ask("GET", "/page/..%2fCargo.toml", "*/*").await.status(), 404);
}
