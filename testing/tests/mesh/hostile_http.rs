//! Bytes that no honest client sends: each has its answer or its end in time, costs no memory, and harms nobody else.

use std::time::Duration;

use echo_testing::{
    client::{PREFACE, frame, last_words, request},
    mesh::{Lan, Mesh, Program, binaries, holds},
    skip::machine_lacks,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// From the last hostile byte to the answer, on a machine that has other things to do.
const WITHIN: Duration = Duration::from_secs(10);

/// What must come of it.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// The first answer has one of these, and the connection ends.
    Status(&'static [u16]),
    /// The connection ends.
    Ends,
}

use Wanted::{Ends, Status};

fn head(request: &str, headers: &str) -> Vec<u8> {
    format!("{request}\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n").into_bytes()
}

fn get(headers: &str) -> Vec<u8> {
    head("GET /health HTTP/1.1", headers)
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    let mut post = head("POST /task HTTP/1.1", headers);
    post.extend(body.as_bytes());
    post
}

/// Over HTTP/1.1: where requests end, and what a head may hold.
fn first_version() -> Vec<(&'static str, Vec<u8>, Wanted)> {
    let many: String = (0..120).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = "x".repeat(70_000);
    let nothing = "0\r\n\r\n";
    vec![
        ("120 headers", get(&many), Status(&[431])),
        ("a header of 70 kB", get(&format!("x: {long}\r\n")), Status(&[431])),
        ("a head without an end", get(&"x: 1\r\n".repeat(90_000)), Status(&[431])),
        ("a path of 70 kB", head(&format!("GET /{long} HTTP/1.1"), ""), Status(&[414, 431])),
        ("a method of 70 kB", head(&format!("{long} / HTTP/1.1"), ""), Status(&[400, 431])),
        ("NUL in a header", get("x: a\0b\r\n"), Status(&[400])),
        ("a control byte in a header", get("x: a\x01b\r\n"), Status(&[400])),
        ("a carriage return in a header", get("x: a\rb: c\r\n"), Status(&[400])),
        ("a folded header", get("x: a\r\n b\r\n"), Status(&[400])),
        ("a space before the colon", get("x : a\r\n"), Status(&[400])),
        ("a header without a name", get(": a\r\n"), Status(&[400])),
        ("NUL in the path", head("GET /a\0b HTTP/1.1", ""), Status(&[400])),
        ("a path without a slash", head("GET health HTTP/1.1", ""), Status(&[400, 403])),
        ("a version of the future", head("GET / HTTP/9.1", ""), Status(&[400])),
        ("no version", b"GET /\r\n\r\n".to_vec(), Status(&[400])),
        ("two lengths", post("content-length: 2\r\ncontent-length: 3\r\n", "{}"), Status(&[400])),
        ("a negative length", post("content-length: -2\r\n", "{}"), Status(&[400])),
        ("a length with a sign", post("content-length: +2\r\n", "{}"), Status(&[400])),
        ("a length of 2^70", post("content-length: 1180591620717411303424\r\n", "{}"), Status(&[400])),
        (
            "a length of 2^64-1",
            post("content-length: 18446744073709551615\r\n", ""),
            Status(&[400, 413, 431]),
        ),
        ("another transfer coding", post("transfer-encoding: xchunked\r\n", nothing), Status(&[400])),
        ("chunked, then packed", post("transfer-encoding: chunked, gzip\r\n", nothing), Status(&[400])),
        ("chunks of no number", post("transfer-encoding: chunked\r\n", "zz\r\n{}\r\n"), Status(&[400])),
        (
            "a chunk of 2^72",
            post("transfer-encoding: chunked\r\n", "1000000000000000000\r\n{}"),
            Status(&[400]),
        ),
        ("a chunk that is longer", post("transfer-encoding: chunked\r\n", "1\r\n{}\r\n"), Status(&[400])),
        (
            "an endless extension",
            post("transfer-encoding: chunked\r\n", &format!("1;{long}")),
            Status(&[400]),
        ),
        (
            "endless trailers",
            post(
                "transfer-encoding: chunked\r\n",
                &format!("2\r\n{{}}\r\n0\r\n{}", "x: 1\r\n".repeat(9_000)),
            ),
            Status(&[400, 422]),
        ),
        ("chunks in HTTP/1.0", head("POST /task HTTP/1.0", "transfer-encoding: chunked\r\n"), Status(&[400])),
        ("a foreign host", head("GET http://evil.example/health HTTP/1.1", ""), Status(&[403])),
        ("a tunnel", head("CONNECT evil.example:443 HTTP/1.1", ""), Status(&[403, 404, 405])),
        ("a tunnel to here", head("CONNECT localhost:22 HTTP/1.1", ""), Status(&[404, 405])),
        ("an echo", head("TRACE /health HTTP/1.1", "x-secret: 1\r\n"), Status(&[405])),
        ("a star", head("OPTIONS * HTTP/1.1", ""), Status(&[404, 405])),
        ("a method of its own", head("BREW /health HTTP/1.1", ""), Status(&[405])),
        ("a long one", head(&format!("{} /health HTTP/1.1", "x".repeat(60_000)), ""), Status(&[405])),
        (
            "a web socket",
            get("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAA\r\n"),
            Status(&[200]),
        ),
        (
            "an upgrade to HTTP/2",
            get("connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMA\r\n"),
            Status(&[200]),
        ),
        ("an odd expectation", get("expect: a miracle\r\n"), Status(&[200, 417])),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), Status(&[400])),
        (
            "noise",
            (0..4_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
            Status(&[400]),
        ),
    ]
}

/// Over HTTP/2: frames that cost the server more than the client.
fn second_version() -> Vec<(&'static str, Vec<u8>, Wanted)> {
    let begun = |frames: Vec<Vec<u8>>| [PREFACE.to_vec(), frames.concat()].concat();
    let ids = |count: u32| (0..count).map(|number| 2 * number + 1);
    let asks = request(0x82, "/health");
    // A literal of 4,000 bytes that is kept, and then named again in one byte each time.
    let kept = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4_000]].concat();
    let bomb = [&request(0x82, "/health")[..], &kept, &[0xbe; 9_000]].concat();
    let block = "x".repeat(16_000).into_bytes();
    vec![
        ("no frame", begun(vec![vec![0xff; 99]]), Ends),
        ("a frame of 16 MiB", begun(vec![vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]]), Ends),
        ("a window that overflows", begun(vec![frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])]), Ends),
        ("a stream of the server's", begun(vec![frame(1, 5, 2, &asks)]), Ends),
        ("data without a request", begun(vec![frame(0, 1, 1, b"x")]), Ends),
        (
            "a head without an end",
            begun(
                std::iter::once(frame(1, 1, 1, &block))
                    .chain((0..200).map(|_| frame(9, 0, 1, &block)))
                    .collect(),
            ),
            Ends,
        ),
        (
            "a thousand requests that are taken back",
            begun(
                ids(1_000).flat_map(|id| [frame(1, 5, id, &asks), frame(3, 0, id, &[0, 0, 0, 8])]).collect(),
            ),
            Ends,
        ),
        ("a head that unpacks to 36 MB", begun(vec![frame(1, 5, 1, &bomb)]), Ends),
    ]
}

async fn honest(mesh: &Mesh, after: &str) {
    let told = timeout(WITHIN, mesh.task(&json!({"prompt": "[tokens=1]"}))).await;
    let (status, answer) = told.unwrap_or_else(|_| panic!("nobody answers after {after}"));
    assert_eq!(status, 200, "after {after}: {answer}");
}

#[tokio::test]
async fn hostile_bytes_have_their_answer_or_their_end_and_cost_nobody_anything() {
    // Each ends by what it is, and not since it stands still.
    let mesh = Mesh::start().nodes(1).edge_args(["--idle-timeout", "60s", "--head-timeout", "60s"]).await;
    honest(&mesh, "the start").await;
    let before = mesh.edge(0).resident();
    let mut wrong = Vec::new();
    for (name, bytes, wanted) in first_version().into_iter().chain(second_version()) {
        let stream = TcpStream::connect(mesh.edge(0).address()).await.expect("a connection");
        let (mut reader, mut writer) = stream.into_split();
        let mut said = Vec::new();
        // A server may answer and close before it has read all.
        let both = async { tokio::join!(writer.write_all(&bytes), reader.read_to_end(&mut said)) };
        let ended = timeout(WITHIN, both).await.is_ok();
        let text = String::from_utf8_lossy(&said);
        let status = text.get(9..12).filter(|_| text.starts_with("HTTP/1.")).and_then(|it| it.parse().ok());
        let good = match wanted {
            Status(among) => ended && status.is_some_and(|status: u16| among.contains(&status)),
            Ends => ended && !text.starts_with("HTTP/1."),
        };
        if !good {
            wrong.push(format!(
                "{name}: wanted {wanted:?}; ended: {ended}; {:?}",
                text.chars().take(300).collect::<String>()
            ));
        }
        honest(&mesh, name).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let grown = mesh.edge(0).resident().saturating_sub(before);
    eprintln!("the edge has grown by {} KiB", grown >> 10);
    assert!(grown < 32 << 20, "the edge has grown by {grown} bytes");
}

/// Frames of HTTP/2 as they come: kind, stream and payload.
async fn frames(stream: &mut TcpStream, within: Duration) -> Vec<(u8, u32, Vec<u8>)> {
    let mut all = Vec::new();
    let reads = async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if stream.read_exact(&mut payload).await.is_err() {
                return;
            }
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            all.push((head[3], id, payload));
        }
    };
    // What has come until then is what came.
    let _ = timeout(within, reads).await;
    all
}

#[tokio::test]
async fn one_connection_over_http_2_has_its_number_of_streams_and_those_that_nobody_reads_are_bounded() {
    let limits = ["--idle-timeout", "3s", "--client-timeout", "3s", "--body-timeout", "2s"];
    let mesh = Mesh::start().nodes(1).edge_args(limits).await;
    honest(&mesh, "the start").await;
    let before = mesh.edge(0).resident();
    let mut open = TcpStream::connect(mesh.edge(0).address()).await.expect("a connection");
    let post = request(0x83, "/task");
    let asks: Vec<u8> = (0..200).flat_map(|number| frame(1, 4, 2 * number + 1, &post)).collect();
    open.write_all(&[PREFACE, &asks].concat()).await.expect("it is taken");
    let refused = frames(&mut open, Duration::from_secs(1)).await;
    let refused = refused.iter().filter(|(kind, _, why)| *kind == 3 && why[..] == [0, 0, 0, 7]).count();
    assert_eq!(refused, 200 - 128, "REFUSED_STREAM for each beyond the limit");

    // A window of nothing for each stream, and twenty connections that fill all of theirs.
    let docs = request(0x82, "/docs");
    let mut unread = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(mesh.edge(0).address()).await.expect("a connection");
        let asks: Vec<u8> = (0..100).flat_map(|number| frame(1, 5, 2 * number + 1, &docs)).collect();
        let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
        stream.write_all(&[&PREFACE[..24], &settings, &asks].concat()).await.expect("it is taken");
        unread.push(stream);
    }
    honest(&mesh, "streams that nobody reads").await;
    let grown = mesh.edge(0).resident().saturating_sub(before);
    eprintln!("2,000 streams that nobody reads: {} KiB", grown >> 10);
    assert!(grown < 256 << 20, "{grown} bytes");
    let gone = futures::future::join_all(unread.into_iter().map(last_words));
    timeout(Duration::from_secs(20), gone).await.expect("they are ended");
    drop(open);
    mesh.until("all of them to be gone", || async {
        let reply = mesh.client().get("/metrics").send().await.map_err(|error| error.to_string())?;
        let text = reply.text().await;
        holds(text.contains("\necho_connections 1\n"), text)
    })
    .await;
}

#[tokio::test]
async fn where_one_request_ends_another_is_hidden_from_nobody() {
    let mesh = Mesh::start().nodes(1).await;
    let asked = async |requests: Vec<u8>| {
        let mut stream = TcpStream::connect(mesh.edge(0).address()).await.expect("a connection");
        stream.write_all(&requests).await.expect("it is taken");
        let words = timeout(WITHIN, last_words(stream)).await.expect("it ends");
        String::from_utf8_lossy(&words).into_owned()
    };
    // Whoever stands between and counts by the length sees one request; so do we.
    let hidden = "GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for both in [
        "content-length: 50\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 50",
    ] {
        let smuggles = format!("POST /task HTTP/1.1\r\nhost: localhost\r\n{both}\r\n\r\n0\r\n\r\n{hidden}");
        let said = asked(smuggles.into_bytes()).await;
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    }
    // Honest ones in a row are all answered, in their order.
    let row = ["/health", "/api/version", "/nowhere"]
        .map(|path| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    let said = asked([row.concat().as_bytes(), &get("")].concat()).await;
    let statuses: Vec<_> = said.match_indices("HTTP/1.1 ").map(|(at, _)| &said[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "404", "200"], "{said}");
    // Who waits to be asked for the body is asked.
    let mut stream = TcpStream::connect(mesh.edge(0).address()).await.expect("a connection");
    let body = json!({"prompt": "[tokens=1]"}).to_string();
    let head =
        head("POST /task HTTP/1.1", &format!("expect: 100-continue\r\ncontent-length: {}\r\n", body.len()));
    stream.write_all(&head).await.expect("it is taken");
    let mut goes_on = [0; 25];
    timeout(WITHIN, stream.read_exact(&mut goes_on)).await.expect("in time").expect("it is asked");
    assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.expect("it is taken");
    let words = last_words(stream).await;
    assert!(words.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&words));
}

/// What an edge in a network of its own tells a host there, on a connection that was opened before.
fn told(mut stream: &std::net::TcpStream, host: &str) -> String {
    use std::io::{Read as _, Write as _};
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    // One that was closed at once is an answer, too: none.
    let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
    answer
}

#[tokio::test]
async fn one_address_has_its_number_of_connections_and_every_other_goes_on() {
    let lan = match Lan::new(3) {
        Ok(lan) => lan,
        Err(why) => {
            return machine_lacks(&format!("connections of one address: no network namespaces: {why}"));
        }
    };
    let program = |binary: &'static str, args: &[&str]| {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Program::new(binary, binary, args).on(lan.host(1))
    };
    let config = binaries::root().join("nats.conf").to_string_lossy().into_owned();
    let broker = program("broker", &["--nats-conf", &config, "--listen", "127.0.0.1:4222"]);
    broker.start().await;
    let edge = [
        "--nats",
        "nats://127.0.0.1:4222",
        "--listen",
        "0.0.0.0:8080",
        "--connections-per-address",
        "5",
        "--open-lan",
    ];
    let edge = program("edge", &edge);
    edge.start().await;
    let to = format!("{}:8080", lan.address(1)).parse().expect("an address");
    let connect = |host| lan.connect(host, to).expect("the edge listens");
    let mut open: Vec<_> = (0..5).map(|_| connect(2)).collect();
    // So many that even those who are told so have no place; nobody else waits for them.
    let beyond: Vec<_> = (0..200).map(|_| connect(2)).collect();
    let refused: Vec<_> = beyond.iter().map(|stream| told(stream, "10.77.0.1")).collect();
    let aloud = refused.iter().filter(|answer| !answer.is_empty()).collect::<Vec<_>>();
    assert!(!aloud.is_empty(), "none of them was told anything");
    for answer in aloud {
        assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("from this address"), "{answer}");
        assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    }
    let answer = told(&connect(3), "10.77.0.1");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("echo_connections_refused_total{reason=\"address\"} 200\n"), "{answer}");
    assert!(told(&open.remove(0), "edge:8080").starts_with("HTTP/1.1 200"), "its own place is its own");
    assert!(
        told(&open.remove(0), "evil.example:8080").starts_with("HTTP/1.1 403"),
        "not under a stranger's name"
    );
    let metrics = |answer: String| holds(answer.starts_with("HTTP/1.1 200"), answer);
    echo_testing::mesh::until("a place to be free again", || async {
        metrics(told(&connect(2), "10.77.0.1"))
    })
    .await;
}

/// Somebody whom nobody may ask, and what a client would call him.
struct Bystander(TcpListener);

impl Bystander {
    async fn new() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it listens").to_string();
        (Self(listener), address)
    }

    /// Whoever connected waits with the system: nothing has to be waited for here.
    fn was_asked(&self) -> bool {
        futures::FutureExt::now_or_never(self.0.accept()).is_some()
    }
}

#[tokio::test]
async fn nothing_fetches_what_a_client_names() {
    let mesh = Mesh::start().nodes(1).agent_args(["--allow-model-management"]).await;
    let (bystander, address) = Bystander::new().await;
    let url = format!("http://{address}/x.png");
    let picture =
        |url: &str| json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]);
    let requests: Vec<(&str, Value)> = vec![
        ("/v1/chat/completions", json!({"model": "scripted", "messages": picture(&url)})),
        ("/v1/chat/completions", json!({"model": "scripted", "messages": picture("file:///etc/passwd")})),
        (
            "/v1/responses",
            json!({"model": "scripted", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]}),
        ),
        (
            "/v1/responses",
            json!({"model": "scripted", "input": [{"role": "user", "content": [{"type": "input_file", "file_url": url}]}]}),
        ),
        (
            "/v1/messages",
            json!({"model": "scripted", "max_tokens": 9, "messages": [{"role": "user", "content": [
                {"type": "image", "source": {"type": "url", "url": url}}]}]}),
        ),
        (
            "/v1/messages",
            json!({"model": "scripted", "max_tokens": 9, "messages": [{"role": "user", "content": [
                {"type": "document", "source": {"type": "url", "url": url}}]}]}),
        ),
        (
            "/api/chat",
            json!({"model": "scripted", "messages": [{"role": "user", "content": "x", "images": [url]}]}),
        ),
        ("/api/generate", json!({"model": "scripted", "prompt": "x", "images": [url]})),
        ("/api/pull", json!({"model": format!("http://{address}/a/b"), "insecure": true, "stream": false})),
        ("/api/pull", json!({"model": format!("https://{address}/a/b"), "stream": false})),
        ("/api/pull", json!({"model": format!("{address}/a/b"), "stream": false})),
        ("/api/pull", json!({"name": "localhost:1/a/b", "stream": false})),
        ("/api/pull", json!({"model": "box/a/b", "stream": false})),
        ("/api/pull", json!({"model": "scripted", "insecure": true, "stream": false})),
        ("/api/create", json!({"model": "x", "from": url})),
        ("/api/push", json!({"model": format!("{address}/a/b")})),
        ("/task", json!({"prompt": "x", "images": [url]})),
    ];
    for (path, body) in requests {
        let reply = mesh.client().post(path, &body).send().await.expect("an answer");
        let (status, text) = (reply.status(), reply.text().await);
        assert!([400, 403, 501].contains(&status), "{path} {body}: {status} {text}");
        assert!(!bystander.was_asked(), "{path} {body}");
    }
    let asked = mesh.engine(0).requests();
    assert!(!asked.iter().any(|seen| seen.path == "/api/pull"), "no engine was told to");
}
