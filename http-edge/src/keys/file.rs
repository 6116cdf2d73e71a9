//! The file of keys: JSON that only its owner reads, written whole, by one writer at a time.
//!
//! A key has 256 random bits. Nobody finds those by trying, so a plain hash is enough: slow hashes are for words that people
//! choose.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use echo_bus::id::ClientName;
use echo_bus::model_pattern::Patterns;
use echo_bus::private_file::{self, Trouble};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes of the file, and keys in it.
const LARGEST: usize = 4 << 20;
const MOST: usize = 4096;

/// By what a key is known for one, to people and to programs that look for secrets.
const PREFIX: &str = "echo-";

/// Why the keys cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is not there: make a key with `echo-mesh keys add NAME --keys {0}`")]
    Missing(PathBuf),
    #[error("{0} can be read by others: chmod 600 {0}")]
    Open(PathBuf),
    #[error("{0} has more than {LARGEST} bytes")]
    TooLong(PathBuf),
    #[error("{0} cannot be read or written")]
    Io(PathBuf, #[source] io::Error),
    #[error("{0} is no file of keys: {1}")]
    Malformed(PathBuf, String),
}

/// All keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
// A limit that this version does not know must not be overlooked.
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    pub keys: Vec<Entry>,
}

/// One key: whose it is, and what it is good for. An absent limit is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: ClientName,
    pub sha256: Digest,
    /// In seconds since 1970.
    pub created: u64,
    /// From then on it is good for nothing; in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// The models that it is good for.
    #[serde(default, skip_serializing_if = "Patterns::is_all")]
    pub models: Patterns,
    /// Tasks that have not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
    /// Those of them that no node has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    /// Of prompts and answers together, a day in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_a_day: Option<u64>,
    /// Whether it is good for what changes the mesh: draining nodes, pulling and deleting models, ending tasks of others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub manage: bool,
}

impl Entry {
    /// Without limits.
    pub fn new(name: ClientName, key: &str, created: u64) -> Self {
        Self {
            name,
            sha256: Digest::of(key),
            created,
            expires: None,
            models: Patterns::default(),
            at_once: None,
            waiting: None,
            tokens_a_day: None,
            manage: false,
        }
    }

    /// Whether it was good until before `now`, in seconds since 1970.
    pub fn has_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

/// The text of a key with these random bytes.
pub fn text(random: &[u8; 32]) -> String {
    format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random))
}

/// SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let wrong = "a SHA-256 has 64 hexadecimal digits";
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong)?;
        }
        Ok(Self(digest))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl KeyFile {
    /// What the file says.
    ///
    /// # Errors
    /// It is not there, open to others, too large, or something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = private_file::read(path, LARGEST).map_err(|trouble| match trouble {
            Trouble::Missing => Error::Missing(path.to_owned()),
            Trouble::Open => Error::Open(path.to_owned()),
            Trouble::TooLong => Error::TooLong(path.to_owned()),
            Trouble::Io(error) => Error::Io(path.to_owned(), error),
        })?;
        let file: Self = serde_json::from_str(&text)
            .map_err(|error| Error::Malformed(path.to_owned(), error.to_string()))?;
        file.check().map_err(|why| Error::Malformed(path.to_owned(), why))?;
        Ok(file)
    }

    fn check(&self) -> Result<(), String> {
        if self.keys.len() > MOST {
            return Err(format!("it has {} keys, and {MOST} are taken", self.keys.len()));
        }
        let (mut names, mut digests) = (HashSet::new(), HashSet::new());
        match self.keys.iter().find(|key| !(names.insert(&key.name) && digests.insert(key.sha256))) {
            Some(twice) => Err(format!("{} stands in it twice", twice.name)),
            None => Ok(()),
        }
    }

    /// Changes the file, or makes it, as nobody else does at the same time. Nothing is written where the change fails.
    ///
    /// # Errors
    /// As for [`KeyFile::read`], and as the change says.
    pub fn change<T, E: From<Error>>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let failed = |error| Error::Io(path.to_owned(), error);
        let _lock = lock(path).map_err(failed)?;
        let mut file = match Self::read(path) {
            Err(Error::Missing(_)) => Self::default(),
            read => read?,
        };
        let changed = change(&mut file)?;
        file.check().map_err(|why| Error::Malformed(path.to_owned(), why))?;
        let text = serde_json::to_string_pretty(&file).map_err(io::Error::from).map_err(failed)?;
        private_file::write(path, &format!("{text}\n")).map_err(failed)?;
        Ok(changed)
    }
}

/// Held while something beside the keys is read, changed and written.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(PathBuf::from(beside))?;
    file.lock()?;
    Ok(file)
}
