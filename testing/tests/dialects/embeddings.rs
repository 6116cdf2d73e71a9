//! Texts that are too long to embed, too short, or nothing at all, on nodes of both kinds.

use echo_scripted_engine::Api;
use echo_testing::mesh::Mesh;
use serde_json::{Value, json};

use super::wire::{EMBEDDER, able, post, whole};

/// What the engines here take in one text.
const LIMIT: usize = 12;

async fn mesh(api: Api) -> Mesh {
    able(api).nodes(2).script(|script| script.embedding_limit = Some(LIMIT)).await
}

fn words(count: usize) -> String {
    vec!["word"; count].join(" ")
}

/// How many vectors an answer holds.
fn vectors(answer: &Value) -> usize {
    let list = answer["embeddings"].as_array().or_else(|| answer["data"].as_array());
    list.map_or(0, Vec::len)
}

#[tokio::test]
async fn a_text_that_is_too_long_is_refused_at_once_by_its_place_and_no_node_is_blamed() {
    let mesh = mesh(Api::Openai).await;
    let mut batch = vec![words(2); 50];
    batch[36] = words(20);
    for (path, body, place) in [
        ("/v1/embeddings", json!({"model": EMBEDDER, "input": words(20)}), "input: "),
        ("/v1/embeddings", json!({"model": EMBEDDER, "input": batch}), "input[36]: "),
        ("/api/embed", json!({"model": EMBEDDER, "input": words(20), "truncate": false}), "input: "),
        ("/api/embed", json!({"model": EMBEDDER, "input": batch, "truncate": false}), "input[36]: "),
        ("/api/embeddings", json!({"model": EMBEDDER, "prompt": words(20)}), "input: "),
    ] {
        for _ in 0..3 {
            let reply = post(mesh.client(), path, &body).await;
            assert_eq!((reply.status(), reply.header("x-echo-attempts")), (400, "1"), "{path} {place}");
            let answer = reply.json().await;
            let error = answer["error"]["message"].as_str().or_else(|| answer["error"].as_str());
            let wanted = format!("{place}it has 20 tokens, and this node takes at most {LIMIT}");
            assert!(error.is_some_and(|error| error.starts_with(&wanted)), "{path}: {answer}");
        }
    }
    let (status, answer) =
        whole(mesh.client(), "/v1/embeddings", &json!({"model": EMBEDDER, "input": words(LIMIT)})).await;
    assert_eq!((status, vectors(&answer)), (200, 1), "{answer}");
}

#[tokio::test]
async fn ollamas_clients_get_a_vector_of_what_fits_on_every_node_unless_they_say_otherwise() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = mesh(api).await;
        for truncate in [Value::Null, json!(true)] {
            let body = json!({"model": EMBEDDER, "input": ["a b", words(20), "c"], "truncate": truncate});
            let (status, answer) = whole(mesh.client(), "/api/embed", &body).await;
            assert_eq!((status, vectors(&answer)), (200, 3), "{api:?} {truncate}: {answer}");
        }
        for (path, body) in [
            ("/api/embed", json!({"model": EMBEDDER, "input": words(20), "truncate": false})),
            ("/v1/embeddings", json!({"model": EMBEDDER, "input": words(20)})),
        ] {
            assert_eq!(whole(mesh.client(), path, &body).await.0, 400, "{api:?} {path}");
        }
    }
}

#[tokio::test]
async fn nothing_to_embed_has_no_vector_and_a_size_that_is_none_means_nothing() {
    for api in [Api::Ollama, Api::Openai] {
        let mesh = mesh(api).await;
        for nothing in [json!(""), json!([]), Value::Null] {
            let body = json!({"model": EMBEDDER, "input": nothing});
            let (status, answer) = whole(mesh.client(), "/api/embed", &body).await;
            assert_eq!((status, &answer["embeddings"]), (200, &json!([])), "{api:?} {nothing}: {answer}");
        }
        let (status, answer) =
            whole(mesh.client(), "/api/embeddings", &json!({"model": EMBEDDER, "prompt": ""})).await;
        assert_eq!((status, &answer["embedding"]), (200, &json!([])), "{api:?}: {answer}");
        for (size, length) in [(-1, 8), (0, 8), (3, 3)] {
            let body = json!({"model": EMBEDDER, "input": "a", "dimensions": size});
            let (status, answer) = whole(mesh.client(), "/api/embed", &body).await;
            let found = answer["embeddings"][0].as_array().map(Vec::len);
            assert_eq!((status, found), (200, Some(length)), "{api:?} {size}: {answer}");
        }
    }
}
