//! Traces: one request through all parts of the mesh, as a receiver of OTLP sees it.

use std::time::{Duration, Instant};

use echo_testing::mesh::{Mesh, holds, until};
use futures::StreamExt;
use serde_json::json;
use tokio::net::TcpListener;

use super::otlp::{Receiver, Seen};

const CLIENT: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT_SPAN: &str = "00f067aa0ba902b7";

async fn mesh(url: &str, nodes: usize) -> Mesh {
    let otlp = ["--otlp", url];
    Mesh::start().nodes(nodes).agent_args(otlp).orchestrator_args(otlp).edge_args(otlp).await
}

/// The spans of the trace with this root, once there are as many; no part tells more than every few seconds.
async fn told(receiver: &Receiver, root: &str, count: usize) -> Vec<Seen> {
    until("the whole trace", || async {
        let spans = receiver.trace_of(root);
        let names: Vec<_> = spans.iter().map(|it| format!("{} {}", it.service, it.name)).collect();
        holds(spans.len() >= count, format!("{names:?}")).map(|()| spans)
    })
    .await
}

/// The one span of this name and attempt.
fn one<'a>(spans: &'a [Seen], name: &str, attempt: &str) -> &'a Seen {
    let found: Vec<_> =
        spans.iter().filter(|it| it.name == name && it.says("echo.attempt") == attempt).collect();
    assert_eq!(found.len(), 1, "{name} {attempt}: {spans:#?}");
    found[0]
}

#[tokio::test]
async fn a_trace_shows_the_node_that_died_and_the_one_that_went_on() {
    let receiver = Receiver::start().await;
    let mesh = mesh(receiver.url(), 2).await;
    let mut stream = mesh.ask("count [tokens=60] [delay=30]");
    stream.read_tokens(5).await;
    let first = stream.node().await;
    mesh.node(&*first).kill().await;
    let answer = stream.rest().await;
    answer.assert_every_token_once(60);
    let second = answer.last()["routed_to"].as_str().expect("a node").to_owned();
    // The node that was killed tells nothing: its two spans are missing, and what others know of them is not.
    let spans = told(&receiver, "POST /task/stream", 7).await;
    assert_eq!(spans.len(), 7, "{spans:#?}");
    let root = spans.iter().find(|it| it.name == "POST /task/stream").expect("a root");
    assert_eq!((root.service.as_str(), root.parent.len(), root.fails), ("echo-edge", 0, false));
    assert_eq!((root.says("http.route"), root.says("http.response.status_code")), ("/task/stream", "200"));

    let lost = one(&spans, "attempt", "1");
    assert_eq!((&lost.parent, lost.says("echo.node"), lost.fails), (&root.id, &*first, true));
    assert_eq!(lost.says("error.type"), "node_lost");
    assert_eq!(lost.events, ["first_token"]);
    let next = one(&spans, "attempt", "2");
    assert_eq!((&next.parent, next.says("echo.node"), next.fails), (&root.id, &*second, false));
    assert_eq!(next.links, std::slice::from_ref(&lost.id), "it goes on from the first");
    assert_eq!((next.says("echo.tokens"), next.events.as_slice()), ("60", &["first_token".to_owned()][..]));
    assert!(next.says("echo.continues.tokens").parse::<u64>().expect("a number") >= 5);
    assert!(lost.times.1 <= next.times.0 && root.times.0 <= lost.times.0 && next.times.1 <= root.times.1);

    for (attempt, node) in [(lost, &first), (next, &second)] {
        let place = one(&spans, "place", attempt.says("echo.attempt"));
        assert_eq!((place.service.as_str(), &place.parent), ("echo-orchestrator", &attempt.id));
        assert_eq!((place.says("echo.node"), place.fails), (node.as_str(), false));
        assert!(!place.says("echo.placement.reason").is_empty(), "{place:?}");
        assert!(place.events.contains(&"asked".to_owned()), "{place:?}");
        assert_eq!(place.says("echo.task"), answer.last()["task_id"].as_str().expect("an id"));
    }
    let run = one(&spans, "run", "2");
    assert_eq!((run.service.as_str(), &run.parent), ("echo-agent", &one(&spans, "place", "2").id));
    assert_eq!(run.says("echo.node"), second);
    let engine = spans.iter().find(|it| it.parent == run.id).expect("a request to the engine");
    assert_eq!((engine.name.as_str(), engine.kind), ("text_completion scripted:latest", 3));
    assert_eq!(
        (engine.says("gen_ai.operation.name"), engine.says("gen_ai.provider.name")),
        ("text_completion", "ollama")
    );
    assert_eq!(engine.says("gen_ai.request.model"), "scripted:latest");
    assert_eq!(engine.says("gen_ai.response.finish_reasons"), "stop");
    assert_eq!(engine.says("server.address"), "127.0.0.1");
    assert_eq!(engine.events, ["first_token"]);
    assert!(engine.says("gen_ai.server.time_to_first_token").parse::<f64>().expect("seconds") > 0.0);
    for count in ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"] {
        assert!(engine.says(count).parse::<u64>().expect("a count") > 0, "{engine:?}");
    }
}

#[tokio::test]
async fn a_request_joins_the_trace_of_its_client_and_no_span_holds_a_word_of_it() {
    let receiver = Receiver::start().await;
    let mesh = mesh(receiver.url(), 1).await;
    let body = json!({"model": "scripted", "stream": false, "messages": [{"role": "user", "content": "SECRET [tokens=3]"}]});
    let parent = |flags: &str| format!("00-{CLIENT}-{CLIENT_SPAN}-{flags}");
    // What the client does not record is not recorded here.
    for (path, flags) in [("/v1/chat/completions", "00"), ("/api/chat", "01")] {
        let call = mesh.client().post(path, &body).header("traceparent", &parent(flags));
        assert_eq!(call.send().await.expect("a reply").status(), 200);
    }
    // What is no trace context is no harm.
    let call = mesh
        .client()
        .post("/api/generate", &json!({"model": "scripted", "prompt": "SECRET", "stream": false}));
    assert_eq!(call.header("traceparent", &"f".repeat(55)).send().await.expect("a reply").status(), 200);
    let spans = told(&receiver, "POST /api/chat", 5).await;
    let names: Vec<_> = spans.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(spans.len(), 5, "{names:?}");
    let root = spans.iter().find(|it| it.name == "POST /api/chat").expect("a root");
    assert_eq!((hex(&root.trace), hex(&root.parent)), (CLIENT.to_owned(), CLIENT_SPAN.to_owned()));
    let other = told(&receiver, "POST /api/generate", 5).await;
    assert_ne!(hex(&other[0].trace), CLIENT);
    let all = receiver.spans();
    assert!(all.iter().all(|it| it.name != "POST /v1/chat/completions"), "unsampled: {all:#?}");
    let words = format!("{all:?}");
    assert!(!words.contains("SECRET") && !words.contains("tok0"), "{words}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn without_the_flag_nothing_is_told() {
    let receiver = Receiver::start().await;
    let mesh = Mesh::start().nodes(1).await;
    for program in mesh.programs() {
        program.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url());
        program.restart().await;
    }
    mesh.is_whole().await;
    let (status, answer) = mesh.task(&json!({ "prompt": "count [tokens=3]" })).await;
    assert_eq!(status, 200, "{answer}");
    // What is left would be told at the end.
    for program in [mesh.edge(0), mesh.orchestrator(0)] {
        program.stop().await;
    }
    assert!(receiver.spans().is_empty(), "{:?}", receiver.spans());
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_no_request_and_no_memory_and_does_not_hold_up_the_end() {
    let hole = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", hole.local_addr().expect("an address"));
    // It takes connections, and then nothing.
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = hole.accept().await {
            open.push(connection);
        }
    });
    let mesh = Mesh::start().nodes(1).slots(8).edge_args(["--otlp", &url]).await;
    let ask = |_| async {
        let body = json!({"model": "scripted", "prompt": "count [tokens=1]", "stream": false});
        let started = Instant::now();
        let reply = mesh.client().post("/api/generate", &body).send().await.expect("a reply");
        assert_eq!(reply.status(), 200);
        started.elapsed()
    };
    // Two spans each: the queue is full after a thousand.
    let ask_many = |count| futures::stream::iter(0..count).map(ask).buffer_unordered(8).collect::<Vec<_>>();
    ask_many(1_500).await;
    let before = mesh.edge(0).resident();
    let mut times = ask_many(1_500).await;
    let grown = mesh.edge(0).resident().saturating_sub(before);
    assert!(grown < 8 << 20, "grew by {grown} bytes");
    times.sort();
    assert!(times[times.len() / 2] < Duration::from_secs(1), "{:?}", times[times.len() / 2]);
    let started = Instant::now();
    assert!(mesh.edge(0).stop().await.success());
    assert!(started.elapsed() < Duration::from_secs(8), "took {:?} to stop", started.elapsed());
}
