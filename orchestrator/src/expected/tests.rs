//! What holds of the plan whatever nodes say.

use std::collections::BTreeMap;
use std::sync::Arc;

use echo_bus::id::TaskId;
use echo_bus::message::{
    CacheDigest, Heartbeat, Model, ModelCache, Progress, Request, SlotCache, Speed, Why,
};
use echo_bus::model_name::ModelName;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::verdict::Verdict;
use super::*;
use crate::fit::Fit;
use crate::queue::AtWork;
use crate::registry::{Key, Registry};
use crate::testkit::{Clock, Words as _, beat, held, model};

const NAMES: [&str; 3] = ["x", "y", "z"];

/// Any number that JSON, or a hostile program, can hold.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        0.0..100.0_f64,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(0.0),
        Just(1e308),
        Just(1e-308),
    ]
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..10_u64, Just(0), Just(u64::MAX), 1_u64 << 30..1 << 34]
}

prop_compose! {
    fn any_model()(
        name in 0..3_usize, loaded: bool, sizes in (count(), count()), load in proptest::option::of(count()),
        speeds in vec((any::<u32>(), number(), count()), 0..20), numbers in vec(proptest::option::of(number()), 3),
        lengths in vec(any::<u16>(), 0..40),
    ) -> Model {
        let speeds = speeds.into_iter().map(|(at_once, tokens_per_second, age_s)| Speed { at_once, tokens_per_second, age_s });
        Model {
            loaded, size: sizes.0, memory: sizes.1, load_ms: load, speeds: speeds.collect(), lengths,
            tokens_per_second: numbers[0], prompt_tokens_per_second: numbers[1], tokens_per_kb: numbers[2],
            ..model(NAMES[name])
        }
    }
}

prop_compose! {
    fn any_beat()(
        slots in prop_oneof![0..5_u32, any::<u32>()], memory in count(), models in proptest::option::of(vec(any_model(), 0..5)),
        active in vec((0..6_u128, 0..4_usize, count(), any::<bool>()), 0..6), told in 0..7_usize,
    ) -> Heartbeat {
        let mut made = beat("n", 1).slots(slots).active(active.iter().map(|it| held(it.0, 1))).build();
        let progress = active.iter().map(|(_, name, tokens, prompt)| {
            let model = NAMES.get(*name).copied().unwrap_or("nobody's").to_owned();
            Progress { model, tokens: *tokens, prompt: *prompt }
        });
        (made.model_memory, made.models, made.progress) = (memory, models, progress.take(told).collect());
        made
    }
}

prop_compose! {
    fn any_slot()(
        blocks in vec(0..3_u64, 0..200), tokens in count(), busy: bool, idle_ms in count(), session in 0..3_u64, tool: bool,
    ) -> SlotCache {
        SlotCache { blocks, tokens, busy, idle_ms, session, tool, attempt: None }
    }
}

#[derive(Debug, Clone)]
enum Happens {
    Beat(usize, Box<Heartbeat>),
    Digest(usize, usize, Vec<SlotCache>),
    Come(usize, usize, Option<u32>),
    Leave(usize),
    Pass(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0..3_usize, any_beat()).prop_map(|(node, beat)| Happens::Beat(node, Box::new(beat))),
        2 => (0..3_usize, 0..3_usize, vec(any_slot(), 0..70)).prop_map(|(node, model, slots)| Happens::Digest(node, model, slots)),
        4 => (0..3_usize, 0..5_000_usize, proptest::option::of(any::<u32>())).prop_map(|(model, bytes, most)| Happens::Come(model, bytes, most)),
        1 => (0..3_usize).prop_map(Happens::Leave),
        2 => (0..100_000_u64).prop_map(Happens::Pass),
    ]
}

/// A registry and a book that hear the same.
struct Mesh {
    clock: Clock,
    start: std::time::Instant,
    registry: Registry,
    book: Book,
    numbers: u64,
    waiting: Vec<Waiting>,
    names: Vec<ModelName>,
}

impl Mesh {
    fn new() -> Self {
        let clock = Clock::new();
        let start = clock.now().at;
        Self {
            clock,
            start,
            registry: Registry::default(),
            book: Book::default(),
            numbers: 0,
            waiting: Vec::new(),
            names: Vec::new(),
        }
    }

    fn now(&self) -> f64 {
        (self.clock.now().at - self.start).as_secs_f64()
    }

    fn hear(&mut self, name: &str, mut beat: Heartbeat) -> Key {
        self.numbers += 1;
        (beat.node, beat.boot) = (name.parse().unwrap(), format!("{name}-1").parse().unwrap());
        beat.number = self.numbers;
        let tells = beat.models.is_some();
        let key = self.registry.hear(beat, self.clock.now()).key;
        let node = self.registry.node(key);
        self.book.hear(key.index(), node, tells.then(|| node.models()), self.now());
        key
    }

    fn candidates(&self, name: &ModelName) -> Vec<Candidate> {
        let all = self.registry.serving(name);
        let candidate = |(key, node, _): (Key, &crate::node::Node, _)| Candidate {
            distance: crate::distance::Distance::default(),
            key,
            fit: Fit::AsNeeded,
            says: true,
            is_heard: true,
            at_best: self
                .book
                .models
                .id(name)
                .map(|id| self.book.at_best(key.index(), id))
                .unwrap_or_default(),
            used: node.used(),
            slots: node.slots(),
            last_used: node.last_used(),
            free_at: node.free_at(),
            estimate: f64::NEG_INFINITY,
        };
        all.map(candidate).collect()
    }

    fn task(&mut self, name: &str, bytes: usize, most: Option<u32>) {
        self.say(name, "p", bytes, most);
    }

    fn say(&mut self, name: &str, text: &str, bytes: usize, most: Option<u32>) {
        let request: Request =
            serde_json::from_value(json!({"kind": "generate", "prompt": text.repeat(bytes)})).unwrap();
        let name = ModelName::of(name);
        let Some(model) = self.book.models.id(&name) else { return };
        self.book.arrived(model, self.now());
        let prompt = Arc::new(self.book.prompt(Some(model), &request));
        let tokens = self.book.models.lengths(model).left(0.0).min(most.map_or(f64::INFINITY, f64::from));
        let ask = Ask { model, prompt, tokens, waited: 0.0, left: 60.0 };
        self.waiting.push(Waiting { task: TaskId::from_u128(0), ask, look: Look::Nearest(Vec::new(), 0) });
        self.names.push(name);
    }

    fn take(&mut self, happens: Happens) {
        match happens {
            Happens::Beat(node, beat) => {
                self.hear(["a", "b", "c"][node], *beat);
            }
            Happens::Digest(node, model, slots) => {
                let (node, model) = (["a", "b", "c"][node], NAMES[model].to_owned());
                let digest = CacheDigest {
                    node: node.parse().unwrap(),
                    boot: format!("{node}-1").parse().unwrap(),
                    models: vec![ModelCache {
                        model,
                        aside: slots.iter().rev().take(9).cloned().collect(),
                        slots,
                    }],
                };
                if let Some(key) = self.registry.find(&digest.node, &digest.boot) {
                    self.book.hear_caches(key.index(), &digest, self.now());
                }
            }
            Happens::Come(model, bytes, most) => self.task(NAMES[model], bytes, most),
            Happens::Leave(node) => {
                let id = ["a", "b", "c"][node].parse().unwrap();
                let boot = format!("{}-1", ["a", "b", "c"][node]).parse().unwrap();
                if let Some(key) = self.registry.find(&id, &boot) {
                    self.book.forget(key.index());
                }
            }
            Happens::Pass(ms) => self.clock.pass(ms),
        }
    }

    /// Decides, and places what has a slot.
    fn plan(&mut self) -> Vec<Step> {
        self.book.refresh();
        for index in 0..self.waiting.len() {
            let model = self.waiting[index].ask.model;
            let mut candidates = self.candidates(&self.names[index]);
            candidates
                .retain(|at| self.book.site(at.key.index()).is_some_and(|it| it.facts(model).is_some()));
            // A model that nobody had meanwhile is another one.
            let id = self.book.models.id(&self.names[index]);
            let same = id == Some(model);
            let candidates = if same { candidates } else { Vec::new() };
            let ask = &self.waiting[index].ask;
            let (nodes, more) = nearest(&self.book, ask, candidates.into_iter(), (0, 0), self.now());
            self.waiting[index].look = Look::Nearest(nodes, more);
        }
        let steps = assign(&self.book, &self.waiting, self.now()).steps;
        assert_eq!(steps, assign(&self.book, &self.waiting, self.now()).steps, "the same from the same");
        steps
    }
}

fn is_sound(verdict: &Verdict) {
    let parts = verdict.parts;
    let seconds = [
        parts.wait,
        parts.load,
        parts.queue,
        parts.prompt,
        parts.answer,
        parts.others,
        parts.evicted,
        parts.lost,
        parts.trial,
        parts.cached,
        verdict.begun,
        verdict.expected,
        verdict.cost,
    ];
    assert!(seconds.iter().all(|it| it.is_finite() && *it >= 0.0), "{verdict:?}");
    assert!(verdict.begun <= verdict.expected && verdict.expected <= verdict.cost + 1e-6);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_task_with_a_node_is_placed_or_held_with_a_bound_whatever_nodes_say(all in vec(happens(), 1..40)) {
        let mut mesh = Mesh::new();
        for it in all {
            mesh.take(it);
            let steps = mesh.plan();
            let is_somewhere = |it: &&Waiting| matches!(&it.look, Look::Nearest(nodes, _) if !nodes.is_empty());
            let with_a_node = mesh.waiting.iter().filter(is_somewhere).count();
            prop_assert_eq!(steps.len(), with_a_node);
            let mut given: BTreeMap<Key, usize> = BTreeMap::new();
            for step in &steps {
                is_sound(&step.verdict);
                step.instead_of.iter().for_each(|(_, verdict)| is_sound(verdict));
                prop_assert!(step.instead_of.iter().all(|(_, it)| it.cost >= step.verdict.cost - 1e-6));
                let name = |key| mesh.registry.node(key).id();
                let reason = step.reason(&mesh.waiting[step.task], name, Some(1));
                let why = reason.why();
                let words = reason.words(&why);
                prop_assert!(words.contains("expected") && words.len() < 300, "{}", words);
                let as_json = serde_json::to_string(&why).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Why>(&as_json).unwrap(), &why);
                prop_assert!(why.instead_of.iter().all(|it| it.because.len() <= 80), "{}", as_json);
                *given.entry(step.key).or_default() += usize::from(!step.verdict.held);
            }
            for (key, given) in given {
                let node = mesh.registry.node(key);
                prop_assert!(given <= (node.slots() as usize).saturating_sub(node.used() as usize), "too many");
            }
        }
    }
}

prop_compose! {
    fn some_node()(
        slots in 1..4_u32, speed in 1.0..80.0_f64, prompt in 50.0..3_000.0_f64, load_ms in 200..20_000_u64, loaded: bool,
        running in 0..4_usize, made in 0..500_u64,
    ) -> Heartbeat {
        let told = Model {
            loaded, memory: 4 << 30, prompt_tokens_per_second: Some(prompt),
            speeds: vec![Speed { at_once: 1, tokens_per_second: speed, age_s: 0 }], ..model("x")
        };
        let active = (0..running.min(slots as usize)).map(|n| held(n as u128, 1));
        let mut made_beat = beat("n", 1).slots(slots).models([told.load_ms(load_ms)]).active(active).build();
        let progress = Progress { model: "x".to_owned(), tokens: made, prompt: made == 0 };
        made_beat.progress = vec![progress; running.min(slots as usize)];
        made_beat
    }
}

const MANY: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_node_is_better_than_the_chosen_one_because_it_was_not_judged(
        nodes in vec(some_node(), 5..10), sizes in vec(100..8_000_usize, 1..5),
    ) {
        let mut mesh = Mesh::new();
        for (name, beat) in MANY.iter().zip(nodes) {
            mesh.hear(name, beat);
        }
        sizes.into_iter().for_each(|bytes| mesh.task("x", bytes, None));
        let steps = mesh.plan();
        for waiting in &mut mesh.waiting {
            if let Look::Nearest(nodes, _) = &mut waiting.look {
                nodes.iter_mut().for_each(|node| node.estimate = f64::NEG_INFINITY);
            }
        }
        let all = assign(&mesh.book, &mesh.waiting, mesh.now()).steps;
        let chosen = |steps: &[Step]| steps.iter().map(|it| (it.key, it.verdict.held)).collect::<Vec<_>>();
        prop_assert_eq!(chosen(&steps), chosen(&all));
        // The first one stands, and those behind it find the mesh as before.
        let first = &all[0];
        if first.verdict.held {
            let stand = Stand { key: first.key, fit: first.fit, verdict: first.verdict, at: mesh.now() };
            mesh.waiting[0].look = Look::Stands(stand);
            let behind = assign(&mesh.book, &mesh.waiting, mesh.now()).steps;
            prop_assert_eq!(chosen(&behind), chosen(&all[1..]));
        }
    }
}

/// Nodes with one model, each as (name, slots, tokens a second, loaded), and a task for it.
fn mesh(nodes: &[(&str, u32, f64, bool)]) -> Mesh {
    let mut mesh = Mesh::new();
    for &(name, slots, speed, loaded) in nodes {
        let speeds = vec![Speed { at_once: 1, tokens_per_second: speed, age_s: 0 }];
        let told =
            Model { speeds, loaded, memory: 4 << 30, prompt_tokens_per_second: Some(1_000.0), ..model("x") };
        mesh.hear(name, beat(name, 1).slots(slots).models([told.load_ms(7_000)]).build());
    }
    mesh
}

fn chosen(mesh: &mut Mesh) -> (String, bool, String) {
    let steps = mesh.plan();
    let step = &steps[0];
    let reason = step.reason(&mesh.waiting[0], |key| mesh.registry.node(key).id(), Some(0));
    let why = reason.why();
    (why.node.to_string(), step.verdict.held, reason.words(&why))
}

#[test]
fn the_faster_node_takes_it_and_a_loaded_one_is_faster_than_a_load() {
    let mut two = mesh(&[("a", 1, 10.0, true), ("b", 1, 50.0, true)]);
    two.task("x", 400, None);
    let (node, _, words) = chosen(&mut two);
    assert_eq!((node.as_str(), words.as_str()), ("b", "4.2 s expected; a 20.2 s (10 tokens/s)"));
    let mut cold = mesh(&[("a", 1, 40.0, true), ("b", 1, 50.0, false)]);
    cold.task("x", 400, None);
    let (node, _, words) = chosen(&mut cold);
    assert_eq!((node.as_str(), words.as_str()), ("a", "5.2 s expected; b 11.2 s (not loaded yet: 7.0 s)"));
}

#[test]
fn a_task_is_held_for_a_fast_node_that_is_full_and_takes_its_place_there() {
    let mut two = mesh(&[("a", 1, 5.0, true), ("b", 1, 50.0, true)]);
    let mut beat = beat("b", 2).active([held(9, 1)]).build();
    beat.progress = vec![Progress { model: "x".to_owned(), tokens: 100, prompt: false }];
    two.hear("b", beat);
    for _ in 0..20 {
        two.task("x", 400, None);
    }
    let steps = two.plan();
    let at = |step: &Step| two.registry.node(step.key).id().as_str() == "b";
    assert!(at(&steps[0]) && steps[0].verdict.held, "{steps:?}");
    let elsewhere = steps.iter().position(|step| !at(step)).unwrap();
    assert!(elsewhere > 1 && !steps[elsewhere].verdict.held, "those behind find the line too long");
}

#[test]
fn a_conversation_goes_back_to_its_prompt_and_others_leave_that_alone() {
    let mut two = mesh(&[("a", 1, 40.0, true), ("b", 1, 44.0, true)]);
    two.task("x", 40_000, None);
    let prompt = two.waiting[0].ask.prompt.clone();
    let slot = SlotCache {
        blocks: prompt.blocks.clone(),
        tokens: 9_000,
        session: prompt.session,
        tool: true,
        ..SlotCache::default()
    };
    let at = |node: &str, slot: &SlotCache| CacheDigest {
        node: node.parse().unwrap(),
        boot: format!("{node}-1").parse().unwrap(),
        models: vec![ModelCache {
            model: "x:latest".to_owned(),
            slots: vec![slot.clone()],
            aside: Vec::new(),
        }],
    };
    let digest = at("a", &slot);
    let key = two.registry.find(&digest.node, &digest.boot).unwrap();
    two.book.hear_caches(key.index(), &digest, 0.0);
    let (node, _, words) = chosen(&mut two);
    assert_eq!(node, "a", "{words}");
    assert!(words.contains("b 14.6 s (0 of 10,000 prompt tokens cached, a has 9,000)"), "{words}");
    two.waiting.clear();
    two.names.clear();
    two.say("x", "q", 3_000, None);
    assert_eq!(chosen(&mut two).0, "b");
    two.hear("b", beat("b", 2).active([held(9, 1)]).build());
    assert_eq!(chosen(&mut two).0, "b", "even if it has to wait there");
    two.hear("b", beat("b", 3).build());
    let other = at("b", &SlotCache { session: 7, ..slot });
    let key = two.registry.find(&other.node, &other.boot).unwrap();
    two.book.hear_caches(key.index(), &other, 0.0);
    two.waiting[0].ask.waited = 46.0;
    assert_eq!(chosen(&mut two).0, "b", "it has waited for long enough");
}

#[test]
fn equal_nodes_take_turns() {
    let mut two = mesh(&[("a", 2, 40.0, true), ("b", 2, 40.0, true)]);
    two.task("x", 400, None);
    let first = two.plan()[0].key;
    two.registry.node_mut(first).note_use(1);
    two.book.sync(first.index(), two.registry.node(first), 0.0);
    assert_ne!(two.plan()[0].key, first);
}

#[test]
fn our_own_placement_counts_at_once() {
    let mut two = mesh(&[("a", 1, 40.0, true), ("b", 1, 50.0, true)]);
    two.task("x", 400, None);
    let step = two.plan().remove(0);
    let need =
        crate::need::Need::of(&serde_json::from_value(json!({"kind": "generate", "model": "x"})).unwrap())
            .unwrap();
    let (id, prompt) = (held(1, 1).id, two.waiting[0].ask.prompt.clone());
    two.registry.node_mut(step.key).place(id, &need, AtWork::default());
    two.book.sync(step.key.index(), two.registry.node(step.key), 0.0);
    let own = Own { placed: 0.0, ready: 0.0, first: step.verdict.begun, prompt, answers: true };
    two.book.placed(step.key.index(), id, two.book.models.id(&ModelName::of("x")).unwrap(), own);
    let next = two.plan().remove(0);
    assert_ne!(next.key, step.key);
}
