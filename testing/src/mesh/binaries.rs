//! Where the programs under test are: beside the test or program that runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Where programs are taken from, if not from beside this one.
static ELSEWHERE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// From now on programs are those of this folder, such as an older state's; `None`: those beside this one.
pub fn take_from(folder: Option<PathBuf>) {
    *ELSEWHERE.lock().unwrap_or_else(PoisonError::into_inner) = folder;
}

/// A program of the workspace, out of the same target folder and profile as this one, or from where [`take_from`] says.
///
/// # Panics
/// When it has not been built.
pub fn program(name: &str) -> PathBuf {
    if let Some(folder) = ELSEWHERE.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        return folder.join(name);
    }
    let own = std::env::current_exe().expect("a process knows its program");
    let beside = own.parent().expect("a program lies in a folder");
    // A test is target/release/deps/mesh-… or target/release/examples/…, a program target/release/echo-….
    let above = beside.parent().expect("a test lies in the target folder");
    let folder = if beside.join(name).is_file() { beside } else { above };
    let program = folder.join(name);
    let release = if cfg!(debug_assertions) { "" } else { " --release" };
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build --workspace{release}` first",
        program.display()
    );
    program
}

/// A part of the mesh: `echo-mesh` with the part's name as its command, or, in an older state, a program of its own.
///
/// # Panics
/// When it has not been built.
pub fn part(name: &str) -> Command {
    if let Some(folder) = ELSEWHERE.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        let own = folder.join(format!("echo-{name}"));
        if own.is_file() {
            return Command::new(own);
        }
    }
    let mut command = Command::new(program("echo-mesh"));
    command.arg(name);
    command
}

/// The nats-server that `echo-mesh broker` would run.
///
/// # Panics
/// When there is none and none can be fetched.
pub fn nats_server() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let fetched = part("broker").arg("fetch").output().expect("echo-mesh broker fetch");
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        PathBuf::from(String::from_utf8_lossy(&fetched.stdout).trim())
    };
    FOUND.get_or_init(find).clone()
}

/// The root of the workspace, where nats.conf and the scripts are.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("this crate lies in the workspace").to_owned()
}
