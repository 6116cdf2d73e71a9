//! Connections that never ask, never end or are too many: each has its time, and who comes too late is told so.

use std::time::{Duration, Instant};

use echo_testing::{
    client::{Half, last_words},
    mesh::{Mesh, holds},
};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The parts of an HTTP/1.1 reply that was read to its end.
fn reply(words: &[u8]) -> (u16, String, Value) {
    let text = String::from_utf8_lossy(words);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply in {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn each_part_of_a_request_has_its_own_time() {
    let limits =
        ["--head-timeout", "1s", "--body-timeout", "2s", "--idle-timeout", "4s", "--client-timeout", "7s"];
    let mesh = Mesh::start().nodes(1).edge_args(limits).await;
    let address = mesh.edge(0).address();
    let ends = join_all(Half::ALL.iter().map(async |half| {
        let stream = half.say(address).await.expect("a connection");
        let began = Instant::now();
        let words = last_words(stream).await;
        (*half, began.elapsed(), words)
    }));
    for (half, took, words) in ends.await {
        let seconds = match half {
            Half::Head | Half::Http2Head => 1,
            Half::Body => 2,
            // Its 408 ends a stream; the connection may be used for others.
            Half::Http2Body => 6,
            Half::Http2Unread => 7,
            Half::Silent | Half::Idle | Half::Http2Idle => 4,
        };
        // The edge began to count a little earlier than the client.
        let limit = Duration::from_secs(seconds).saturating_sub(Duration::from_millis(200));
        assert!((limit..limit + Duration::from_secs(3)).contains(&took), "{half:?}: {took:?}");
        match half {
            Half::Head => {
                let (status, _, body) = reply(&words);
                assert_eq!((status, &body["code"]), (408, &json!("request_timeout")));
            }
            Half::Body => {
                let (status, head, body) = reply(&words);
                assert_eq!(status, 408, "{head}");
                assert!(body["error"].as_str().is_some_and(|text| text.contains("body")), "Ollama's: {body}");
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_body_that_comes_in_parts_is_taken_and_a_stream_may_be_as_slow_as_it_likes() {
    let limits = ["--head-timeout", "500ms", "--body-timeout", "2500ms", "--idle-timeout", "500ms"];
    let mesh = Mesh::start().nodes(1).edge_args(limits).await;
    let body = json!({"prompt": "[tokens=3] [first=1500] [delay=1500]"}).to_string();
    let mut stream = TcpStream::connect(mesh.edge(0).address()).await.expect("a connection");
    let head = format!(
        "POST /task/stream HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("it is taken");
    for part in body.as_bytes().chunks(8) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stream.write_all(part).await.expect("it is taken");
    }
    let answer = String::from_utf8(last_words(stream).await).expect("UTF-8");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""token":"t2 ""#), "{answer}");
    assert!(answer.contains(r#""success":true"#), "{answer}");
}

#[tokio::test]
async fn a_body_that_drips_for_ever_is_ended_and_a_large_one_has_the_longer_time() {
    let mesh = Mesh::start().nodes(1).edge_args(["--body-timeout", "1s"]).await;
    let address = mesh.edge(0).address();
    let prompt = format!("{} [tokens=2]", "x".repeat(60_000));
    let body = json!({ "prompt": prompt }).to_string();
    // Four times as fast as the slowest that is taken, and one byte in each pause.
    for (part, good) in [(4 << 10, true), (1, false)] {
        let (mut reader, mut writer) = TcpStream::connect(address).await.expect("a connection").into_split();
        let head = format!(
            "POST /task HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let began = Instant::now();
        let drips = async {
            writer.write_all(head.as_bytes()).await?;
            for part in body.as_bytes().chunks(part) {
                tokio::time::sleep(Duration::from_millis(250)).await;
                writer.write_all(part).await?;
            }
            std::io::Result::Ok(())
        };
        let mut answer = Vec::new();
        let reads = async { reader.read_to_end(&mut answer).await.map(|_| began.elapsed()) };
        // Who is answered before the end of the body stops there.
        let (_, took) =
            tokio::join!(async { tokio::time::timeout(Duration::from_secs(8), drips).await }, reads);
        let (took, (status, head, told)) = (took.unwrap_or_default(), reply(&answer));
        if good {
            assert_eq!(status, 200, "{head} {told}");
            assert!(took > Duration::from_secs(3), "longer than a body may stand still: {took:?}");
        } else {
            assert_eq!((status, &told["code"]), (408, &json!("request_timeout")), "{head} {told}");
            assert!(told["error"].as_str().is_some_and(|text| text.contains("too slowly")), "{told}");
        }
    }
    let metrics = mesh.client().get("/metrics").send().await.expect("metrics").text().await;
    assert!(metrics.contains("\necho_connections_cut_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn beyond_the_limit_a_client_hears_503_in_its_own_dialect_and_when_to_come_back() {
    let mesh = Mesh::start().nodes(1).edge_args(["--connections", "20"]).await;
    let address = mesh.edge(0).address();
    let idle = join_all((0..20).map(|_| Half::Idle.say(address))).await;
    let asks = async |path: &str, body: usize| {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {body}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("it is taken");
        stream.write_all(&vec![b'x'; body]).await.expect("it is taken");
        reply(&last_words(stream).await)
    };
    for body in [0, 10, 500_000] {
        for (path, at) in
            [("/task", "/error"), ("/api/chat", "/error"), ("/v1/chat/completions", "/error/message")]
        {
            let (status, head, told) = asks(path, body).await;
            assert_eq!(status, 503, "{head}");
            assert!(head.contains("\r\nretry-after: 1") && head.contains("connection: close"), "{head}");
            let words = told.pointer(at).and_then(Value::as_str).unwrap_or_default();
            assert!(words.contains("too many connections"), "{path}: {told}");
        }
    }
    // Many who say nothing, or half of what they have to say, hold up nobody for long.
    let halves = [Half::Silent, Half::Head, Half::Body, Half::Http2Head, Half::Http2Body, Half::Http2Unread];
    let halves = halves.iter().flat_map(|half| std::iter::repeat_n(half, 100));
    let silent = join_all(halves.map(|half| half.say(address))).await;
    let began = Instant::now();
    assert_eq!(asks("/task", 10).await.0, 503);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    drop((idle, silent));
    mesh.until("a place to be free", || async {
        let reply = mesh.client().get("/metrics").send().await.map_err(|error| error.to_string())?;
        let (status, text) = (reply.status(), reply.text().await);
        holds(status == 200 && text.contains("\necho_connections 1\n"), text)
    })
    .await;
    mesh.ask("[tokens=2]").rest().await.assert_every_token_once(2);
}

#[tokio::test]
async fn a_connection_that_is_used_again_and_again_stays() {
    let mesh = Mesh::start().nodes(1).edge_args(["--idle-timeout", "1s", "--head-timeout", "1s"]).await;
    let mut stream = TcpStream::connect(mesh.edge(0).address()).await.expect("a connection");
    for _ in 0..6 {
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it is taken");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut rest = Vec::with_capacity(1024);
        stream.read_buf(&mut rest).await.expect("the rest of it");
        assert!(rest.ends_with(b"ok"), "{}", String::from_utf8_lossy(&rest));
    }
}
