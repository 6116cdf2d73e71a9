//! A mesh in which everybody has a key, and no part is denied anything that it needs.

use echo_broker::trust::Trust;
use echo_bus::Bus;
use echo_bus::client::Options;
use echo_bus::id::Role;
use echo_bus::key::Seed;
use echo_bus::message::{MachinesAnswer, MachinesRequest, NewKey};
use echo_bus::subject::{self, Duty};
use echo_scripted_engine::Api;
use echo_testing::mesh::{Mesh, PATIENCE, holds, soon};
use futures::future::join_all;
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
            // At its start the broker itself tries to get in without a key, and what a guest may not say.
            let own_trial = line.contains("\"async_nats") || line.contains("probe\\\"");
            let denied = line.to_lowercase().contains("violation") && !own_trial;
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

#[tokio::test]
async fn answers_are_whole_while_machines_come_and_go() {
    let mesh = Mesh::start().keys().slots(4).await;
    let operator = operator(&mesh).await;
    let streams: Vec<_> = (0..4).map(|_| mesh.ask(LONG)).collect();
    let answers = async { join_all(streams.into_iter().map(|stream| stream.rest())).await };
    let changes = async {
        let machines = async |request| match operator.call(&subject::machines(), &request, PATIENCE).await {
            Ok(MachinesAnswer::Machines { .. }) => {}
            other => panic!("{other:?}"),
        };
        for round in 0..10 {
            let path = mesh.folder().join(format!("{round}.nk"));
            let key = Seed::read_or_create(&path).expect("a key").public().clone();
            let name = format!("guest-{round}");
            let new = NewKey { name: name.clone(), duty: Duty::Watch, node: None, key };
            machines(MachinesRequest::Admit { keys: vec![new] }).await;
            machines(MachinesRequest::Revoke { names: vec![name] }).await;
        }
    };
    let (answers, ()) = tokio::join!(answers, changes);
    for answer in answers {
        answer.assert_every_token_once(300);
        assert_eq!(answer.attempts(), 1);
    }
}

/// As the commands of the broker's own people get onto the bus.
pub(super) async fn operator(mesh: &Mesh) -> Bus {
    let trust = Trust::open(&mesh.folder().join("trust")).expect("the mesh's keys");
    let key = trust.own_key("operator", Duty::Operator, None).expect("the operator's key");
    let access = trust.access(&key).expect("a way in");
    let options = Options { url: mesh.broker.url(), role: Role::Other, id: access.process(), access };
    soon("the operator to connect", Bus::connect(options)).await.expect("a connection")
}
