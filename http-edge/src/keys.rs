//! API keys: whose request it is, and what that client may have. The file of keys is written by `echo-mesh keys` only; the edge
//! reads it again when it has changed, and keeps the last good one when it cannot be read.
//!
//! Nothing here holds a key. What a client sends is hashed and looked up by the hash, so no comparison tells by its time how
//! much of a guess was right.

pub mod file;
mod guesses;
pub mod places;
pub mod usage;

use std::collections::HashMap;
use std::error::Error as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use echo_bus::message::unix_millis;
use tracing::{error, info};

use file::{Digest, Entry, KeyFile};
use guesses::Guesses;
use places::Places;
use usage::Usage;

pub use places::{Denied, Place};

/// How old the knowledge of the file may be.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is said that the file cannot be read.
const SAY: Duration = Duration::from_secs(60);

/// The keys of an edge.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    known: Mutex<Known>,
    places: Places,
    guesses: Guesses,
}

#[derive(Debug)]
struct Known {
    by_digest: Arc<HashMap<Digest, Arc<Entry>>>,
    /// Of the file as it was read last, be it in vain.
    stamp: Option<Stamp>,
    looked: Instant,
    /// When it was last said that the file cannot be read; absent while it can.
    said: Option<Instant>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let about = std::fs::metadata(path).ok()?;
        let changed = (about.ctime(), about.ctime_nsec());
        Some(Self { device: about.dev(), inode: about.ino(), bytes: about.len(), changed })
    }
}

/// What a key that a client has sent is good for.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    Good(Arc<Entry>),
    Expired(Arc<Entry>),
    Unknown,
}

impl Keys {
    /// The keys of this file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path) -> Result<Arc<Self>, file::Error> {
        // What is written between these two is read again.
        let stamp = Stamp::of(path);
        let by_digest = Arc::new(by_digest(KeyFile::read(path)?));
        let known = Known { by_digest, stamp, looked: Instant::now(), said: None };
        let places = Places::new(Usage::read(path));
        let guesses = Guesses::default();
        Ok(Arc::new(Self { path: path.to_owned(), known: Mutex::new(known), places, guesses }))
    }

    /// Whose key this is.
    pub fn find(&self, key: &str) -> Found {
        let digest = Digest::of(key);
        let known = self.known(Instant::now());
        match known.get(&digest) {
            None => Found::Unknown,
            Some(entry) if entry.has_expired(unix_millis() / 1000) => Found::Expired(entry.clone()),
            Some(entry) => Found::Good(entry.clone()),
        }
    }

    /// How long whoever sent a wrong key from this address waits for the answer.
    pub fn wrong(&self, address: Option<IpAddr>) -> Duration {
        self.guesses.wrong(address, Instant::now())
    }

    /// A place for one more task of this client.
    ///
    /// # Errors
    /// Which of its limits forbids it.
    pub fn place(&self, entry: &Entry) -> Result<Place, Denied> {
        self.places.take(entry, unix_millis() / 1000)
    }

    /// What the clients have used, for who keeps it.
    pub fn usage(&self) -> &Arc<Usage> {
        self.places.usage()
    }

    fn known(&self, now: Instant) -> Arc<HashMap<Digest, Arc<Entry>>> {
        let mut known = self.locked();
        if now.duration_since(known.looked) >= LOOK {
            known.looked = now;
            known.look(&self.path, now);
        }
        known.by_digest.clone()
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn look(&mut self, path: &Path, now: Instant) {
        let stamp = Stamp::of(path);
        let is_due = self.said.is_some_and(|said| now.duration_since(said) >= SAY);
        if stamp.is_some() && stamp == self.stamp && !is_due {
            return;
        }
        let shown = path.display();
        match KeyFile::read(path) {
            Ok(file) => {
                self.by_digest = Arc::new(by_digest(file));
                (self.stamp, self.said) = (stamp, None);
                info!(file = %shown, keys = self.by_digest.len(), "the keys have changed");
            }
            Err(why) => {
                // A missing file has no stamp by which the next look could tell that nothing is new.
                if stamp != self.stamp || is_due || self.said.is_none() {
                    error!(file = %shown, %why, source = why.source(), "the keys cannot be read: those that were known stay in force, and none is revoked");
                    self.said = Some(now);
                }
                self.stamp = stamp;
            }
        }
    }
}

fn by_digest(file: KeyFile) -> HashMap<Digest, Arc<Entry>> {
    file.keys.into_iter().map(|entry| (entry.sha256, Arc::new(entry))).collect()
}

#[cfg(test)]
mod tests;
