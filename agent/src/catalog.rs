//! The models of this node: what the engine says of them, and what was measured here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use echo_bus::message::{Capability, LoadOptions, Model};
use echo_bus::model_name::ModelName;
use echo_bus::model_pattern::Patterns;

use crate::engine::{Found, Probe, RUNNING};
use crate::loads::{self, Loads, Start};
use crate::room::Room;

/// The share of the newest measurement in the running average.
const NEWEST: f64 = 0.3;

/// Real loads that count. The least of them is told: what makes one slower, such as a disk that others use, passes.
const LOADS: usize = 8;

/// What was measured of a model on this node.
#[derive(Debug, Default)]
struct Measured {
    tokens_per_second: Option<f64>,
    loads: VecDeque<Duration>,
    /// Bytes when it was last in memory.
    memory: u64,
}

/// What this node can serve.
#[derive(Debug, Default)]
pub struct Catalog {
    offer: Patterns,
    found: BTreeMap<String, Found>,
    measured: HashMap<String, Measured>,
    loads: Loads,
    room: Room,
    /// The models whose place in memory is no longer what this node's tasks have made of it, by the last answer.
    emptied: Vec<String>,
    pub version: String,
}

impl Catalog {
    /// Of an engine that was not asked yet, for those models that its owner offers.
    pub fn new(offer: Patterns) -> Self {
        Self { offer, ..Self::default() }
    }

    /// Whether others may use this model, be it there or not.
    pub fn offers(&self, model: &str) -> bool {
        self.offer.has(model)
    }

    /// Takes the engine's answer to a question asked at `asked`; true if anything is different now. `in_use` says which
    /// models this node's tasks are running on.
    pub fn update(&mut self, probe: Probe, asked: Instant, in_use: impl Fn(&str) -> bool) -> bool {
        // What is not offered takes its place in memory all the same.
        self.room.seen(probe.models.iter().map(|found| &found.model));
        let offered = probe.models.into_iter().filter(|found| self.offer.has(&found.model.name));
        let found: BTreeMap<_, _> = offered.map(|found| (found.model.name.clone(), found)).collect();
        let same =
            found.len() == self.found.len() && found.iter().zip(&self.found).all(|(new, old)| same(new, old));
        let mut changed = !same || self.version != probe.version;
        self.found = found;
        self.version = probe.version;
        self.measured.retain(|model, _| self.found.contains_key(model));
        self.emptied.clear();
        for model in self.loads.names() {
            let found = self.found.get(&model).map(|found| &found.model);
            changed |= self.loads.told(&model, found, in_use(&model), asked);
            if self.loads.with(&model).is_none() {
                self.emptied.push(model);
            }
        }
        for Found { model, .. } in self.found.values().filter(|found| found.model.memory > 0) {
            self.measured.entry(model.name.clone()).or_default().memory = model.memory;
        }
        changed
    }

    /// Whether the model is in memory as it was, so that its cache holds what it held.
    pub fn stays(&self, model: &str) -> bool {
        let Some(found) = self.found.get(model) else { return false };
        self.loads.in_memory(&found.model).loaded && !self.emptied.iter().any(|emptied| emptied == model)
    }

    /// Bytes that the engine has for models, on a machine with so much memory.
    pub fn room(&self, machine: u64) -> u64 {
        self.room.told(machine)
    }

    /// A task with a slot begins on one of the models; also whether that is to be told. See [`Loads::starts`].
    pub fn starts(&mut self, model: &str, wanted: &LoadOptions, alone: bool, now: Instant) -> (Start, bool) {
        match self.found.get(model) {
            Some(found) => self.loads.starts(&found.model, wanted, alone, now),
            None => (Start { ready: false, loads: false }, false),
        }
    }

    /// A task has ended; whether that is to be told. See [`Loads::ended`].
    pub fn ended(&mut self, model: &str, well: bool, others: bool, now: Instant) -> bool {
        self.loads.ended(model, well, others, now)
    }

    /// The load-time options that this node's tasks have the model in memory with.
    pub fn loaded_with(&self, model: &str) -> Option<&LoadOptions> {
        self.loads.with(model)
    }

    /// The model of that name, with or without its tag.
    pub fn find(&self, name: &str) -> Option<&Found> {
        self.found.get(ModelName::of(name).as_str()).or_else(|| self.found.get(name))
    }

    /// The only model that generates, for who names none.
    pub fn only_one(&self) -> Option<&Found> {
        let mut generating = self.found.values().filter(|found| found.model.can(&Capability::Completion));
        generating.next().filter(|_| generating.next().is_none())
    }

    /// The names of all models.
    pub fn names(&self) -> Vec<String> {
        self.found.keys().cloned().collect()
    }

    /// All models, for a heartbeat.
    pub fn models(&self) -> Vec<Model> {
        let described = |found: &Found| {
            let mut model = found.model.clone();
            if let Some(measured) = self.measured.get(&model.name) {
                let speed = measured.tokens_per_second;
                model.tokens_per_second = speed.map(|speed| (speed * 10.0).round() / 10.0);
                let load = measured.loads.iter().min();
                model.load_ms = load.and_then(|load| u64::try_from(load.as_millis()).ok());
                model.memory = measured.memory;
            }
            self.loads.describe(&mut model);
            model
        };
        self.found.values().map(described).collect()
    }

    /// Takes a measurement of a task that has ended; whether it was the first load.
    pub fn measure(&mut self, model: &str, tokens_per_second: Option<f64>, load: Option<Duration>) -> bool {
        if !self.found.contains_key(model) {
            return false;
        }
        let measured = self.measured.entry(model.to_owned()).or_default();
        average(&mut measured.tokens_per_second, tokens_per_second);
        if let Some(load) = load.filter(|load| loads::plausible(*load)) {
            measured.loads.push_back(load);
            measured.loads.drain(..measured.loads.len().saturating_sub(LOADS));
            return measured.loads.len() == 1;
        }
        false
    }
}

/// The time at which a model will be unloaded moves with each use, and is no news.
fn same(new: (&String, &Found), old: (&String, &Found)) -> bool {
    if new == old {
        return true;
    }
    let timeless = |found: &Found| {
        let mut found = found.clone();
        if let Some(running) = found.model.extra.get_mut(RUNNING).and_then(serde_json::Value::as_object_mut) {
            running.remove("expires_at");
        }
        found
    };
    new.0 == old.0 && timeless(new.1) == timeless(old.1)
}

fn average(known: &mut Option<f64>, newest: Option<f64>) {
    if let Some(newest) = newest.filter(|value| value.is_finite() && *value > 0.0) {
        *known = Some(known.map_or(newest, |known| known + NEWEST * (newest - known)));
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A probe that found these models, all loaded.
    pub fn probe(names: &[&str]) -> Probe {
        let model =
            |name: &&str| Model { name: ModelName::of(name).into(), loaded: true, ..Model::default() };
        let found = |name: &&str| Found { engine_name: (*name).to_owned(), model: model(name) };
        Probe { version: "1".into(), slots: None, models: names.iter().map(found).collect() }
    }

    fn update(catalog: &mut Catalog, probe: Probe) -> bool {
        catalog.update(probe, Instant::now(), |_| false)
    }

    #[test]
    fn a_name_is_found_with_and_without_its_tag() {
        let mut catalog = Catalog::default();
        assert!(update(&mut catalog, probe(&["mistral", "phi:3b"])));
        assert_eq!(catalog.find("mistral").unwrap().engine_name, "mistral");
        assert_eq!(catalog.find("mistral:latest").unwrap().engine_name, "mistral");
        assert!(catalog.find("phi").is_none() && catalog.only_one().is_none());
        assert!(!update(&mut catalog, probe(&["mistral", "phi:3b"])), "nothing has changed");
    }

    #[test]
    fn the_time_of_unloading_is_no_news_but_is_known() {
        let at = |time: &str, vram: u64| {
            let mut probe = probe(&["m"]);
            let running = serde_json::json!({"expires_at": time, "size_vram": vram});
            probe.models[0].model.extra.insert(RUNNING.into(), running);
            probe
        };
        let mut catalog = Catalog::default();
        assert!(update(&mut catalog, at("1", 5)) && !update(&mut catalog, at("2", 5)));
        assert_eq!(catalog.models()[0].extra[RUNNING]["expires_at"], "2");
        assert!(update(&mut catalog, at("2", 6)));
    }

    #[test]
    fn the_least_of_the_newest_real_loads_counts_and_one_that_was_none_does_not() {
        let mut catalog = Catalog::default();
        update(&mut catalog, probe(&["m"]));
        let mut after = |ms: u64| {
            catalog.measure("m:latest", None, Some(Duration::from_millis(ms)));
            catalog.models()[0].load_ms
        };
        assert_eq!(after(40), None);
        assert_eq!(after(8_600), Some(8_600));
        assert_eq!(after(40), Some(8_600));
        assert_eq!(after(2_000), Some(2_000));
        for _ in 0..7 {
            assert_eq!(after(9_000), Some(2_000));
        }
        assert_eq!(after(9_000), Some(9_000));
    }

    #[test]
    fn what_a_model_takes_in_memory_is_known_after_it_has_gone() {
        let at = |memory: u64| {
            let mut probe = probe(&["m"]);
            (probe.models[0].model.loaded, probe.models[0].model.memory) = (memory > 0, memory);
            probe
        };
        let mut catalog = Catalog::default();
        for memory in [7, 0] {
            update(&mut catalog, at(memory));
            assert_eq!((catalog.models()[0].memory, catalog.stays("m:latest")), (7, memory > 0));
        }
        assert_eq!((catalog.room(16), catalog.room(0)), (16, 7));
    }

    #[test]
    fn measurements_are_averaged_and_nonsense_is_left_out() {
        let mut catalog = Catalog::default();
        update(&mut catalog, probe(&["m"]));
        for speed in [10.0, 20.0, f64::NAN, f64::INFINITY, 0.0] {
            catalog.measure("m:latest", Some(speed), None);
        }
        catalog.measure("gone", Some(1.0), None);
        let model = &catalog.models()[0];
        assert_eq!((model.tokens_per_second, model.load_ms), (Some(13.0), None));
    }
}
