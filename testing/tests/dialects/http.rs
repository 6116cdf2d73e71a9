//! What all routes share: the trail in the headers, the client's request id, h2c, CORS, no compression.

use echo_testing::{
    client::{Client, PREFACE, frame, request},
    mesh::Mesh,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::wire::{post, send};

/// Every route that runs a task, with a body for it.
fn routes() -> Vec<(&'static str, Value)> {
    let messages = json!([{"role": "user", "content": "[tokens=2]"}]);
    let mut routes = vec![
        ("/task", json!({"prompt": "[tokens=2]"})),
        ("/task/stream", json!({"prompt": "[tokens=2]"})),
        ("/api/show", json!({"model": "scripted"})),
    ];
    for stream in [true, false] {
        routes.push(("/v1/messages", json!({"model": "scripted", "messages": messages, "stream": stream})));
        routes
            .push(("/api/generate", json!({"model": "scripted", "prompt": "[tokens=2]", "stream": stream})));
        routes.push(("/api/chat", json!({"model": "scripted", "messages": messages, "stream": stream})));
        routes.push((
            "/v1/chat/completions",
            json!({"model": "scripted", "messages": messages, "stream": stream}),
        ));
        routes.push((
            "/v1/completions",
            json!({"model": "scripted", "prompt": "[tokens=2]", "stream": stream}),
        ));
    }
    routes
}

#[tokio::test]
async fn every_answer_says_where_it_was_made() {
    let mesh = Mesh::start().nodes(1).await;
    for (path, body) in routes() {
        let call = mesh
            .client()
            .post(path, &body)
            .header("x-request-id", "mine:1/2")
            .header("accept-encoding", "gzip, br");
        let reply = send(call).await;
        assert_eq!(reply.status(), 200, "{path}");
        assert_eq!(reply.header("x-echo-task-id").len(), 36, "{path}");
        assert_eq!(reply.header("x-echo-node"), "node-a", "{path} {body}");
        assert_eq!(reply.header("x-echo-model"), "scripted:latest", "{path}");
        assert_eq!(reply.header("x-echo-attempts"), "1", "{path}");
        assert!(reply.header("x-echo-queue-ms").parse::<u64>().is_ok(), "{path}");
        assert_eq!(reply.header("x-request-id"), "mine:1/2", "{path}");
        assert_eq!(reply.header("content-encoding"), "", "{path}");
        reply.text().await;
    }
}

#[tokio::test]
async fn a_failed_task_says_where_it_was_and_how_often() {
    let mesh = Mesh::start().edge_args(["--attempts", "2"]).await;
    let body = json!({"model": "scripted", "prompt": "[fault=fail]"});
    let reply = post(mesh.client(), "/api/generate", &body).await;
    assert_eq!((reply.status(), reply.header("x-echo-attempts")), (500, "2"));
    assert!(["node-a", "node-b"].contains(&reply.header("x-echo-node")));
}

#[tokio::test]
async fn an_odd_request_id_is_not_repeated() {
    let mesh = Mesh::start().nodes(0).await;
    for odd in ["a b", "<script>", &"x".repeat(200)] {
        let reply = send(mesh.client().get("/health").header("x-request-id", odd)).await;
        assert_eq!((reply.status(), reply.header("x-request-id")), (200, ""), "{odd}");
    }
    let reply = send(mesh.client().get("/nowhere").header("x-request-id", "ok")).await;
    assert_eq!((reply.status(), reply.header("x-request-id")), (404, "ok"), "errors too");
}

#[tokio::test]
async fn pages_of_this_machine_may_use_the_dialects_and_others_may_not() {
    let mesh = Mesh::start().nodes(1).await;
    for path in ["/api/chat", "/v1/chat/completions"] {
        let asks = |origin: &str| {
            let call = mesh.client().call("OPTIONS", path).header("origin", origin);
            let call = call.header("access-control-request-method", "POST");
            call.header("access-control-request-headers", "authorization,x-stainless-os")
        };
        let reply = send(asks("http://localhost:3000")).await;
        assert_eq!(
            (reply.status(), reply.header("access-control-allow-origin")),
            (204, "http://localhost:3000")
        );
        assert!(reply.header("access-control-allow-headers").contains("x-stainless-os"));
        let reply = send(asks("https://evil.example")).await;
        assert_eq!((reply.status(), reply.header("access-control-allow-origin")), (403, ""));
        assert!(reply.json().await["error"].is_string() || path.starts_with("/v1"), "in the dialect's shape");
    }
    let reply = send(mesh.client().get("/api/version").header("origin", "http://localhost")).await;
    assert!(reply.header("access-control-expose-headers").contains("x-echo-node"));
}

#[tokio::test]
async fn http_2_is_spoken_without_tls() {
    let mesh = Mesh::start().nodes(1).await;
    let body = json!({"model": "scripted", "prompt": "[tokens=40] [delay=2]"});
    let (status, data) = h2c(mesh.client(), mesh.edge(0).address(), "/api/generate", &body).await;
    assert_eq!(status, 0x88, "the indexed field of status 200");
    let text = String::from_utf8(data).expect("UTF-8");
    let said: String = text
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["response"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert_eq!(said, (0..40).map(|index| format!("t{index} ")).collect::<String>());
}

#[tokio::test]
async fn over_http_2_a_stream_may_be_slower_than_every_limit_of_its_connection() {
    let limits = ["--head-timeout", "500ms", "--body-timeout", "500ms", "--idle-timeout", "500ms"];
    let mesh = Mesh::start().nodes(1).edge_args(limits).await;
    let body = json!({"model": "scripted", "prompt": "[tokens=3] [first=1500] [delay=1500]"});
    let (_, data) = h2c(mesh.client(), mesh.edge(0).address(), "/api/generate", &body).await;
    let text = String::from_utf8(data).expect("UTF-8");
    assert!(text.contains("t2 ") && text.contains(r#""done":true"#), "{text}");
}

/// One POST over HTTP/2 with prior knowledge, in its bytes: the first byte of the reply's header block, and its data.
async fn h2c(_: Client, to: std::net::SocketAddr, path: &str, body: &Value) -> (u8, Vec<u8>) {
    let mut stream = TcpStream::connect(to).await.expect("a connection");
    let mut sent = [PREFACE, &frame(1, 4, 1, &request(0x83, path))].concat();
    sent.extend(frame(0, 1, 1, body.to_string().as_bytes()));
    stream.write_all(&sent).await.expect("a request is taken");
    let (mut status, mut data) = (0, Vec::new());
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.expect("a whole frame");
        match (head[3], head[4]) {
            (0, _) => data.extend(&payload),
            (1, _) => status = payload[0],
            (4, 0) => stream.write_all(&frame(4, 1, 0, &[])).await.expect("settings are confirmed"),
            (3 | 7, _) => panic!("the stream was refused: {payload:?}"),
            _ => {}
        }
        if matches!(head[3], 0 | 1) && head[4] & 1 == 1 {
            return (status, data);
        }
    }
}
