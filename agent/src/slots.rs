//! How many tasks run at once. A slot gives itself back when it is dropped, whatever ended its task.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use echo_bus::id::AttemptId;
use tokio::sync::Notify;

#[derive(Debug)]
struct State {
    limit: u32,
    active: BTreeSet<AttemptId>,
}

/// The slots of this node; cheap to clone.
#[derive(Debug, Clone)]
pub struct Slots {
    state: Arc<Mutex<State>>,
    freed: Arc<Notify>,
}

/// A taken slot.
#[derive(Debug)]
pub struct Slot {
    key: AttemptId,
    slots: Slots,
}

impl Slots {
    /// As many free slots.
    pub fn new(limit: u32) -> Self {
        let state = State { limit: limit.max(1), active: BTreeSet::new() };
        Self { state: Arc::new(Mutex::new(state)), freed: Arc::new(Notify::new()) }
    }

    /// A slot for this attempt, if one is free and the attempt has none yet.
    pub fn take(&self, key: AttemptId) -> Option<Slot> {
        let mut state = self.state();
        let free = state.active.len() < state.limit as usize;
        (free && state.active.insert(key)).then(|| Slot { key, slots: self.clone() })
    }

    /// The attempts that have a slot.
    pub fn active(&self) -> Vec<AttemptId> {
        self.state().active.iter().copied().collect()
    }

    /// The number of attempts that have a slot.
    pub fn taken(&self) -> usize {
        self.state().active.len()
    }

    /// How many there are.
    pub fn limit(&self) -> u32 {
        self.state().limit
    }

    /// The engine says how many it really has. Running tasks keep theirs.
    pub fn set_limit(&self, limit: u32) {
        self.state().limit = limit.max(1);
    }

    /// Whether none is free.
    pub fn full(&self) -> bool {
        let state = self.state();
        state.active.len() >= state.limit as usize
    }

    /// Waits until a slot has been given back. Cancel-safe.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.state().active.remove(&self.key);
        self.slots.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_bus::id::TaskId;
    use proptest::prelude::*;

    fn key(task: u128) -> AttemptId {
        AttemptId { task: TaskId::from_u128(task), attempt: 1 }
    }

    #[test]
    fn a_panic_gives_the_slot_back() {
        let slots = Slots::new(1);
        let slot = slots.take(key(1));
        assert!(slots.take(key(2)).is_none() && slots.full());
        let held = std::thread::spawn(move || {
            let _slot = slot;
            panic!("on purpose");
        });
        assert!(held.join().is_err());
        assert!(slots.take(key(2)).is_some());
    }

    proptest! {
        #[test]
        fn counts_never_drift(steps in prop::collection::vec((0u128..8, any::<bool>()), 0..200), limit in 1u32..6) {
            let slots = Slots::new(limit);
            let mut held = std::collections::BTreeMap::new();
            for (task, take) in steps {
                if take {
                    let free = held.len() < limit as usize && !held.contains_key(&task);
                    let slot = slots.take(key(task));
                    prop_assert_eq!(slot.is_some(), free);
                    if let Some(slot) = slot { held.insert(task, slot); }
                } else {
                    held.remove(&task);
                }
                prop_assert_eq!(slots.taken(), held.len());
            }
            held.clear();
            prop_assert_eq!(slots.taken(), 0);
        }
    }
}
