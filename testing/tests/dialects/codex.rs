//! OpenAI's Codex CLI, as it comes from npm, against a mesh: it has a home of its own, and nothing but the mesh to talk to.

use std::path::Path;

use echo_scripted_engine::Api;
use echo_testing::{
    client::package::{self, set_up},
    mesh::Mesh,
};
use tokio::process::Command;

use super::wire::able;
use echo_testing::skip;

/// What docs/clients.md tells a user to write, and what keeps this one from asking anybody else.
fn config(edge: &str) -> String {
    format!(
        r#"model = "able"
model_provider = "mesh"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false

[model_providers.mesh]
name = "mesh"
base_url = "{edge}/v1"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0

[analytics]
enabled = false

[features]
apps = false
plugins = false
"#
    )
}

/// Runs one task in an empty folder and tells what it said last.
async fn codex(program: &str, mesh: &Mesh, folder: &Path, task: &str) -> String {
    let edge = format!("http://{}", mesh.edge(0).address());
    let (home, work, last) = (folder.join("home"), folder.join("work"), folder.join("last.txt"));
    for folder in [&home, &work] {
        std::fs::create_dir(folder).expect("an empty folder");
    }
    std::fs::write(home.join("config.toml"), config(&edge)).expect("its settings");
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", &home).env("CODEX_HOME", &home).env("HTTPS_PROXY", "http://127.0.0.1:9");
    command.args(["exec", "--skip-git-repo-check", "--ephemeral", "--color", "never", "--cd"]).arg(&work);
    command.arg("--output-last-message").arg(&last).arg(task);
    package::run(command, &edge, "").await;
    std::fs::read_to_string(last).expect("what it said last")
}

#[tokio::test]
async fn codex_runs_the_command_that_a_model_asks_for_and_tells_what_it_says_then() {
    let program = match set_up("codex").await {
        Ok(program) => program,
        Err(why) => return skip::skip("codex", &why),
    };
    for api in [Api::Ollama, Api::Openai] {
        let mesh = able(api).await;
        let folder = tempfile::tempdir().expect("a folder");
        let task = r#"make it [call=exec_command {"cmd": "echo from $((40 + 2)) > made.txt"}] [tokens=5]"#;
        assert_eq!(codex(&program, &mesh, folder.path(), task).await.trim_end(), "t0 t1 t2 t3 t4", "{api:?}");
        let made = std::fs::read_to_string(folder.path().join("work/made.txt")).expect("the command ran");
        assert_eq!(made, "from 42\n", "{api:?}");
        let requests = mesh.engine(0).requests();
        let told = requests.last().expect("a request").body["messages"].to_string();
        assert!(told.contains("Process exited with code 0"), "{api:?}: its result comes back: {told}");
        mesh.is_quiet().await;
    }
}
