//! The real clients of both APIs, in Python and in JavaScript, against a mesh: what users run, unchanged.

#[path = "../mesh/skip.rs"]
mod skip;

use std::{io::Write, path::PathBuf, process::Stdio};

use echo_testing::{engine::Api, mesh::Mesh};
use tokio::process::Command;

use super::wire::able;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// What the set-up prints, or why there is nothing.
async fn set_up(what: &str) -> Result<String, String> {
    let output = Command::new(folder().join("setup.sh")).arg(what).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(said.lines().last().unwrap_or_default().to_owned())
}

async fn check(mesh: &Mesh, mut command: Command) {
    command.env("ECHO_EDGE_URL", format!("http://{}", mesh.edge(0).address()));
    command.env("ECHO_ENGINE_URL", mesh.engine(0).url()).env("PYTHONDONTWRITEBYTECODE", "1");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "OPENAI_BASE_URL", "OLLAMA_HOST"] {
        command.env_remove(name);
    }
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("the client runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    mesh.is_quiet().await;
}

async fn python(script: &str) {
    let python = match set_up("python").await {
        Ok(python) => python,
        Err(why) => return skip::skip(script, &why),
    };
    let mesh = able(Api::Ollama).await;
    let mut command = Command::new(python);
    command.arg(folder().join(script));
    check(&mesh, command).await;
}

async fn node(script: &str) {
    if Command::new("node").arg("--version").output().await.is_err() {
        return machine_lacks(&format!("{script}: there is no node"));
    }
    let home = match set_up("node").await {
        Ok(home) => PathBuf::from(home),
        Err(why) => return skip::skip(script, &why),
    };
    let mesh = able(Api::Ollama).await;
    // A script finds its packages beside itself.
    let beside = home.join(format!("run-{}", std::process::id()));
    let here = beside.join(script.replace('.', "-"));
    std::fs::create_dir_all(&here).expect("the cache can be written");
    for name in [script, "common.mjs"] {
        std::fs::copy(folder().join(name), here.join(name)).expect("a script is copied");
    }
    let mut command = Command::new("node");
    command.arg(here.join(script));
    check(&mesh, command).await;
    // The other script's folder may still be there.
    let _ = std::fs::remove_dir_all(&here).and_then(|()| std::fs::remove_dir(&beside));
}

/// Notes what cannot be installed on this machine, which fails nobody.
fn machine_lacks(what: &str) {
    eprintln!("skipped {what}");
    let Some(path) = std::env::var_os("ECHO_TEST_SKIPS") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| writeln!(file, "machine: {what}"));
    written.expect("the file that ECHO_TEST_SKIPS names can be written");
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
async fn ollamas_javascript_client() {
    node("check_ollama.mjs").await;
}

#[tokio::test]
async fn openais_javascript_client() {
    node("check_openai.mjs").await;
}
