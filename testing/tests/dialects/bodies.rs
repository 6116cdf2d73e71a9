//! How a body may come on every route that takes JSON: under any name, compressed, with half an emoji in it.

use std::io::Read;

use echo_scripted_engine::Api;
use echo_testing::{
    client::Call,
    mesh::{Mesh, holds, until},
};
use flate2::{
    Compression,
    read::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

use super::wire::{ABLE, EMBEDDER, able, send};

/// The routes that take JSON and run a task, each with a body whose text is `text`.
fn routes(text: &str) -> [(&'static str, Value); 12] {
    let messages = json!([{"role": "user", "content": text}]);
    [
        ("/task", json!({"prompt": text, "model_hint": ABLE})),
        ("/task/stream", json!({"prompt": text, "model_hint": ABLE})),
        ("/api/generate", json!({"model": ABLE, "prompt": text, "stream": false})),
        ("/api/chat", json!({"model": ABLE, "messages": messages, "stream": false})),
        ("/api/embed", json!({"model": EMBEDDER, "input": text})),
        ("/api/embeddings", json!({"model": EMBEDDER, "prompt": text})),
        ("/api/show", json!({"model": ABLE, "system": text})),
        ("/v1/chat/completions", json!({"model": ABLE, "messages": messages})),
        ("/v1/completions", json!({"model": ABLE, "prompt": text})),
        ("/v1/embeddings", json!({"model": EMBEDDER, "input": text})),
        ("/v1/messages", json!({"model": ABLE, "max_tokens": 64, "messages": messages})),
        ("/v1/responses", json!({"model": ABLE, "input": text})),
    ]
}

fn post(mesh: &Mesh, path: &str, body: impl Into<Vec<u8>>) -> Call {
    mesh.client().call("POST", path).body(body.into())
}

#[tokio::test]
async fn json_is_read_under_any_name_that_may_be_json() {
    let mesh = able(Api::Ollama).await;
    let names = [
        "application/json; charset=utf-8",
        "application/json, application/json",
        "application/octet-stream",
        "application/vnd.api+json",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
        "text/json",
        "text/plain;charset=UTF-8",
        "*/*",
        "",
    ];
    for (path, body) in routes("[tokens=1]") {
        for name in names {
            let reply = send(post(&mesh, path, body.to_string()).header("content-type", name)).await;
            assert_eq!(reply.status(), 200, "{path} as {name:?}: {}", reply.text().await);
        }
        let reply = send(post(&mesh, path, body.to_string())).await;
        assert_eq!(reply.status(), 200, "{path} without a type: {}", reply.text().await);
        for name in ["multipart/form-data; boundary=x", "image/png", "text/html", "nonsense"] {
            let reply = send(post(&mesh, path, body.to_string()).header("content-type", name)).await;
            assert_eq!(reply.status(), 415, "{path} as {name:?}: {}", reply.text().await);
        }
        let form = post(&mesh, path, "prompt=hello&model=able");
        let reply = send(form.header("content-type", "application/x-www-form-urlencoded")).await;
        assert_eq!(reply.status(), 400, "{path} as a form: {}", reply.text().await);
    }
}

#[tokio::test]
async fn no_foreign_page_gets_in_under_a_name_that_a_browser_lets_it_send_unasked() {
    let mesh = able(Api::Ollama).await;
    let names = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""];
    let delete = ("/api/delete", json!({"model": ABLE}));
    for (path, body) in routes("[tokens=1]").into_iter().chain([delete, ("/api/pull", json!({"model": "x"}))])
    {
        for (name, origin) in names.iter().flat_map(|name| [(name, "http://evil.example"), (name, "null")]) {
            let method = if path == "/api/delete" { "DELETE" } else { "POST" };
            let call = mesh.client().call(method, path).body(body.to_string());
            let call = if name.is_empty() { call } else { call.header("content-type", name) };
            let reply = send(call.header("origin", origin)).await;
            assert_eq!(reply.status(), 403, "{path} as {name:?} from {origin}");
            assert_eq!(reply.header("access-control-allow-origin"), "");
        }
    }
    assert_eq!(mesh.engine(0).counters().started, 0);
}

fn compressed(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let read = |mut encoder: Box<dyn Read + '_>| {
        let mut bytes = Vec::new();
        encoder.read_to_end(&mut bytes).expect("a slice can be read");
        bytes
    };
    let zstd = compress_to_vec(body, CompressionLevel::Fastest);
    let both = read(Box::new(GzEncoder::new(&zstd[..], Compression::fast())));
    vec![
        ("gzip", read(Box::new(GzEncoder::new(body, Compression::fast())))),
        ("X-Gzip", read(Box::new(GzEncoder::new(body, Compression::fast())))),
        ("deflate", read(Box::new(ZlibEncoder::new(body, Compression::fast())))),
        ("deflate", read(Box::new(DeflateEncoder::new(body, Compression::fast())))),
        ("zstd", zstd),
        ("zstd, gzip", both),
        ("identity", body.to_vec()),
    ]
}

#[tokio::test]
async fn a_compressed_body_is_read_on_every_route_and_what_is_not_understood_is_named() {
    let mesh = able(Api::Ollama).await;
    let at = |path: &str, coding: &str, bytes: Vec<u8>| {
        let call = post(&mesh, path, bytes).header("content-type", "application/json");
        send(call.header("content-encoding", coding))
    };
    for (path, body) in routes("[tokens=1] a text that goes on and on and on") {
        for (coding, bytes) in compressed(body.to_string().as_bytes()) {
            let reply = at(path, coding, bytes.clone()).await;
            assert_eq!(reply.status(), 200, "{path} {coding}: {}", reply.text().await);
            if coding != "identity" {
                let reply = at(path, coding, bytes[..bytes.len() - 3].to_vec()).await;
                assert_eq!(reply.status(), 400, "{path} {coding}, cut");
                let told = reply.text().await;
                assert!(told.contains("breaks off"), "{path} {coding}: {told}");
            }
        }
        for coding in ["br", "gzip, br", "compress"] {
            let reply = at(path, coding, body.to_string().into()).await;
            assert_eq!((reply.status(), reply.header("accept-encoding")), (415, "gzip, deflate, zstd"));
            let (named, told) = (coding.trim_start_matches("gzip, "), reply.text().await);
            assert!(told.contains(named), "{path} {coding}: {told}");
        }
    }
}

/// Two gigabytes of zeros in zstd: blocks of 128 KiB, each said by its one byte.
fn bomb() -> Vec<u8> {
    const BLOCK: u32 = 128 * 1024;
    let blocks = 2_000_000_000 / BLOCK;
    // No size, a window of 2 MiB.
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 11 << 3];
    for block in 1..=blocks {
        let head = BLOCK << 3 | 1 << 1 | u32::from(block == blocks);
        bytes.extend(&head.to_le_bytes()[..3]);
        bytes.push(0);
    }
    bytes
}

#[tokio::test]
async fn two_gigabytes_in_60_kilobytes_are_413_and_cost_no_memory() {
    let mesh = able(Api::Ollama).await;
    let before = mesh.edge(0).resident();
    let (most, bomb) = (40 << 20, bomb());
    assert!(bomb.len() < 100_000);
    let bombs = (0..16).map(|_| {
        let call = post(&mesh, "/v1/chat/completions", bomb.clone()).header("content-encoding", "zstd");
        async {
            let reply = send(call).await;
            assert_eq!(reply.status(), 413, "{}", reply.text().await);
        }
    });
    let watched = async {
        let mut highest = before;
        loop {
            highest = highest.max(mesh.edge(0).resident());
            assert!(highest < before + most, "{} MiB", highest >> 20);
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        () = watched => {}
        _ = futures::future::join_all(bombs) => {}
    }
    eprintln!("{} MiB before, {} MiB after", before >> 20, mesh.edge(0).resident() >> 20);
    assert!(mesh.edge(0).resident() < before + most);
    mesh.ask("[tokens=2]").rest().await.assert_every_token_once(2);
}

/// The body of the last request to a route of the engine that asks for work.
async fn reached(mesh: &Mesh, mark: &str) -> String {
    until("the engine to be asked", || async {
        let requests = mesh.engine(0).requests();
        let body = requests.iter().rev().map(|seen| seen.body.to_string()).find(|body| body.contains(mark));
        holds(body.is_some(), "nothing")?;
        Ok::<_, String>(body.expect("seen just now"))
    })
    .await
}

#[tokio::test]
async fn half_an_emoji_reaches_the_engine_as_a_replacement_on_every_route() {
    let mesh = able(Api::Ollama).await;
    // What a model is said to be depends on its name only.
    let routes = routes("MARK").into_iter().filter(|(path, _)| *path != "/api/show");
    for (number, (path, body)) in routes.enumerate() {
        for (kind, (written, wanted)) in [
            (&br"[tokens=1] cut \ud83d here"[..], "cut \u{fffd} here"),
            (br"[tokens=1] \ude00\uD83D", "\u{fffd}\u{fffd}"),
            (br"[tokens=1] \ud83d\ude00", "\u{1f600}"),
            (br"[tokens=1] \\ud83d", r"\\ud83d"),
            (b"[tokens=1] cut \xf0\x9f\x98 here", "cut \u{fffd} here"),
        ]
        .into_iter()
        .enumerate()
        {
            let mark = format!("nr-{number}-{kind}-");
            let body = body.to_string();
            let (before, after) = body.split_once("MARK").expect("the text is there");
            let key = br#""half \ud83d a key": 1, "#;
            let bytes = [b"{", &key[..], &before.as_bytes()[1..], mark.as_bytes(), written, after.as_bytes()]
                .concat();
            let reply = send(post(&mesh, path, bytes)).await;
            assert_eq!(reply.status(), 200, "{path} {wanted}: {}", reply.text().await);
            drop(reply.text().await);
            let seen = reached(&mesh, &mark).await;
            assert!(seen.contains(wanted), "{path}: {wanted} is not in {seen}");
        }
    }
}

#[tokio::test]
async fn half_an_emoji_in_a_tools_result_or_its_arguments_is_mended_too() {
    let mesh = able(Api::Ollama).await;
    let messages = r#"[{"role":"user","content":"[tokens=1] weather?"},
        {"role":"assistant","content":"","tool_calls":[{"id":"c","type":"function","function":{"name":"w","arguments":ARGS}}]},
        {"role":"tool","tool_call_id":"c","content":"rain \ud83d"}]"#;
    for (path, arguments) in [
        ("/api/chat", r#"{"city":"Oslo \ude00"}"#),
        ("/v1/chat/completions", r#""{\"city\":\"Oslo \ude00\"}""#),
    ] {
        let body = format!(
            r#"{{"model":"{ABLE}","stream":false,"messages":{}}}"#,
            messages.replace("ARGS", arguments)
        );
        let reply = send(post(&mesh, path, body)).await;
        assert_eq!(reply.status(), 200, "{path}: {}", reply.text().await);
        let seen = reached(&mesh, "Oslo").await;
        assert!(seen.contains("rain \u{fffd}") && seen.contains("Oslo \u{fffd}"), "{path}: {seen}");
    }
    let body = format!(
        r#"{{"model":"{ABLE}","messages":[{{"role":"user","content":"[tokens=1] weather?"}},{{"role":"assistant","content":
        [{{"type":"tool_use","id":"c","name":"w","input":{{"city":"Bergen \ude00"}}}}]}},{{"role":"user","content":
        [{{"type":"tool_result","tool_use_id":"c","content":[{{"type":"text","text":"snow \ud83d"}}]}}]}}]}}"#
    );
    let reply = send(post(&mesh, "/v1/messages", body)).await;
    assert_eq!(reply.status(), 200, "{}", reply.text().await);
    let seen = reached(&mesh, "Bergen").await;
    assert!(seen.contains("snow \u{fffd}") && seen.contains("Bergen \u{fffd}"), "{seen}");
}
