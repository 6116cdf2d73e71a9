//! The mesh's shared secret: kept in a file that only its owner can read, and shown nowhere.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;

/// A secret is a line; whatever is longer is something else.
const LONGEST: usize = 1024;

/// The shared secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why there is no secret. Each is for a person to put right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the secret file {} does not exist; copy it here from the machine of the broker, which has made it", .0.display())]
    Missing(PathBuf),
    #[error("cannot read the secret file {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("cannot write the secret file {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("others can read the secret file {}; close it with: chmod 600 '{}'", .0.display(), .0.display())]
    Open(PathBuf),
    #[error("the secret file {} is empty; remove it, and the broker makes a new one", .0.display())]
    Empty(PathBuf),
    #[error(
        "the secret file {} must hold one word of {SHORTEST} to {LONGEST} letters, digits and - _ . ~ + / =; \
         remove it, and the broker makes a new one", .0.display()
    )]
    Malformed(PathBuf),
}

impl Secret {
    /// The secret that the file holds.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing(path.to_owned()),
            _ => Error::Read(path.to_owned(), source),
        };
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.mode() & 0o077 != 0 {
            return Err(Error::Open(path.to_owned()));
        }
        let mut text = String::new();
        // With the end of its line.
        let most = LONGEST + 2;
        file.take(most as u64 + 1).read_to_string(&mut text).map_err(failed)?;
        match text.trim() {
            _ if text.len() > most => Err(Error::Malformed(path.to_owned())),
            "" => Err(Error::Empty(path.to_owned())),
            secret if is_secret(secret) => Ok(Self(secret.to_owned())),
            _ => Err(Error::Malformed(path.to_owned())),
        }
    }

    /// The secret that the file holds; where there is no file, one is made, of which only the owner can read.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read_or_create(path: &Path) -> Result<Self, Error> {
        match Self::read(path) {
            Err(Error::Missing(_)) => {}
            other => return other,
        }
        create(path).map_err(|source| Error::Write(path.to_owned(), source))?;
        Self::read(path)
    }

    /// The secret that somebody else has made; `None` if the text can be none.
    pub fn of(text: String) -> Option<Self> {
        is_secret(&text).then_some(Self(text))
    }

    /// Writes it to a file that only its owner can read, in place of what is there.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let written = sealed(path, &self.0).and_then(|(file, path)| Ok(file.persist(path).map(drop)?));
        written.map_err(|source| Error::Write(path.to_owned(), source))
    }

    /// The secret itself, for the login and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Hidden: nobody means to log it.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What survives a configuration file, a URL and a shell without quotes.
fn is_secret(text: &str) -> bool {
    (SHORTEST..=LONGEST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(&byte))
}

/// Whole or not at all: two starts at once agree on the one that was first.
fn create(path: &Path) -> io::Result<()> {
    let bytes: [u8; 32] = rand::random();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (file, path) = sealed(path, &hex)?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

/// A new file beside `path` with this line, closed to others; not yet in its place.
fn sealed<'path>(path: &'path Path, line: &str) -> io::Result<(tempfile::NamedTempFile, &'path Path)> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
    writeln!(file, "{line}")?;
    Ok((file, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn it_is_made_once_and_only_the_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/secret");
        let first = Secret::read_or_create(&path).unwrap();
        assert_eq!(first.expose().len(), 64);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Secret::read_or_create(&path).unwrap(), first);
        assert_eq!(Secret::read(&path).unwrap(), first);
    }

    #[test]
    fn starts_at_once_agree_on_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let made: Vec<Secret> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Secret::read_or_create(&path).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(made.iter().all(|secret| *secret == made[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
    }

    #[test]
    fn a_file_that_is_open_to_others_is_refused_with_the_cure() {
        let (_folder, path) = written("0123456789abcdef0123", 0o640);
        let refused = Secret::read(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let (_folder, path) = written(" \n", 0o600);
        assert!(matches!(Secret::read_or_create(&path), Err(Error::Empty(_))));
        for text in ["short", "0123456789 0123456789", "0123456789\"0123456789", "0123456789$0123456789"] {
            let (_folder, path) = written(text, 0o600);
            assert!(matches!(Secret::read_or_create(&path), Err(Error::Malformed(_))), "{text}");
        }
        // What one machine reads from its file, another takes from it.
        for (length, good) in [(LONGEST, true), (LONGEST + 1, false), (5000, false)] {
            let text = "a".repeat(length);
            let (_folder, path) = written(&format!("{text}\r\n"), 0o600);
            assert_eq!((Secret::read(&path).is_ok(), Secret::of(text).is_some()), (good, good), "{length}");
        }
        let (folder, _) = written("", 0o600);
        assert!(matches!(Secret::read(&folder.path().join("none")), Err(Error::Missing(_))));
    }

    #[test]
    fn one_that_was_received_takes_the_place_of_the_old_one_and_stays_closed() {
        let (_folder, path) = written("0123456789abcdef0123", 0o644);
        let secret = Secret::of("abcdefghijklmnopqrst".into()).unwrap();
        secret.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Secret::read(&path).unwrap(), secret);
        for text in ["", "short", "0123456789 0123456789", "0123456789\n0123456789", &"a".repeat(1025)] {
            assert!(Secret::of(text.into()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn it_is_never_shown() {
        let (_folder, path) = written("0123456789abcdef0123", 0o600);
        let secret = Secret::read(&path).unwrap();
        assert!(!format!("{secret:?} {secret}").contains("0123"));
    }
}
