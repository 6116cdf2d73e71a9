//! A mesh in which everybody has a key, and no part is denied anything that it needs.

use echo_scripted_engine::Api;
use echo_testing::mesh::{Mesh, holds};
use serde_json::json;

const LONG: &str = "count [tokens=300] [delay=10]";

/// Nothing that a part has said or asked was against its permissions, and no secret stands in a log.
fn nobody_was_denied(mesh: &Mesh) {
    let trust = mesh.folder().join("trust");
    let files =
        std::fs::read_dir(trust.join("keys")).expect("keys").chain(std::fs::read_dir(&trust).expect("trust"));
    let files = files.map(|file| file.expect("a file").path());
    let secret = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "nk" || end == "key");
    let secrets: Vec<String> = files
        .filter(secret)
        .map(|path| {
            std::fs::read_to_string(path)
                .expect("a key")
                .lines()
                .find(|line| !line.starts_with('-'))
                .expect("a line")
                .to_owned()
        })
        .collect();
    assert!(secrets.len() >= 6, "{}", secrets.len());
    for program in mesh.programs() {
        for line in program.logs().since(0) {
            let small = line.to_lowercase();
            let denied = small.contains("permissions violation") || small.contains("authorization violation");
            assert!(!denied, "{} was denied something: {line}", program.name());
            assert!(
                !secrets.iter().any(|secret| line.contains(secret)),
                "a secret is in the log of {}",
                program.name()
            );
        }
    }
}

#[tokio::test]
async fn with_keys_a_mesh_answers() {
    let mesh = Mesh::start().keys().api(Api::Ollama).await;
    mesh.ask("count [tokens=20]").rest().await.assert_every_token_once(20);
    let (code, answer) = mesh.task(&json!({ "prompt": "[tokens=3]" })).await;
    assert_eq!((code, &answer["content"]), (200, &json!("t0 t1 t2 ")));
    let mut gone = mesh.ask(LONG);
    gone.read_tokens(3).await;
    drop(gone);
    mesh.is_quiet().await;
    nobody_was_denied(&mesh);
}

#[tokio::test]
async fn with_keys_an_answer_outlives_its_agent() {
    let mesh = Mesh::start().keys().await;
    let mut stream = mesh.ask(LONG);
    stream.read_tokens(3).await;
    let worker = mesh.worker().await;
    mesh.node(&worker).kill().await;
    stream.rest().await.assert_every_token_once(300);
    mesh.node(&worker).start().await;
    mesh.is_whole().await;
    nobody_was_denied(&mesh);
}

#[tokio::test]
async fn with_keys_a_mesh_comes_back_with_its_broker() {
    let mesh = Mesh::start().keys().edges(2).orchestrators(2).await;
    mesh.broker.restart().await;
    mesh.is_whole().await;
    mesh.until("an answer", || async {
        let (code, answer) = mesh.task(&json!({ "prompt": "[tokens=3]" })).await;
        holds(code == 200 && answer["content"] == "t0 t1 t2 ", answer)
    })
    .await;
    nobody_was_denied(&mesh);
}
