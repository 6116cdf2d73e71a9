//! nats-server out of the tarball of the upstream release.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tracing::{info, warn};

use super::pin::{self, Tarball, VERSION};

/// Where the releases lie.
pub(super) const UPSTREAM: &str = "https://github.com/nats-io/nats-server/releases/download";

/// A tarball is 7 MB; what is much larger is something else.
const LARGEST: u64 = 64 << 20;

/// Where the release cannot be reached there is another source, so nobody waits for long.
const CONNECT_PATIENCE: Duration = Duration::from_secs(4);
const READ_PATIENCE: Duration = Duration::from_secs(20);

/// Why the release is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no hash of it is pinned for this kind of machine")]
    Unpinned,
    #[error("cannot download it")]
    Download(#[from] reqwest::Error),
    #[error("the download has sha256 {found} instead of {expected}")]
    Hash { found: String, expected: &'static str },
    #[error("the download is larger than a release ever was")]
    TooLarge,
    #[error("the tarball holds no nats-server")]
    Empty,
    #[error("cannot write it to the cache")]
    Write(#[from] io::Error),
}

/// The tarball stays beside the server: it is what our hash is of, so the server is checked against it at each start.
fn places(cache: &Path) -> (PathBuf, PathBuf) {
    let folder = cache.join(format!("nats-server-{VERSION}"));
    (folder.join("release.tar.gz"), folder.join("nats-server"))
}

/// The cached server, if it is there and is what it should be.
pub(super) fn cached(cache: &Path) -> Option<PathBuf> {
    cached_of(cache, pin::tarball()?)
}

fn cached_of(cache: &Path, tarball: Tarball) -> Option<PathBuf> {
    let (archive, program) = places(cache);
    let found = sha256_of(&program).ok()?;
    let expected = sha256_of(&archive).ok().filter(|found| found == tarball.sha256).and_then(|_| {
        let mut digest = Sha256::new();
        unpack(&archive, &mut digest).ok()?;
        Some(hex(digest))
    });
    if expected == Some(found) {
        return Some(program);
    }
    warn!(path = %program.display(), "the cached nats-server is damaged; fetching it again");
    None
}

/// Fetches the tarball and puts it and the server in it into the cache. The caller holds the cache's lock.
pub(super) async fn fetch(releases: &str, cache: &Path) -> Result<PathBuf, Error> {
    fetch_of(releases, cache, pin::tarball().ok_or(Error::Unpinned)?).await
}

async fn fetch_of(releases: &str, cache: &Path, tarball: Tarball) -> Result<PathBuf, Error> {
    let url = format!("{releases}/v{VERSION}/nats-server-v{VERSION}-{}.tar.gz", tarball.machine);
    let (archive, program) = places(cache);
    let folder = cache.join(format!("nats-server-{VERSION}"));
    fs::create_dir_all(&folder)?;
    let mut downloaded = NamedTempFile::new_in(&folder)?;
    let found = download(&url, &mut downloaded).await?;
    if found != tarball.sha256 {
        return Err(Error::Hash { found, expected: tarball.sha256 });
    }
    let unpacked = tokio::task::spawn_blocking(move || {
        let mut server = NamedTempFile::new_in(&folder)?;
        unpack(downloaded.path(), &mut server)?;
        set_executable(server.as_file())?;
        // Closed before it gets its name: an open program cannot be run.
        let server = server.into_temp_path();
        downloaded.persist(archive).map_err(|error| error.error)?;
        server.persist(&program).map_err(|error| error.error)?;
        Ok(program)
    });
    unpacked.await.map_err(io::Error::other)?
}

/// The sha256 of what was downloaded.
async fn download(url: &str, into: &mut NamedTempFile) -> Result<String, Error> {
    info!(url, "downloading nats-server");
    // Somebody else in this process may have chosen a provider: then it is theirs.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client =
        reqwest::Client::builder().connect_timeout(CONNECT_PATIENCE).read_timeout(READ_PATIENCE).build()?;
    let mut answer = client.get(url).send().await?.error_for_status()?;
    let total = answer.content_length();
    let (mut digest, mut done, mut said) = (Sha256::new(), 0, Instant::now());
    while let Some(piece) = answer.chunk().await? {
        done += piece.len() as u64;
        if done > LARGEST {
            return Err(Error::TooLarge);
        }
        digest.update(&piece);
        into.write_all(&piece)?;
        if said.elapsed() > Duration::from_secs(1) {
            said = Instant::now();
            info!(done, total, "downloading nats-server, in bytes");
        }
    }
    into.flush()?;
    Ok(hex(digest))
}

/// Writes the server in the tarball to `into`; of the rest nothing is unpacked.
fn unpack(archive: &Path, into: &mut impl io::Write) -> Result<(), Error> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(archive)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let is_server = entry.path()?.file_name().is_some_and(|name| name == "nats-server");
        if is_server && entry.header().entry_type().is_file() {
            io::copy(&mut entry, into)?;
            return Ok(());
        }
    }
    Err(Error::Empty)
}

fn set_executable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o755))
}

/// The sha256 of a file, in hex.
pub(super) fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 1 << 18];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(digest)),
            length => digest.update(&piece[..length]),
        }
    }
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn tarball(name: &str, content: &[u8]) -> Vec<u8> {
        let mut archive =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, name, content).unwrap();
        archive.into_inner().unwrap().finish().unwrap()
    }

    fn known(bytes: &[u8]) -> Tarball {
        let mut digest = Sha256::new();
        digest.update(bytes);
        Tarball { machine: "test", sha256: hex(digest).leak() }
    }

    async fn releases_that_serve(bytes: Vec<u8>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    bytes.len()
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
            }
        });
        url
    }

    #[tokio::test]
    async fn a_release_is_fetched_checked_and_kept() {
        let cache = tempfile::tempdir().unwrap();
        let bytes = tarball("nats-server-v2-test/nats-server", b"the server");
        let tarball = known(&bytes);
        let program = fetch_of(&releases_that_serve(bytes).await, cache.path(), tarball).await.unwrap();
        assert_eq!(fs::read(&program).unwrap(), b"the server");
        assert_eq!(cached_of(cache.path(), tarball), Some(program.clone()));
        let left: Vec<_> = fs::read_dir(program.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
        fs::write(&program, b"another").unwrap();
        assert_eq!(cached_of(cache.path(), tarball), None);
    }

    #[tokio::test]
    async fn a_release_with_another_hash_leaves_nothing_behind() {
        let cache = tempfile::tempdir().unwrap();
        let releases = releases_that_serve(tarball("x/nats-server", b"evil")).await;
        let refused = fetch_of(&releases, cache.path(), known(b"what we know")).await.unwrap_err();
        assert!(matches!(refused, Error::Hash { .. }), "{refused}");
        let (archive, program) = places(cache.path());
        assert!(!archive.exists() && !program.exists());
        assert_eq!(fs::read_dir(program.parent().unwrap()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_tarball_without_a_server_is_refused() {
        let cache = tempfile::tempdir().unwrap();
        let bytes = tarball("x/README.md", b"nothing");
        let tarball = known(&bytes);
        let refused = fetch_of(&releases_that_serve(bytes).await, cache.path(), tarball).await.unwrap_err();
        assert!(matches!(refused, Error::Empty), "{refused}");
    }
}
