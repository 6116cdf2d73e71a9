use std::sync::Arc;

use echo_bus::id::{AttemptId, TaskId};
use echo_bus::message::{Chat, Done, Message, Piece, Reason, Request, Timings};

use super::*;

struct Bench {
    facts: Arc<Facts>,
    now: Instant,
    tasks: u128,
}

fn chat(texts: &[&str]) -> Request {
    let message = |(number, text): (usize, &&str)| {
        Message::said(if number % 2 == 0 { "user" } else { "assistant" }, *text)
    };
    let messages = texts.iter().enumerate().map(message).collect();
    Request::Chat(Chat { messages, ..Chat::default() })
}

impl Bench {
    fn new(slots: u32) -> Self {
        let now = Instant::now();
        Self { facts: Arc::new(Facts::new(slots, now)), now, tasks: 0 }
    }

    fn begin(&mut self, request: &Request, loaded: bool) -> (AttemptId, Run) {
        self.tasks += 1;
        let key = AttemptId { task: TaskId::from_u128(self.tasks), attempt: 1 };
        let about = About { key: Some(key), model: "m", request, so_far: None, loaded };
        (key, self.facts.begin(about, self.now))
    }

    /// A chat on an engine that counts at the end, with this much of the prompt not cached.
    fn ask(&mut self, texts: &[&str], answer: &str, prompt_tokens: u64, uncached: u64) {
        let request = chat(texts);
        let (_, mut run) = self.begin(&request, true);
        // The engine works off 500 tokens a second and makes 20.
        self.now += Duration::from_millis(uncached * 2);
        for _ in 0..20 {
            run.heard(&[Piece::text(&answer[..answer.len() / 20])], self.now);
            self.now += Duration::from_millis(50);
        }
        let timings =
            Timings { prompt_ns: uncached * 2_000_000, eval_ns: 1_000_000_000, ..Timings::default() };
        let done = Done {
            reason: Reason::Stop,
            prompt_tokens: Some(prompt_tokens),
            tokens: Some(20),
            timings,
            ..Done::default()
        };
        run.done(&request, &done, self.now);
    }

    fn model(&self) -> Model {
        let mut model = Model { name: "m".to_owned(), ..Model::default() };
        self.facts.describe(&mut model, self.now);
        model
    }

    fn slots(&self) -> Vec<echo_bus::message::SlotCache> {
        let digest = self.facts.caches(&"n".parse().unwrap(), &"b".parse().unwrap(), self.now);
        digest.models.into_iter().next().map(|model| model.slots).unwrap_or_default()
    }
}

fn long(letter: char) -> String {
    letter.to_string().repeat(4000)
}

#[test]
fn an_answer_tells_speeds_tokens_and_its_length() {
    let mut bench = Bench::new(1);
    bench.ask(&[&long('a')], &long('x'), 1000, 1000);
    let model = bench.model();
    assert_eq!((model.speeds[0].at_once, model.speeds[0].tokens_per_second), (1, 19.0));
    assert_eq!(model.prompt_tokens_per_second, Some(500.0));
    let per_kb = model.tokens_per_kb.unwrap();
    assert!((245.0..=250.0).contains(&per_kb), "{per_kb}");
    assert_eq!(model.lengths.iter().sum::<u16>(), 1);
}

/// The engine that says nothing of its cache is not taken for one that reads prompts ten times as fast.
#[test]
fn prompt_speed_counts_only_what_was_not_cached() {
    let mut bench = Bench::new(1);
    let (question, answer) = (long('a'), long('b'));
    bench.ask(&[&question], &answer, 1000, 1000);
    for _ in 0..15 {
        // 4,000 + 4,000 bytes are there; 800 are new.
        bench.ask(&[&question, &answer, &"c".repeat(800)], &answer, 2200, 200);
        bench.ask(&[&question], &answer, 1000, 1);
    }
    let speed = bench.model().prompt_tokens_per_second.unwrap();
    assert!((420.0..580.0).contains(&speed), "{speed}");
}

#[test]
fn the_slot_holds_prompt_and_answer_and_no_thoughts() {
    let mut bench = Bench::new(2);
    bench.ask(&[&long('a')], &long('b'), 1000, 1000);
    let held = bench.slots().iter().map(|slot| slot.blocks.len()).max();
    assert_eq!((held, bench.slots().iter().map(|slot| slot.tokens).max()), (Some(7), Some(1020)));
    let request = chat(&[&long('c')]);
    let (_, mut run) = bench.begin(&request, true);
    assert!(bench.slots().iter().any(|slot| slot.busy));
    run.heard(&[Piece { thinking: long('t'), ..Piece::default() }, Piece::text(long('d'))], bench.now);
    run.done(&request, &Done::default(), bench.now);
    assert_eq!(bench.slots().iter().filter(|slot| slot.blocks.len() == 3).count(), 1);
    assert!(bench.slots().iter().all(|slot| !slot.busy && slot.session != 0));
}

#[test]
fn progress_is_told_from_the_beginning_to_the_end() {
    let mut bench = Bench::new(1);
    let request = chat(&["hi"]);
    let (key, mut run) = bench.begin(&request, true);
    let progress = |bench: &Bench| bench.facts.progress(key).map(|it| (it.tokens, it.prompt));
    assert_eq!(progress(&bench), Some((0, true)));
    run.heard(&[Piece { tokens: Some(3), ..Piece::text("a") }, Piece::text("b")], bench.now);
    assert_eq!(progress(&bench), Some((4, false)));
    drop(run);
    assert_eq!(progress(&bench), None);
}

#[test]
fn an_answer_that_runs_is_measured_before_its_end() {
    let mut bench = Bench::new(1);
    let (_, mut run) = bench.begin(&chat(&["hi"]), true);
    run.heard(&[Piece::text("a")], bench.now);
    for _ in 0..25 {
        bench.now += Duration::from_millis(100);
        run.heard(&[Piece::text("a")], bench.now);
        bench.facts.tick(bench.now);
    }
    assert_eq!(bench.model().speeds[0].tokens_per_second, 10.0);
}

#[test]
fn only_whole_answers_have_a_length_and_vectors_have_none() {
    let mut bench = Bench::new(1);
    let (_, mut run) = bench.begin(&chat(&["hi"]), true);
    run.heard(&[Piece::text("a")], bench.now);
    drop(run);
    let embed = Request::Embed(echo_bus::message::Embed::default());
    let (_, run) = bench.begin(&embed, true);
    run.done(&embed, &Done::default(), bench.now);
    let about = About { key: None, model: "m", request: &chat(&["hi"]), so_far: None, loaded: true };
    bench.facts.begin(about, bench.now).done(&chat(&["hi"]), &Done::default(), bench.now);
    assert!(bench.model().lengths.is_empty());
}

#[test]
fn of_several_that_wait_for_a_load_each_has_its_slot() {
    let mut bench = Bench::new(2);
    let (one, other) = (chat(&[&long('a')]), chat(&[&long('b')]));
    let runs = [bench.begin(&one, false).1, bench.begin(&other, false).1];
    assert_eq!(bench.slots().iter().filter(|slot| slot.busy).count(), 2);
    for (run, request) in runs.into_iter().zip([&one, &other]) {
        run.done(request, &Done::default(), bench.now);
    }
    assert!(bench.slots().iter().all(|slot| slot.blocks.len() == 3));
}

#[test]
fn a_load_and_an_unload_empty_the_slots() {
    let mut bench = Bench::new(1);
    bench.ask(&[&long('a')], &long('b'), 1000, 1000);
    let request = chat(&["hi"]);
    let (_, run) = bench.begin(&request, false);
    assert_eq!(bench.slots().iter().map(|slot| slot.blocks.len()).sum::<usize>(), 0);
    drop(run);
    bench.ask(&[&long('a')], &long('b'), 1000, 1000);
    let before = bench.facts.cache_changes();
    bench.facts.told(|_| true, |_| false);
    assert!(bench.slots().is_empty() && bench.facts.cache_changes() > before);
    assert!(!bench.model().speeds.is_empty(), "what was measured stays");
    bench.facts.told(|_| false, |_| false);
    assert!(bench.model().speeds.is_empty());
}

fn count(texts: &[&str]) -> Request {
    let Request::Chat(chat) = chat(texts) else { unreachable!("a chat") };
    Request::Count(chat)
}

#[test]
fn a_prompt_that_nothing_is_known_of_has_a_token_for_four_bytes_and_never_none() {
    let bench = Bench::new(1);
    let estimate = |texts: &[&str]| bench.facts.estimate("m", &count(texts));
    // The text is 4,000 bytes, and what stands around it a few more.
    assert!((1000..1020).contains(&estimate(&[&long('a')])), "{}", estimate(&[&long('a')]));
    assert_eq!(bench.facts.estimate("m", &Request::Count(Chat::default())), 1);
    assert!(estimate(&["", "", ""]) >= 1);
}

#[test]
fn a_prompt_is_estimated_at_the_rate_of_the_prompts_before_it() {
    let mut bench = Bench::new(1);
    // Text of which the model makes two tokens of a byte.
    bench.ask(&[&long('a')], &long('x'), 8000, 8000);
    let estimate = bench.facts.estimate("m", &count(&[&long('b')]));
    assert!((7900..8200).contains(&estimate), "{estimate}");
    let other = bench.facts.estimate("other", &count(&[&long('b')]));
    assert!((1000..1020).contains(&other), "of another model nothing is known: {other}");
}

#[test]
fn the_next_turn_counts_what_the_engine_has_counted_and_the_rest_at_its_rate() {
    let mut bench = Bench::new(2);
    let (question, answer, more) = (long('a'), long('x'), "c".repeat(800));
    // The rate of the other prompt is far from that of this one.
    bench.ask(&[&question], &answer, 300, 300);
    for _ in 0..50 {
        bench.ask(&[&long('z')], &long('y'), 4000, 4000);
    }
    // 320 tokens were counted; of what is new the model makes one of a byte, more or less.
    let estimate = bench.facts.estimate("m", &count(&[&question, &answer, &more]));
    assert!((1000..1250).contains(&estimate), "{estimate}");
    let stranger = bench.facts.estimate("m", &count(&[&more, &answer, &question]));
    assert!(stranger > 7000, "another beginning: {stranger}");
}

#[test]
fn thoughts_that_the_next_turn_leaves_out_are_not_counted_and_no_count_is_no_zero() {
    for (thinking, prompt_tokens) in [(long('t'), Some(1000)), (String::new(), None)] {
        let mut bench = Bench::new(1);
        let request = chat(&[&long('a')]);
        let (_, mut run) = bench.begin(&request, true);
        run.heard(&[Piece { thinking, ..Piece::default() }, Piece::text(long('b'))], bench.now);
        run.done(&request, &Done { prompt_tokens, tokens: Some(5000), ..Done::default() }, bench.now);
        let estimate = bench.facts.estimate("m", &count(&[&long('a'), &long('b'), "more"]));
        assert!((1950..2100).contains(&estimate), "{prompt_tokens:?}: {estimate}");
    }
}
