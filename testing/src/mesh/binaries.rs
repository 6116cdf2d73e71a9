//! Where the programs under test are: beside the test that runs.

use std::path::{Path, PathBuf};

/// A program of the workspace, out of the same target folder and profile as this test.
///
/// # Panics
/// When it has not been built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its program");
    // target/release/deps/mesh-…, target/release/examples/… or, for the benchmark, target/release/echo-bench
    let beside = test.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let program = beside.clone().find(|program| program.is_file()).or(beside.last());
    let program = program.expect("a program lies in a folder");
    let release = if cfg!(debug_assertions) { "" } else { " --release" };
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build --workspace{release}` first",
        program.display()
    );
    program
}

/// The root of the workspace, where nats.conf and the scripts are.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("this crate lies in the workspace").to_owned()
}
