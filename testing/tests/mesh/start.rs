//! Starts that go wrong: a sentence and an exit code, or patience where patience helps.

use std::time::Duration;

use echo_testing::{
    client::Client,
    mesh::{Broker, Program, until},
};

fn program(binary: &'static str, args: &[&str]) -> Program {
    Program::new(binary, binary, args.iter().map(|arg| (*arg).to_owned()).collect())
}

/// Ends with this code, having said a sentence that holds all the words, and no panic.
async fn ends(program: &Program, code: i32, words: &[&str]) {
    program.launch().await;
    let status = program.exit().await;
    let said = program.logs().since(1).join("\n");
    assert_eq!(status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn a_node_id_that_could_harm_is_refused_with_a_sentence() {
    for id in ["a.b", "*", ">", "", " ", "A", "-a", "a b", "é", &"x".repeat(64)] {
        let agent =
            program("agent", &["--node", id, "--nats", "nats://127.0.0.1:9", "--listen", "127.0.0.1:0"]);
        ends(&agent, 2, &["a-z"]).await;
    }
}

#[tokio::test]
async fn flags_that_are_wrong_exit_2_and_say_which() {
    for binary in ["agent", "orchestrator", "edge", "broker"] {
        ends(&program(binary, &["--nonsense"]), 2, &["--nonsense"]).await;
    }
    ends(&program("orchestrator", &["--nats", "not a url"]), 2, &["nats://"]).await;
    for binary in ["agent", "edge"] {
        // Not on the default port: a mesh may be running on this machine.
        let flags = ["--nats", "not a url", "--listen", "127.0.0.1:0"];
        ends(&program(binary, &flags), 2, &["nats://"]).await;
    }
    ends(&program("edge", &["--listen", "nowhere"]), 2, &["--listen"]).await;
    ends(&program("edge", &["--task-timeout", "soon"]), 2, &["--task-timeout"]).await;
    ends(&program("orchestrator", &["--queue-wait", "soon"]), 2, &["--queue-wait"]).await;
    ends(&program("agent", &["--engine", "abacus"]), 2, &["--engine"]).await;
    ends(&program("agent", &["--slots", "0"]), 2, &["--slots"]).await;
    ends(&program("broker", &["--nats-conf", "/nowhere/nats.conf"]), 2, &["/nowhere/nats.conf"]).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let broker = Broker::start().await;
    for binary in ["edge", "agent"] {
        let program = program(binary, &["--nats", &broker.url(), "--listen", &address]);
        program.launch().await;
        let status = program.exit().await;
        assert!(!status.success(), "{status}");
        assert!(program.logs().tail(5).contains(&address), "{}", program.logs().tail(5));
    }
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_waited_for_in_words_and_found_when_it_comes() {
    let broker = Broker::start().await;
    let url = broker.url();
    broker.kill().await;
    let programs = [
        program("orchestrator", &["--nats", &url]),
        program("edge", &["--nats", &url, "--listen", "127.0.0.1:0"]),
        program("agent", &["--nats", &url, "--listen", "127.0.0.1:0", "--node", "waits"]),
    ];
    for program in &programs {
        program.launch().await;
    }
    for program in &programs {
        let line = program.mentions("broker").await;
        assert!(line.contains(&url) && line.contains("--nats"), "{line}");
        assert!(program.runs(), "it waits");
        let lines = program.logs().all().len();
        assert!(lines < 40, "{lines} lines while nothing happens");
    }
    broker.start().await;
    for program in &programs {
        program.ready().await;
        assert!(!program.logs().all().iter().any(|line| line.starts_with("--- exited")), "it never crashed");
        let status = program.stop().await;
        assert!(status.success(), "{status}");
    }
}

#[tokio::test]
async fn an_edge_without_a_broker_says_so_and_keeps_nobody_waiting() {
    let broker = Broker::start().await;
    let url = broker.url();
    broker.kill().await;
    // A port that was free a moment ago: the edge tells its own only when it is ready.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let edge = program("edge", &["--nats", &url, "--listen", &free.to_string()]);
    edge.launch().await;
    edge.mentions("broker").await;
    let client = Client::new(free);
    for (method, path) in
        [("GET", "/health"), ("POST", "/task"), ("POST", "/api/chat"), ("POST", "/v1/messages")]
    {
        let reply = client.call(method, path).body("{}").send().await.expect("an answer");
        assert_eq!((reply.status(), reply.header("retry-after")), (503, "1"), "{path}");
        let said = reply.text().await;
        assert!(said.contains("broker"), "{path}: {said}");
    }
    broker.start().await;
    edge.ready().await;
    let reply = client.get("/health").send().await.expect("an answer");
    let said = reply.text().await;
    assert!(!said.contains("has not reached its broker"), "{said}");
    assert!(edge.stop().await.success());
}

#[tokio::test]
async fn who_waits_for_a_broker_still_hears_sigterm() {
    for binary in ["orchestrator", "edge", "agent"] {
        let mut args = vec!["--nats", "nats://127.0.0.1:9"];
        if binary != "orchestrator" {
            args.extend(["--listen", "127.0.0.1:0"]);
        }
        let program = program(binary, &args);
        program.launch().await;
        program.mentions("127.0.0.1:9").await;
        let status =
            tokio::time::timeout(Duration::from_secs(5), program.stop()).await.expect("a bounded end");
        assert!(status.success(), "{binary}: {status}");
    }
}

#[tokio::test]
async fn help_names_every_flag_with_its_variable() {
    for (binary, variables) in [
        (
            "broker",
            &["ECHO_NATS_CONF", "ECHO_NATS_LISTEN", "ECHO_NATS_SERVER", "ECHO_CACHE_DIR", "ECHO_TRUST"][..],
        ),
        ("orchestrator", &["ECHO_NATS_URL", "ECHO_NKEY", "ECHO_DEFAULT_MODEL"]),
        ("agent", &["ECHO_NODE_ID", "ECHO_ENGINE", "ECHO_ENGINE_URL", "ECHO_SLOTS", "ECHO_AGENT_LISTEN"]),
        ("edge", &["ECHO_EDGE_LISTEN", "ECHO_NATS_URL", "ECHO_NKEY"]),
    ] {
        ends(&program(binary, &["--help"]), 0, variables).await;
    }
}

#[tokio::test]
async fn an_agent_whose_engine_is_not_there_says_so_and_joins_when_it_comes() {
    let mesh = echo_testing::mesh::Mesh::start().nodes(1).await;
    let engine = mesh.engine(0);
    let url = engine.url();
    let node = mesh.node(0);
    node.stop().await;
    engine.stop().await;
    node.start().await;
    // Before the new agent's first heartbeat the node is unavailable for another reason.
    until("the node to name the engine that is not there", || async {
        let seen = mesh.seen("node-a").await;
        let names_it =
            seen["reason"].as_str().unwrap_or_default().contains(url.trim_start_matches("http://"));
        echo_testing::mesh::holds(seen["status"] == "unavailable" && names_it, seen)
    })
    .await;
    let (status, body) = mesh.task(&serde_json::json!({"prompt": "hello"})).await;
    assert_eq!(status, 503, "{body}");
    engine.restart().await.expect("the same port");
    mesh.node_is("node-a", "idle").await;
    until("a task to be answered", || async {
        let (status, body) = mesh.task(&serde_json::json!({"prompt": "[tokens=1]"})).await;
        echo_testing::mesh::holds(status == 200, body)
    })
    .await;
}
