use echo_bus::message::{Generate, Message, Request};
use proptest::prelude::*;

use super::*;

struct Bench {
    mirror: Mirror,
    slots: u32,
    now: Instant,
    runs: u64,
}

fn request(text: &str) -> Request {
    Request::Generate(Generate { prompt: text.into(), raw: true, ..Generate::default() })
}

fn text(text: &str) -> Text {
    Text::of(&request(text), None)
}

impl Bench {
    fn new(slots: u32) -> Self {
        Self { mirror: Mirror::default(), slots, now: Instant::now(), runs: 0 }
    }

    /// An attempt begins; its number, and how much of it is cached.
    fn begin(&mut self, prompt: &str) -> (u64, u64) {
        self.now += Duration::from_secs(1);
        self.runs += 1;
        let cached = self.mirror.begin("m", self.slots, (self.runs, None), &text(prompt), self.now);
        (self.runs, cached.unwrap())
    }

    fn end(&mut self, run: u64, prompt: &str, answer: &str, cached: Option<u64>) {
        self.now += Duration::from_secs(1);
        let answer = Message::said("", answer);
        let left = Left {
            text: Text::of(&request(prompt), Some(&answer)),
            tokens: 7,
            counted: Some(prompt.len() as u64 / 4),
            tool: false,
            prompt: prompt.len() as u64,
            cached,
        };
        self.mirror.end("m", run, left, self.now);
    }

    /// A whole attempt, on an engine that says nothing of its cache; how much was cached.
    fn ask(&mut self, prompt: &str) -> u64 {
        let (run, cached) = self.begin(prompt);
        self.end(run, prompt, "", None);
        cached
    }

    /// The same on an engine that says how much it had; how much the mirror had thought.
    fn told(&mut self, prompt: &str, cached: u64) -> u64 {
        let (run, thought) = self.begin(prompt);
        self.end(run, prompt, "", Some(cached));
        thought
    }

    fn digest(&self) -> ModelCache {
        let digest = self.mirror.told(&"n".parse().unwrap(), &"b".parse().unwrap(), self.now);
        digest.models.into_iter().next().unwrap_or_default()
    }
}

fn long(letter: char) -> String {
    letter.to_string().repeat(2048)
}

#[test]
fn a_growing_conversation_finds_its_slot_again() {
    let mut bench = Bench::new(2);
    let (one, other) = (long('a'), long('b'));
    assert_eq!((bench.ask(&one), bench.ask(&other)), (0, 0));
    let more = format!("{one}{}", long('c'));
    let (run, cached) = bench.begin(&more);
    assert_eq!(cached, 2048);
    bench.end(run, &more, &long('d'), None);
    let next = format!("{more}{}{}", long('d'), long('e'));
    assert_eq!(bench.ask(&next), 3 * 2048, "the answer is in the slot too");
    assert_eq!(bench.ask(&other), 2048, "and the other one is where it was");
}

#[test]
fn a_stranger_takes_the_slot_that_was_used_least_recently() {
    let mut bench = Bench::new(2);
    bench.ask(&long('a'));
    bench.ask(&long('b'));
    bench.ask(&long('c'));
    assert_eq!((bench.ask(&long('b')), bench.ask(&long('a'))), (2048, 0));
}

#[test]
fn a_tenth_in_common_is_not_enough_to_choose_a_slot() {
    let mut bench = Bench::new(2);
    let head = "h".repeat(192);
    bench.ask(&format!("{head}{}", long('a')));
    bench.ask(&format!("{head}{}", long('b')));
    bench.ask(&format!("{head}{}", long('a')));
    let before = bench.digest().slots;
    assert_eq!(bench.ask(&format!("{head}{}", long('c'))), 192);
    let after = bench.digest().slots;
    assert_eq!(before[0].blocks, after[0].blocks, "the first with that head was used last");
    assert_ne!(before[1].blocks, after[1].blocks);
}

#[test]
fn a_busy_slot_is_nobody_elses() {
    let mut bench = Bench::new(2);
    let (run, _) = bench.begin(&long('a'));
    assert_eq!(bench.begin(&long('a')).1, 0);
    assert!(bench.mirror.begin("m", 2, (99, None), &text(&long('a')), bench.now).is_none(), "none is free");
    assert!(bench.digest().slots.iter().all(|slot| slot.busy));
    bench.end(run, &long('a'), "", None);
    assert_eq!(bench.begin(&long('a')).1, 2048);
}

#[test]
fn a_prompt_that_was_given_up_leaves_what_it_had_in_common() {
    let mut bench = Bench::new(1);
    bench.ask(&long('a'));
    let (run, cached) = bench.begin(&format!("{}{}", &long('a')[..1024], long('b')));
    assert_eq!(cached, 1024);
    bench.mirror.give_up("m", run, bench.now);
    let slot = &bench.digest().slots[0];
    assert_eq!((slot.blocks.len(), slot.busy, slot.tokens), (1, false, 3));
    assert_eq!(bench.ask(&long('a')), 1024);
}

#[test]
fn a_text_that_is_gone_takes_those_with_it_that_were_used_before_it() {
    let mut bench = Bench::new(3);
    let (a, b, c) = (long('a'), long('b'), long('c'));
    [&a, &b, &c].into_iter().for_each(|prompt| assert_eq!(bench.told(prompt, 0), 0));
    assert_eq!(bench.told(&b, 0), 2048, "somebody beside the mesh has used that slot");
    assert_eq!(bench.digest().slots.iter().filter(|slot| !slot.blocks.is_empty()).count(), 2);
    assert_eq!((bench.told(&c, 2048), bench.told(&b, 2048)), (2048, 2048));
    assert_eq!(bench.told(&a, 0), 0);
}

#[test]
fn texts_aside_are_counted_on_once_the_engine_was_seen_to_bring_one_back() {
    let mut bench = Bench::new(1);
    let (a, b) = (long('a'), long('b'));
    assert_eq!((bench.told(&a, 0), bench.told(&b, 0)), (0, 0));
    assert_eq!(bench.digest().aside, []);
    assert_eq!(bench.told(&a, 2048), 0, "nobody knew");
    assert_eq!(bench.digest().aside.len(), 1);
    assert_eq!(bench.told(&b, 2048), 2048);
    assert_eq!(bench.told(&a, 0), 2048, "it was too old after all");
    assert_eq!(bench.digest().aside, []);
}

#[test]
fn an_engine_that_keeps_nothing_aside_is_believed() {
    let mut bench = Bench::new(1);
    let (a, b) = (long('a'), long('b'));
    for prompt in [&a, &b, &a, &b, &a] {
        assert_eq!(bench.told(prompt, 0), 0);
    }
    assert_eq!(bench.mirror.models["m"].aside.len(), 0);
}

#[test]
fn an_unloaded_model_has_no_slots_and_that_is_a_change() {
    let mut bench = Bench::new(2);
    bench.ask(&long('a'));
    let before = bench.mirror.changes;
    bench.mirror.forget("m");
    assert!(bench.mirror.changes > before && bench.digest().slots.is_empty());
    bench.mirror.forget("m");
    assert_eq!(bench.mirror.changes, before + 1);
}

/// The rule of llama.cpp's server written down once more, over the texts themselves.
#[derive(Default)]
struct Engine {
    slots: Vec<(String, Option<u64>, u64)>,
    time: u64,
}

impl Engine {
    fn begin(&mut self, run: u64, prompt: &str) -> usize {
        self.time += 1;
        let common =
            |held: &str| held.bytes().zip(prompt.bytes()).take_while(|(a, b)| a == b).count() / 64 * 64;
        let free: Vec<usize> = (0..self.slots.len()).filter(|at| self.slots[*at].1.is_none()).collect();
        let mut best: Option<usize> = None;
        for at in free.iter().copied().filter(|at| common(&self.slots[*at].0) * 10 > prompt.len()) {
            if best.is_none_or(|best| common(&self.slots[at].0) > common(&self.slots[best].0)) {
                best = Some(at);
            }
        }
        let at = best.or_else(|| free.iter().copied().min_by_key(|at| self.slots[*at].2)).unwrap();
        let cached = common(&self.slots[at].0);
        self.slots[at] = (prompt.to_owned(), Some(run), self.time);
        cached
    }
}

proptest! {
    #[test]
    fn the_mirror_chooses_as_the_engine_does(
        slots in 1_usize..4, asks in prop::collection::vec((0_u8..5, 1_usize..30, any::<bool>()), 1..80),
    ) {
        let mut bench = Bench::new(slots as u32);
        let mut engine = Engine { slots: vec![Default::default(); slots], time: 0 };
        let mut running: Vec<(u64, String)> = Vec::new();
        for (who, length, ends_first) in asks {
            if running.len() == slots || (ends_first && !running.is_empty()) {
                let (run, prompt) = running.remove(0);
                bench.end(run, &prompt, "", None);
                let slot = engine.slots.iter_mut().find(|slot| slot.1 == Some(run)).unwrap();
                engine.time += 1;
                (slot.1, slot.2) = (None, engine.time);
            }
            let prompt = char::from(b'a' + who).to_string().repeat(length * 128);
            let (run, cached) = bench.begin(&prompt);
            prop_assert_eq!(cached, engine.begin(run, &prompt) as u64);
            running.push((run, prompt));
        }
        prop_assert!(bench.mirror.models["m"].aside.len() <= ASIDE);
    }
}

#[test]
fn the_longest_text_with_which_a_prompt_begins_has_its_count() {
    let mut bench = Bench::new(3);
    let counted = |bench: &Bench, prompt: &str| bench.mirror.counted("m", &text(prompt));
    let (short, longer) = (long('a'), format!("{}{}", long('a'), long('b')));
    let whole = format!("{longer}{}", long('c'));
    assert_eq!(counted(&bench, &whole), None);
    bench.ask(&long('z'));
    bench.ask(&short);
    assert_eq!(counted(&bench, &whole), Some((512, 2048)));
    // It takes another slot, since what both have in common is put aside for it.
    bench.ask(&long('y'));
    let (run, _) = bench.begin(&longer);
    assert_eq!(counted(&bench, &whole), None, "nobody knows yet how many that are");
    bench.end(run, &longer, "", None);
    assert_eq!(counted(&bench, &whole), Some((1024, 4096)));
    // Of two that both fit, the longer one.
    let (busy, _) = bench.begin(&longer);
    let (beside, _) = bench.begin(&short);
    bench.end(beside, &short, "", None);
    assert_eq!(counted(&bench, &whole), Some((512, 2048)), "what runs has no count");
    bench.end(busy, &longer, "", None);
    assert_eq!(counted(&bench, &whole), Some((1024, 4096)));
    assert_eq!(counted(&bench, &short), Some((512, 2048)), "the longer one is no beginning of it");
    assert_eq!(counted(&bench, "z"), None, "too short to be told apart");
    assert_eq!(bench.mirror.counted("other", &text(&whole)), None);
    bench.mirror.forget("m");
    assert_eq!(counted(&bench, &whole), None);
}

#[test]
fn a_text_that_was_given_up_or_that_nobody_counted_has_no_count() {
    let mut bench = Bench::new(1);
    bench.ask(&long('a'));
    let whole = format!("{}{}", long('a'), long('b'));
    let (run, _) = bench.begin(&whole);
    bench.mirror.give_up("m", run, bench.now);
    assert_eq!(bench.mirror.counted("m", &text(&whole)), None);
    let (run, _) = bench.begin(&whole);
    bench.mirror.end("m", run, Left { text: text(&whole), tokens: 9, ..Left::default() }, bench.now);
    assert_eq!(bench.mirror.counted("m", &text(&format!("{whole}c"))), None);
}
