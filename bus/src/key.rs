//! Keys of the bus (nkeys, Ed25519): who a part is. The private part is made where it is used and never leaves that file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nkeys::{KeyPair, KeyPairType};
use serde::{Deserialize, Serialize};

use crate::id::ProcessId;
use crate::private_file::{self, Trouble};

/// A seed is a line of 58 characters; a file of credentials has two pages at most.
const LONGEST_SEED: usize = 256;
const LONGEST_CREDENTIALS: usize = 64 * 1024;

/// The public half of a user's nkey: `U` and 55 more of A-Z and 2-7.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(String);

/// Why a text is no public key of a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no public key: it begins with U and has 56 letters and digits, as `echo-mesh key` shows it"
)]
pub struct InvalidKey(String);

impl PublicKey {
    /// The checked text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The process that logs in with this key: the same at each start, so that what it may hear can be said beforehand.
    pub fn process(&self) -> ProcessId {
        let short = self.0[..20].to_ascii_lowercase();
        short.parse().expect("a key has letters and digits only")
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        let pair = (text.len() == 56).then(|| KeyPair::from_public_key(&text).ok()).flatten();
        match pair.map(|pair| pair.key_pair_type()) {
            Some(KeyPairType::User) => Ok(Self(text)),
            _ => Err(InvalidKey(text.chars().take(80).collect())),
        }
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        text.to_owned().try_into()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there is no key. Each is for a person to put right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the key file {} does not exist", .0.display())]
    Missing(PathBuf),
    #[error("cannot read the key file {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("cannot write the key file {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("others can read the key file {}; close it with: chmod 600 '{}'", .0.display(), .0.display())]
    Open(PathBuf),
    #[error("{} holds no user's nkey seed (a line that begins with SU)", .0.display())]
    NoSeed(PathBuf),
    #[error("{} holds no NATS credentials: a user's JWT and seed, as `nsc generate creds` writes them", .0.display())]
    NoCredentials(PathBuf),
}

impl Error {
    fn of(path: &Path, trouble: Trouble, malformed: fn(PathBuf) -> Self) -> Self {
        let path = path.to_owned();
        match trouble {
            Trouble::Missing => Self::Missing(path),
            Trouble::Open => Self::Open(path),
            Trouble::TooLong => malformed(path),
            Trouble::Io(source) => Self::Read(path, source),
        }
    }
}

/// The private half of a user's nkey.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed {
    text: String,
    public: PublicKey,
}

impl Seed {
    /// The key that the file holds.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = private_file::read(path, LONGEST_SEED);
        let text = text.map_err(|trouble| Error::of(path, trouble, Error::NoSeed))?;
        Self::of(text.trim()).ok_or_else(|| Error::NoSeed(path.to_owned()))
    }

    /// The key that the file holds; where there is no file, one is made, which only its owner can read.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read_or_create(path: &Path) -> Result<Self, Error> {
        match Self::read(path) {
            Err(Error::Missing(_)) => {}
            other => return other,
        }
        let made = KeyPair::new_user().seed().map_err(io::Error::other);
        let made = made.and_then(|seed| private_file::create(path, &format!("{seed}\n")));
        made.map_err(|source| Error::Write(path.to_owned(), source))?;
        Self::read(path)
    }

    /// The public half, which anybody may know.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The seed itself, for the login and nothing else.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    fn of(text: &str) -> Option<Self> {
        let public = KeyPair::from_seed(text).ok()?.public_key().parse().ok()?;
        Some(Self { text: text.to_owned(), public })
    }
}

/// Hidden: nobody means to log it.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed(of {})", self.public)
    }
}

/// Credentials of a NATS that somebody else runs: a JWT, and the seed of its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    text: String,
    seed: Seed,
}

impl Credentials {
    /// Those that the file holds.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = private_file::read(path, LONGEST_CREDENTIALS);
        let text = text.map_err(|trouble| Error::of(path, trouble, Error::NoCredentials))?;
        let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU")).and_then(Seed::of);
        let seed = seed.filter(|_| text.contains("BEGIN NATS USER JWT"));
        let seed = seed.ok_or_else(|| Error::NoCredentials(path.to_owned()))?;
        Ok(Self { text, seed })
    }

    /// The public half of their key.
    pub fn public(&self) -> &PublicKey {
        self.seed.public()
    }

    /// The file's text, for the login and nothing else.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }
}

/// Hidden: nobody means to log it.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    #[test]
    fn a_key_is_made_once_and_only_the_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/node.nk");
        let first = Seed::read_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Seed::read_or_create(&path).unwrap(), first);
        assert!(first.public().as_str().starts_with('U'));
        assert!(first.public().process().as_str().starts_with('u'));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Seed::read(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn starts_at_once_agree_on_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.nk");
        let made: Vec<Seed> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Seed::read_or_create(&path).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(made.iter().all(|seed| *seed == made[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
    }

    #[test]
    fn what_is_no_key_is_refused_and_a_seed_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.nk");
        let seed = Seed::read_or_create(&path).unwrap();
        assert!(!format!("{seed:?}").contains(seed.expose()));
        let account = KeyPair::new_account();
        for text in [String::new(), "SU".to_owned(), account.seed().unwrap(), "x".repeat(4096)] {
            crate::private_file::write(&path, &text).unwrap();
            assert!(matches!(Seed::read(&path), Err(Error::NoSeed(_))), "{text:?}");
        }
        for text in ["", "U", seed.expose(), &account.public_key(), &"é".repeat(28), &"U".repeat(56)] {
            assert!(text.parse::<PublicKey>().is_err(), "{text:?}");
        }
        assert_eq!(seed.public().as_str().parse(), Ok(seed.public().clone()));
    }
}
