//! The real clients of all three APIs, which `testing/clients/setup.sh` installs.

use std::{path::PathBuf, process::Stdio};

use tokio::{process::Command, sync::Mutex};

/// One installation at a time: the tests that come meanwhile find what the first has installed.
static INSTALLING: Mutex<()> = Mutex::const_new(());

/// So much of what the set-up says tells why it failed.
const LINES: usize = 5;

/// Where their scripts are.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// What the set-up prints: for `python` a Python that can import them, for `node` their folder, for `codex` its program.
///
/// # Errors
/// Why there is nothing.
pub async fn set_up(what: &str) -> Result<String, String> {
    let _alone = INSTALLING.lock().await;
    let output = Command::new(folder().join("setup.sh")).arg(what).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(reason(&String::from_utf8_lossy(&output.stderr)))
}

/// The last lines, as one: the set-up's own word stands behind those of pip or npm.
fn reason(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join(" / ")
}

/// Runs a client's script to its end.
///
/// # Panics
/// With all that it says, when it fails.
pub async fn run(mut command: Command, edge: &str, engine: &str) {
    command.env("ECHO_EDGE_URL", edge).env("ECHO_ENGINE_URL", engine).env("PYTHONDONTWRITEBYTECODE", "1");
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "OPENAI_BASE_URL",
        "OLLAMA_HOST",
        "ANTHROPIC_BASE_URL",
    ] {
        command.env_remove(name);
    }
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("the client runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_with_the_words_before_it() {
        assert_eq!(
            reason("1\n2\n3\n\n4\nERROR: no network\nsee above\n"),
            "2 / 3 / 4 / ERROR: no network / see above"
        );
        assert_eq!((reason("one"), reason("")), ("one".to_owned(), String::new()));
    }
}
