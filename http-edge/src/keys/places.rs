//! How many tasks each client has, and how many of them wait. A count is a guard: whichever way a task ends, dropping it gives
//! its place back.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use echo_bus::id::ClientName;

use super::file::Entry;
use super::usage::{self, Usage};

/// The clients that have tasks.
#[derive(Debug)]
pub struct Places {
    held: Arc<Mutex<HashMap<ClientName, Held>>>,
    usage: Arc<Usage>,
}

/// What one client holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    tasks: u32,
    /// Those of them that no node has.
    waiting: u32,
}

/// Which limit of a key forbids another task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    AtOnce(u32),
    Waiting(u32),
    /// Until the day ends, in so many seconds.
    TokensADay {
        limit: u64,
        left_s: u64,
    },
}

/// The place of one task that has not ended.
pub struct Place {
    held: Arc<Mutex<HashMap<ClientName, Held>>>,
    usage: Arc<Usage>,
    client: ClientName,
    waits: bool,
}

impl Places {
    pub fn new(usage: Usage) -> Self {
        Self { held: Arc::default(), usage: Arc::new(usage) }
    }

    pub fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// The tasks of a client, and how many of them wait.
    #[cfg(test)]
    pub fn of(&self, client: &ClientName) -> (u32, u32) {
        let has = locked(&self.held).get(client).copied().unwrap_or_default();
        (has.tasks, has.waiting)
    }

    /// A place for a task, which no node has yet; `now` in seconds since 1970.
    pub fn take(&self, key: &Entry, now: u64) -> Result<Place, Denied> {
        if let Some(limit) = key.tokens_a_day.filter(|limit| self.usage.of(&key.name, now) >= *limit) {
            return Err(Denied::TokensADay { limit, left_s: usage::left_of_day(now) });
        }
        let mut held = locked(&self.held);
        let has = held.get(&key.name).copied().unwrap_or_default();
        if let Some(limit) = key.at_once.filter(|limit| has.tasks >= *limit) {
            return Err(Denied::AtOnce(limit));
        }
        if let Some(limit) = key.waiting.filter(|limit| has.waiting >= *limit) {
            return Err(Denied::Waiting(limit));
        }
        let has = Held { tasks: has.tasks + 1, waiting: has.waiting + 1 };
        held.insert(key.name.clone(), has);
        let (client, usage) = (key.name.clone(), self.usage.clone());
        Ok(Place { held: self.held.clone(), usage, client, waits: true })
    }
}

impl Place {
    /// No node has the task, or one does.
    pub fn waits(&mut self, waits: bool) {
        if std::mem::replace(&mut self.waits, waits) == waits {
            return;
        }
        if let Some(has) = locked(&self.held).get_mut(&self.client) {
            has.waiting = if waits { has.waiting + 1 } else { has.waiting.saturating_sub(1) };
        }
    }

    /// What the task has taken in tokens.
    pub fn charge(&self, tokens: u64) {
        self.usage.charge(&self.client, tokens, usage::now());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = locked(&self.held);
        if let Slot::Occupied(mut slot) = held.entry(self.client.clone()) {
            let has = slot.get_mut();
            has.tasks = has.tasks.saturating_sub(1);
            has.waiting = has.waiting.saturating_sub(u32::from(self.waits));
            if has.tasks == 0 {
                slot.remove();
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("client", &self.client).field("waits", &self.waits).finish()
    }
}

fn locked(held: &Mutex<HashMap<ClientName, Held>>) -> MutexGuard<'_, HashMap<ClientName, Held>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Entry {
        Entry::new(name.parse().unwrap(), name, 0)
    }

    fn places() -> Places {
        Places::new(Usage::nowhere())
    }

    #[test]
    fn a_client_has_so_many_tasks_and_so_many_that_wait_whatever_another_has() {
        let places = places();
        let ada = Entry { at_once: Some(3), waiting: Some(2), ..key("ada") };
        let mut first = places.take(&ada, 0).unwrap();
        let _second = places.take(&ada, 0).unwrap();
        assert_eq!(places.take(&ada, 0).unwrap_err(), Denied::Waiting(2));
        first.waits(false);
        let third = places.take(&ada, 0).unwrap();
        assert_eq!(places.take(&ada, 0).unwrap_err(), Denied::AtOnce(3));
        let _other = places.take(&key("bob"), 0).unwrap();
        drop(third);
        places.take(&ada, 0).unwrap();
    }

    #[test]
    fn the_tokens_of_a_day_are_used_up_by_what_was_answered_and_the_next_day_has_its_own() {
        let places = places();
        let ada = Entry { tokens_a_day: Some(100), ..key("ada") };
        let (noon, tomorrow) = (usage::DAY_S / 2, usage::DAY_S);
        places.usage.charge(&ada.name, 99, noon);
        let place = places.take(&ada, noon).unwrap();
        places.usage.charge(&ada.name, 50, noon);
        drop(place);
        let denied = Denied::TokensADay { limit: 100, left_s: usage::DAY_S / 2 };
        assert_eq!(places.take(&ada, noon).unwrap_err(), denied);
        places.take(&ada, tomorrow).unwrap();
    }

    proptest! {
        #[test]
        fn counts_are_those_of_the_tasks_that_are_there_whatever_happens_to_them(
            happenings in prop::collection::vec((0..4_u8, 0..2_u8, any::<prop::sample::Index>()), 0..200),
        ) {
            let places = places();
            let keys = [Entry { at_once: Some(5), waiting: Some(3), ..key("a") }, key("b")];
            let mut tasks: Vec<Place> = Vec::new();
            for (what, whose, which) in happenings {
                match what {
                    0 => {
                        let own = |place: &&Place| place.client == keys[usize::from(whose)].name;
                        let (all, waiting) = (tasks.iter().filter(own).count(), tasks.iter().filter(own).filter(|it| it.waits).count());
                        let taken = places.take(&keys[usize::from(whose)], 0);
                        prop_assert_eq!(taken.is_ok(), whose == 1 || (all < 5 && waiting < 3));
                        tasks.extend(taken.ok());
                    }
                    1 | 2 if !tasks.is_empty() => {
                        let at = which.index(tasks.len());
                        tasks[at].waits(what == 1);
                    }
                    3 if !tasks.is_empty() => drop(tasks.swap_remove(which.index(tasks.len()))),
                    _ => {}
                }
                for key in &keys {
                    let own: Vec<_> = tasks.iter().filter(|place| place.client == key.name).collect();
                    let has = locked(&places.held).get(&key.name).copied().unwrap_or_default();
                    let waiting = own.iter().filter(|place| place.waits).count();
                    prop_assert_eq!((has.tasks as usize, has.waiting as usize), (own.len(), waiting));
                }
            }
            tasks.clear();
            prop_assert!(locked(&places.held).is_empty(), "nothing is left of clients without tasks");
        }
    }
}
