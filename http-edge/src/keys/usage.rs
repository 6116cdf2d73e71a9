//! How many tokens each client has had today (UTC), and the small file beside the keys in which that outlives the edge.
//!
//! It is written every ten seconds while it changes and when the edge stops, so an edge that is killed forgets that much.
//! Several edges may have the same file of keys: each adds to the file what it has counted since, and learns what others have.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use echo_bus::id::ClientName;
use echo_bus::message::unix_millis;
use echo_bus::private_file;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::warn;

use super::file::lock;

pub const DAY_S: u64 = 24 * 60 * 60;
/// At least so long lies between two times that it is written.
const PAUSE: Duration = Duration::from_secs(10);
/// Bytes of the file, with a line for each of as many clients as there are keys.
const LARGEST: u64 = 1 << 20;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Days since 1970.
    day: u64,
    tokens: HashMap<ClientName, u64>,
}

/// What clients have used today.
#[derive(Debug)]
pub struct Usage {
    path: Option<PathBuf>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// As the file was last.
    written: Used,
    /// What has come since.
    since: Used,
}

/// In seconds since 1970.
pub fn now() -> u64 {
    unix_millis() / 1000
}

/// The seconds until the next day begins.
pub fn left_of_day(now: u64) -> u64 {
    DAY_S - now % DAY_S
}

/// What was used today, as far as the edges of these keys have written it down.
pub fn known(keys: &Path) -> HashMap<ClientName, u64> {
    let used = Used::read(&beside(keys)).unwrap_or_default();
    if used.day == now() / DAY_S { used.tokens } else { HashMap::new() }
}

fn beside(keys: &Path) -> PathBuf {
    keys.with_extension("used.json")
}

impl Used {
    fn read(path: &Path) -> io::Result<Self> {
        let mut text = String::new();
        match fs::File::open(path) {
            Ok(file) => file.take(LARGEST).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        Ok(serde_json::from_str(&text)?)
    }

    /// A new day begins with nothing.
    fn on(&mut self, day: u64) -> &mut Self {
        if self.day != day {
            *self = Self { day, tokens: HashMap::new() };
        }
        self
    }

    fn of(&self, client: &ClientName, day: u64) -> u64 {
        if self.day == day { self.tokens.get(client).copied().unwrap_or_default() } else { 0 }
    }
}

impl Usage {
    /// Beside this file of keys.
    pub fn read(keys: &Path) -> Self {
        let path = beside(keys);
        let written = Used::read(&path).unwrap_or_else(|why| {
            warn!(file = %path.display(), %why, "what clients have used today cannot be read, and counts from nothing");
            Used::default()
        });
        let state = Mutex::new(State { written, since: Used::default() });
        Self { path: Some(path), state, changed: Notify::new() }
    }

    #[cfg(test)]
    pub fn nowhere() -> Self {
        Self { path: None, state: Mutex::default(), changed: Notify::new() }
    }

    /// A client has had so many tokens.
    pub fn charge(&self, client: &ClientName, tokens: u64, now: u64) {
        if tokens == 0 {
            return;
        }
        let mut state = self.state();
        let used = state.since.on(now / DAY_S).tokens.entry(client.clone()).or_default();
        *used = used.saturating_add(tokens);
        self.changed.notify_one();
    }

    /// What a client has had on the day of `now`.
    pub fn of(&self, client: &ClientName, now: u64) -> u64 {
        let (state, day) = (self.state(), now / DAY_S);
        state.written.of(client, day).saturating_add(state.since.of(client, day))
    }

    /// Writes it down from time to time, and sleeps while nothing changes.
    pub async fn keep(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            tokio::time::sleep(PAUSE).await;
            let usage = self.clone();
            let _ = tokio::task::spawn_blocking(move || usage.write()).await;
        }
    }

    /// Writes down what has come since the last time.
    pub fn write(&self) {
        let Some(path) = &self.path else { return };
        if let Err(why) = self.write_to(path) {
            warn!(file = %path.display(), %why, "what clients have used today cannot be written");
        }
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        let since = self.state().since.clone();
        if since.tokens.is_empty() {
            return Ok(());
        }
        let _lock = lock(path)?;
        // What cannot be read is of no use to anybody, and is written anew.
        let mut used = Used::read(path).unwrap_or_default();
        for (client, tokens) in &since.tokens {
            let of = used.on(since.day).tokens.entry(client.clone()).or_default();
            *of = of.saturating_add(*tokens);
        }
        private_file::write(path, &serde_json::to_string(&used)?)?;
        let mut state = self.state();
        // More may have come meanwhile.
        if state.since.day == since.day {
            for (client, tokens) in since.tokens {
                if let Some(left) = state.since.tokens.get_mut(&client) {
                    *left = left.saturating_sub(tokens);
                }
            }
            state.since.tokens.retain(|_, tokens| *tokens > 0);
        }
        state.written = used;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_outlives_an_edge_and_two_edges_of_the_same_keys_count_together() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys.json");
        let (ada, now) = ("ada".parse().unwrap(), now());
        let (first, second) = (Usage::read(&keys), Usage::read(&keys));
        first.charge(&ada, 5, now);
        second.charge(&ada, 7, now);
        first.write();
        second.write();
        assert_eq!((first.of(&ada, now), second.of(&ada, now)), (5, 12));
        second.charge(&ada, 1, now);
        second.write();
        assert_eq!(Usage::read(&keys).of(&ada, now), 13);
        assert_eq!(known(&keys).get(&ada), Some(&13));
        assert_eq!(second.of(&ada, now + DAY_S), 0, "tomorrow");
    }

    #[test]
    fn a_file_that_is_nonsense_counts_from_nothing_and_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys.json");
        fs::write(beside(&keys), "{").unwrap();
        let (ada, now) = ("ada".parse().unwrap(), now());
        let usage = Usage::read(&keys);
        usage.charge(&ada, 5, now);
        usage.write();
        assert_eq!(Usage::read(&keys).of(&ada, now), 5);
    }
}
