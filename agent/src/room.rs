//! How much memory the engine has for models, learned from what it keeps there: Ollama tells it nowhere.

use std::collections::BTreeMap;

use echo_bus::message::Model;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Room {
    /// The models in memory when the engine was last asked, and their sizes there.
    loaded: BTreeMap<String, u64>,
    /// The most that was there at once.
    most: u64,
    /// One was thrown out for another: there is no room for much more.
    is_bounded: bool,
}

impl Room {
    /// The engine describes its models.
    pub fn seen<'a>(&mut self, models: impl Iterator<Item = &'a Model>) {
        let loaded: BTreeMap<_, _> = models
            .filter(|model| model.loaded && model.memory > 0)
            .map(|model| (model.name.clone(), model.memory))
            .collect();
        let sum =
            |models: &BTreeMap<String, u64>| models.values().fold(0, |sum: u64, it| sum.saturating_add(*it));
        let new = loaded.iter().filter(|(name, _)| !self.loaded.contains_key(*name));
        let new = new.map(|(_, size)| *size).fold(0, u64::saturating_add);
        let is_gone = self.loaded.keys().any(|name| !loaded.contains_key(name));
        let (before, now) = (sum(&self.loaded), sum(&loaded));
        if new > 0 && is_gone {
            self.is_bounded = true;
            // All of them together did not fit: what was seen before no longer holds.
            if before.saturating_add(new) <= self.most {
                self.most = now;
            }
        }
        self.most = self.most.max(now);
        self.loaded = loaded;
    }

    /// Bytes for models, on a machine with so much memory; 0 when unknown.
    pub fn told(&self, machine: u64) -> u64 {
        if self.is_bounded { self.most } else { self.most.max(machine) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(room: &mut Room, models: &[(&str, u64)]) {
        let model = |(name, memory): &(&str, u64)| Model {
            name: (*name).to_owned(),
            loaded: true,
            memory: *memory,
            ..Model::default()
        };
        let models: Vec<_> = models.iter().map(model).collect();
        room.seen(models.iter());
    }

    #[test]
    fn until_one_is_thrown_out_all_of_the_machine_is_there() {
        let mut room = Room::default();
        assert_eq!((room.told(0), room.told(16)), (0, 16));
        seen(&mut room, &[("a", 5)]);
        seen(&mut room, &[("a", 5), ("b", 4)]);
        seen(&mut room, &[("b", 4)]);
        assert_eq!(room.told(16), 16, "one that has gone by itself says nothing");
        seen(&mut room, &[("b", 4), ("c", 6)]);
        seen(&mut room, &[("a", 5), ("c", 6)]);
        assert_eq!(room.told(16), 11, "the most that was there at once");
        seen(&mut room, &[("a", 5), ("c", 6), ("b", 4)]);
        assert_eq!(room.told(16), 15);
    }

    #[test]
    fn room_that_others_have_taken_is_no_longer_counted_on() {
        let mut room = Room::default();
        seen(&mut room, &[("a", 5), ("b", 5)]);
        seen(&mut room, &[("a", 5)]);
        seen(&mut room, &[("b", 5)]);
        assert_eq!(room.told(16), 5);
    }
}
