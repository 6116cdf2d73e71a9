//! The real clients of all three APIs, in Python and in JavaScript, against a mesh: what users run, unchanged.

use std::path::PathBuf;

use echo_scripted_engine::Api;
use echo_testing::{
    client::package::{self, folder, set_up},
    mesh::{Mesh, Program, add_key, keyed_edge},
};
use tokio::process::Command;

use super::wire::able;
use echo_testing::skip;

/// A mesh, and an edge of it that wants a key, as one does that other machines reach. Its signs of life come often, so that no
/// check has to wait for long.
struct Keyed {
    mesh: Mesh,
    edge: Program,
    key: String,
}

impl Keyed {
    async fn start() -> Self {
        let mesh = able(Api::Ollama).await;
        let keys = mesh.folder().join("keys.json");
        // One of the checks unloads a model.
        let key = add_key(&keys, "clients", &["--manage"]);
        let edge = keyed_edge(&mesh.broker.url(), &keys, &["--idle-sign", "500ms"]);
        edge.start().await;
        Self { mesh, edge, key }
    }
}

async fn check(mut command: Command) {
    let Keyed { mesh, edge, key } = Keyed::start().await;
    let url = format!("http://{}", edge.address());
    command.env("ECHO_KEY", key);
    package::run(command, &url, &mesh.engine(0).url()).await;
    mesh.is_quiet().await;
}

async fn python(script: &str) {
    let python = match set_up("python").await {
        Ok(python) => python,
        Err(why) => return skip::skip(script, &why),
    };
    let mut command = Command::new(python);
    command.arg(folder().join(script));
    check(command).await;
}

async fn node(script: &str) {
    if Command::new("node").arg("--version").output().await.is_err() {
        return skip::machine_lacks(&format!("{script}: there is no node"));
    }
    let home = match set_up("node").await {
        Ok(home) => PathBuf::from(home),
        Err(why) => return skip::skip(script, &why),
    };
    // A script finds its packages beside itself.
    let beside = home.join(format!("run-{}", std::process::id()));
    let here = beside.join(script.replace('.', "-"));
    std::fs::create_dir_all(&here).expect("the cache can be written");
    for name in [script, "common.mjs"] {
        std::fs::copy(folder().join(name), here.join(name)).expect("a script is copied");
    }
    let mut command = Command::new("node");
    command.arg(here.join(script));
    check(command).await;
    // The other script's folder may still be there.
    let _ = std::fs::remove_dir_all(&here).and_then(|()| std::fs::remove_dir(&beside));
}

#[tokio::test]
async fn anthropics_python_client() {
    python("check_anthropic.py").await;
}

#[tokio::test]
async fn ollamas_python_client() {
    python("check_ollama.py").await;
}

#[tokio::test]
async fn openais_python_client() {
    python("check_openai.py").await;
}

#[tokio::test]
async fn openais_python_client_with_responses() {
    python("check_responses.py").await;
}

#[tokio::test]
async fn anthropics_javascript_client() {
    node("check_anthropic.mjs").await;
}

#[tokio::test]
async fn ollamas_javascript_client() {
    node("check_ollama.mjs").await;
}

#[tokio::test]
async fn openais_javascript_client() {
    node("check_openai.mjs").await;
}

#[tokio::test]
async fn openais_javascript_client_with_responses() {
    node("check_responses.mjs").await;
}
