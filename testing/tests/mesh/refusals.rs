//! Every way to ask wrongly: the documented status, a sentence that says what to do, and the process stays up.

use echo_testing::{
    client::{Call, Client},
    mesh::{Mesh, holds},
};
use serde_json::{Value, json};

/// Sends it and checks the status, the shape of the error, and that its sentence holds all these words.
#[track_caller]
fn refused(status: u16, words: &[&str], got: (u16, Value)) {
    let (code, body) = got;
    assert_eq!(code, status, "{body}");
    assert_eq!(body["success"], false, "{body}");
    assert!(body["code"].as_str().is_some_and(|code| !code.is_empty()), "no code in {body}");
    let error = body["error"].as_str().unwrap_or_default();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
}

async fn sent(call: Call) -> (u16, Value) {
    let reply = call.send().await.expect("a reply");
    assert!(reply.header("content-type").starts_with("application/json"), "{}", reply.header("content-type"));
    (reply.status(), reply.json().await)
}

fn raw(client: Client, path: &str, body: impl Into<Vec<u8>>) -> Call {
    client.call("POST", path).header("content-type", "application/json").body(body.into())
}

#[tokio::test]
async fn a_malformed_request_is_told_what_is_wrong_with_it() {
    let mesh = Mesh::start().nodes(1).await;
    let client = mesh.client();
    for path in ["/task", "/task/stream"] {
        for (body, word) in [
            (r#"{"prompt": "hello""#, ""),
            ("hello", ""),
            ("", ""),
            ("[]", ""),
            (r#"["hello", null, null, null, null, null, null, null]"#, ""),
            (r#""hello""#, ""),
            ("{}", "prompt"),
            (r#"{"prompt": ""}"#, "prompt"),
            (r#"{"prompt": "  \n "}"#, "prompt"),
            (r#"{"prompt": 7}"#, "prompt"),
            (r#"{"prompt": null}"#, "prompt"),
            (r#"{"prompt": "a", "model_hint": 7}"#, "model_hint"),
            (r#"{"prompt": "a", "task_id": []}"#, "task_id"),
            (r#"{"prompt": "a", "options": "fast"}"#, "options"),
            (r#"{"prompt": "a", "options": {"temperature": "hot"}}"#, "temperature"),
        ] {
            let got = sent(raw(client, path, body)).await;
            assert_eq!(got.0, 400, "{path} {body}: {}", got.1);
            refused(400, &[word], got);
        }
        refused(400, &[], sent(raw(client, path, b"\xff\xfe{\"prompt\": \"a\"}".to_vec())).await);
    }
    mesh.ask("[tokens=2]").rest().await.assert_every_token_once(2);
    assert_eq!(mesh.engine(0).counters().started, 1, "nothing malformed reached the engine");
}

#[tokio::test]
async fn hostile_ids_are_refused_and_change_nothing() {
    let mesh = Mesh::start().nodes(1).await;
    let long = "x".repeat(10_000);
    for id in ["", "*", ">", "a b", "a\r\nb", "é", "a/b", "a\u{0}b", long.as_str(), &"x".repeat(129)] {
        let (status, body) = mesh.task(&json!({"prompt": "[tokens=1]", "task_id": id})).await;
        assert!(body.to_string().len() < 2_000, "a huge id makes a huge error");
        refused(400, &["task_id"], (status, body));
    }
    for id in [".", "..", "-", "a.*".replace('*', "b").as_str(), &"x".repeat(128)] {
        let (status, body) = mesh.task(&json!({"prompt": "[tokens=1]", "task_id": id})).await;
        assert_eq!((status, body["task_id"].as_str()), (200, Some(id)), "{body}");
    }
    for hint in ["*", ">", "echo.>", "a b", "../../etc/passwd", "a\r\nb", long.as_str()] {
        let (status, body) = mesh.task(&json!({"prompt": "[tokens=1]", "model_hint": hint})).await;
        assert!([400, 503].contains(&status), "{status} {body}");
        assert!(body.to_string().len() < 4_000, "a huge hint makes a huge error");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_told_so() {
    let mesh = Mesh::start().nodes(1).await;
    let client = mesh.client();
    for path in ["/tasks", "/task/stream/x", "/../etc/passwd", "/%00"] {
        let got = sent(client.get(path)).await;
        refused(404, &[], got);
    }
    for (method, path) in [
        ("GET", "/task"),
        ("PUT", "/task"),
        ("DELETE", "/task/stream"),
        ("POST", "/status"),
        ("GET", "//task/"),
    ] {
        let reply = client.call(method, path).send().await.expect("a reply");
        assert!(!reply.header("allow").is_empty(), "405 names what is allowed");
        refused(405, &[method], (reply.status(), reply.json().await));
    }
}

#[tokio::test]
async fn a_content_type_that_cannot_be_json_is_refused() {
    let mesh = Mesh::start().nodes(1).await;
    for kind in ["multipart/form-data; boundary=x", "image/png", "nonsense"] {
        let call = raw(mesh.client(), "/task", r#"{"prompt": "[tokens=1]"}"#).header("content-type", kind);
        refused(415, &["application/json"], sent(call).await);
    }
    assert_eq!(mesh.engine(0).counters().started, 0);
}

#[tokio::test]
async fn a_body_above_the_limit_gets_413_with_both_numbers() {
    let mesh = Mesh::start().nodes(1).await;
    let body = json!({"prompt": "x".repeat(9 << 20)}).to_string();
    let limit = (8 << 20) - (1 << 20);
    for path in ["/task", "/task/stream"] {
        let got = sent(raw(mesh.client(), path, body.clone())).await;
        refused(413, &[&body.len().to_string(), &limit.to_string()], got);
    }
    let fits = json!({"prompt": format!("[tokens=2] {}", "x".repeat(6 << 20))});
    mesh.stream(&fits).rest().await.assert_every_token_once(2);
}

#[tokio::test]
async fn strange_hosts_and_origins_are_refused() {
    let mesh = Mesh::start().nodes(1).await;
    let call = || mesh.client().post("/task", &json!({"prompt": "[tokens=1]"}));
    for host in ["evil.example", "evil.example:8080", "echo.evil.example"] {
        assert_eq!(call().header("host", host).send().await.expect("a reply").status(), 403, "{host}");
    }
    for host in ["localhost", "localhost:8080", "127.0.0.1", "[::1]:8080"] {
        assert_eq!(call().header("host", host).send().await.expect("a reply").status(), 200, "{host}");
    }
    for origin in ["https://evil.example", "null", "http://localhost.evil.example"] {
        let reply = call().header("origin", origin).send().await.expect("a reply");
        assert_eq!((reply.status(), reply.header("access-control-allow-origin")), (403, ""), "{origin}");
    }
    for origin in ["http://localhost:3000", "http://127.0.0.1", "https://localhost"] {
        let reply = call().header("origin", origin).send().await.expect("a reply");
        assert_eq!(reply.status(), 200, "{origin}");
        assert_eq!(reply.header("access-control-allow-origin"), origin);
    }
    assert_eq!(mesh.engine(0).counters().started, 7, "a refused request reaches no engine");
}

#[tokio::test]
async fn an_unknown_model_gets_503_with_what_is_served_and_the_line_that_works() {
    let mesh = Mesh::start().nodes(1).await;
    for path in ["/task", "/task/stream"] {
        let call = mesh.client().post(path, &json!({"prompt": "hello", "model_hint": "mistral"}));
        refused(503, &["mistral", "scripted:latest", "curl", "/task", "model_hint"], sent(call).await);
    }
    assert_eq!(mesh.engine(0).counters().started, 0);
}

#[tokio::test]
async fn the_line_that_an_unknown_model_is_told_really_works() {
    let mesh = Mesh::start().nodes(1).await;
    let (_, body) = mesh.task(&json!({"prompt": "hello", "model_hint": "mistral"})).await;
    let error = body["error"].as_str().expect("a sentence");
    let line = error.find("curl ").map(|at| &error[at..]).expect("a curl line");
    let output = tokio::process::Command::new("sh").args(["-c", line]).output().await.expect("sh");
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.contains("t0 ") && !answer.contains("\"success\":false"), "{line}\n{answer}");
}

#[tokio::test]
async fn a_mesh_without_nodes_says_so_at_once() {
    let mesh = Mesh::start().nodes(0).await;
    assert_eq!(mesh.status().await["node_count"], 0);
    refused(503, &["node"], mesh.task(&json!({"prompt": "hello"})).await);
    let stream = mesh.ask("hello").rest().await;
    assert_eq!(stream.status, 503, "{}", stream.summary());
}

#[tokio::test]
async fn a_full_queue_gets_429_and_a_retry_after_only_once_it_is_measured() {
    let mesh = Mesh::start().nodes(1).orchestrator_args(["--queue-limit", "1"]).await;
    let fill = async || {
        let mut running = mesh.ask("count [tokens=3000] [delay=10]");
        running.read_tokens(1).await;
        let mut waiting = mesh.ask("count [tokens=1]");
        waiting.comment("queued").await;
        (running, waiting)
    };
    let full = fill().await;
    let reply = mesh.client().post("/task", &json!({"prompt": "hello"})).send().await.expect("a reply");
    assert_eq!(reply.header("retry-after"), "", "nothing is measured yet, so nothing is promised");
    refused(429, &["wait"], (reply.status(), reply.json().await));
    assert_eq!(mesh.ask("hello").status().await, 429);
    drop(full);
    mesh.is_quiet().await;
    for _ in 0..8 {
        mesh.ask("count [tokens=4] [delay=10]").rest().await.assert_answered();
    }
    let _full = fill().await;
    let reply = mesh.client().post("/task", &json!({"prompt": "hello"})).send().await.expect("a reply");
    assert_eq!(reply.status(), 429);
    let seconds: u64 = reply.header("retry-after").parse().expect("whole seconds");
    assert!((1..=60).contains(&seconds), "{seconds} s after answers of 40 ms");
}

#[tokio::test]
async fn when_every_attempt_has_failed_the_answer_is_the_engines_with_the_reason() {
    let mesh = Mesh::start().edge_args(["--attempts", "1"]).await;
    refused(500, &["the engine failed (500)"], mesh.task(&json!({"prompt": "[fault=fail]"})).await);
    let stream = mesh.ask("[fault=error@0]").rest().await;
    // A stream that has begun says it in its last event.
    assert!(stream.status == 500 || stream.ends() == 1, "{}", stream.summary());
    assert!(stream.error().is_some() && stream.tokens().is_empty(), "{}", stream.summary());
    mesh.until("the nodes to recover by themselves", || async {
        let (status, answer) = mesh.task(&json!({"prompt": "[tokens=1]"})).await;
        holds(status == 200, answer)
    })
    .await;
}

#[tokio::test]
async fn a_task_that_takes_too_long_gets_504_and_frees_its_slot() {
    let mesh = Mesh::start().nodes(1).edge_args(["--task-timeout", "1s"]).await;
    refused(504, &[], mesh.task(&json!({"prompt": "count [tokens=3000] [delay=10]"})).await);
    mesh.is_quiet_within(std::time::Duration::from_secs(1)).await;
    let stream = mesh.ask("count [tokens=3000] [delay=10]").rest().await;
    assert_eq!((stream.status, stream.ends()), (200, 1), "{}", stream.summary());
    assert!(stream.error().is_some() && !stream.tokens().is_empty(), "{}", stream.summary());
    mesh.is_quiet_within(std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn without_an_orchestrator_a_task_waits_and_then_gets_503() {
    let mesh = Mesh::start().nodes(1).edge_args(["--orchestrator-wait", "1s"]).await;
    mesh.orchestrator(0).kill().await;
    refused(503, &["orchestrator"], mesh.task(&json!({"prompt": "hello"})).await);
    assert!(mesh.edge(0).runs());
}
