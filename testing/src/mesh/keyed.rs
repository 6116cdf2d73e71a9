//! Edges that want API keys, and the keys for them.

use std::path::Path;
use std::process::Output;

use super::{Program, binaries};

/// `echo-mesh keys` with these words, about the keys in this file.
///
/// # Panics
/// When it does not run.
pub fn keys(file: &Path, args: &[&str]) -> Output {
    let mut command = binaries::part("keys");
    command.args(args).arg("--keys").arg(file).env("ECHO_CONFIG", "/dev/null");
    command.output().expect("echo-mesh keys runs")
}

/// A new key in this file, with these limits.
///
/// # Panics
/// When it is not made, or shown more than once.
pub fn add_key(file: &Path, name: &str, limits: &[&str]) -> String {
    let output = keys(file, &[&["add", name], limits].concat());
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert!(!err.contains(out.trim()), "the key is printed once");
    out.trim().to_owned()
}

/// One more edge of the mesh on this bus, which wants the keys in this file; not started.
pub fn keyed_edge(bus: &str, keys: &Path, more: &[&str]) -> Program {
    let keys = keys.to_string_lossy();
    let args = ["--nats", bus, "--listen", "127.0.0.1:0", "--keys", &keys];
    let args = args.iter().chain(more).map(|&arg| arg.to_owned()).collect();
    Program::new("edge with keys", "edge", args)
}
