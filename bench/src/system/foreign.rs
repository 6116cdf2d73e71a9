//! The systems of others: where they are found, and in which version.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
};

use anyhow::Context;

use super::Kind;

/// The versions from PyPI that are measured, and the program that each installs.
pub const PINNED: [(Kind, &str, &str); 3] = [
    (Kind::VllmRouter, "vllm-router==0.1.17", "vllm-router"),
    (Kind::SglangRouter, "sglang-router==0.3.2", "python"),
    (Kind::Litellm, "litellm[proxy]==1.89.7", "litellm"),
];

/// The program of a foreign system, if it is installed.
pub fn program(kind: Kind) -> Option<PathBuf> {
    let pinned = PINNED.into_iter().find(|(pinned, ..)| *pinned == kind);
    match pinned {
        Some((_, package, program)) => {
            let folder = venv(package)?;
            let complete = folder.join("complete").is_file();
            Some(folder.join("bin").join(program)).filter(|_| complete)
        }
        None => on_path(kind.name()),
    }
}

/// Every pinned package and the folder that it belongs into, for the script that installs them.
pub fn packages() -> String {
    let lines = PINNED.into_iter().filter_map(|(kind, package, _)| {
        Some(format!("{}\t{package}\t{}\n", kind.name(), venv(package)?.display()))
    });
    lines.collect()
}

/// The folder of a pinned package: its name says the version, so another version is another folder.
pub fn venv(package: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("ECHO_CACHE_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cache/echo-system"));
    let name: String =
        package.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    Some(cache.or_else(home)?.join("bench").join(name))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where distributions put servers is not on every user's PATH.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// What it says of its own version.
pub fn version(kind: Kind) -> Option<String> {
    if let Some((_, package, _)) = PINNED.into_iter().find(|(pinned, ..)| *pinned == kind) {
        return Some(package.replace("==", " "));
    }
    let output = Command::new(program(kind)?).arg("-v").output().ok()?;
    // nginx says it on stderr.
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Some(said.lines().next().unwrap_or_default().trim().to_owned())
}

/// A program that must be there.
pub fn command(kind: Kind) -> anyhow::Result<Command> {
    let program = program(kind).with_context(|| format!("{} is not installed", kind.name()))?;
    Ok(Command::new(program))
}

/// An address that nobody listens on now.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("loopback has no free port")?;
    Ok(listener.local_addr()?)
}
