//! However an answer is cut, its counts are those of the whole or absent.

use super::*;
use echo_bus::message::Timings;
use proptest::prelude::*;

const PROMPT: u64 = 16;
const PACE: Duration = Duration::from_millis(10);

/// What an engine, or its agent, says beside the text.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Counts while it streams.
    Counts,
    /// Counts at its end; the agent has the text so far counted where it must.
    Ollama,
    /// Counts at its end, and nobody can count for it.
    Plain,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Counts), Just(Kind::Ollama), Just(Kind::Plain)]
}

/// A text of so many tokens: of more than one only if its character has several bytes.
fn text() -> impl Strategy<Value = (&'static str, u32)> {
    prop_oneof![3 => Just(("a ", 1)), 1 => (1_u32..4).prop_map(|tokens| ("\u{1f600}", tokens))]
}

struct World {
    tally: Tally,
    now: Instant,
}

impl World {
    /// An attempt that makes these texts, from the text so far on.
    fn attempt(&mut self, kind: Kind, texts: &[(&str, u32)]) {
        self.tally.next();
        self.tally.accepted(self.now);
        let made_before = self.tally.has_begun();
        for (number, (text, tokens)) in texts.iter().enumerate() {
            self.now += PACE;
            let mut piece = Piece::text(*text);
            if kind == Kind::Counts {
                piece.tokens = Some(*tokens);
                // One that continues counts the text so far too.
                let prompt = if made_before { 999 } else { PROMPT as u32 };
                piece.prompt_tokens = (number == 0).then_some(prompt);
            }
            self.tally.take(&mut piece, self.now);
            assert_eq!(piece, Piece::text(*text), "counts are for nobody else");
        }
    }

    /// The end that the last engine tells.
    fn end(&self, kind: Kind, so_far: u64, texts: &[(&str, u32)]) -> Done {
        let eval = PACE * u32::try_from(texts.len()).unwrap();
        let (_, exact) = self.tally.so_far();
        let done = Done {
            prompt_tokens: Some(PROMPT + so_far),
            // As on an engine that has had the whole answer before.
            cached_tokens: Some(PROMPT + so_far),
            so_far_tokens: (kind == Kind::Ollama && !exact).then_some(so_far),
            tokens: Some(sum(texts)),
            timings: Timings { total_ns: nanos(eval), eval_ns: nanos(eval), ..Timings::default() },
            ..Done::default()
        };
        self.tally.whole(done)
    }
}

fn sum(texts: &[(&str, u32)]) -> u64 {
    texts.iter().map(|(_, tokens)| u64::from(*tokens)).sum()
}

proptest! {
    #[test]
    fn a_continued_answer_counts_as_an_uncut_one_or_not_at_all(
        parts in prop::collection::vec((kind(), prop::collection::vec(text(), 0..12)), 1..4),
    ) {
        let mut world = World { tally: Tally::default(), now: Instant::now() };
        let before = parts.len() - 1;
        for (kind, texts) in &parts {
            world.attempt(*kind, texts);
        }
        let so_far: u64 = parts[..before].iter().map(|(_, texts)| sum(texts)).sum();
        let (kind, texts) = &parts[before];
        let done = world.end(*kind, so_far, texts);

        let made = so_far + sum(texts);
        prop_assert!(done.tokens.is_none_or(|tokens| tokens == made), "{done:?} where {made} were made");
        prop_assert!(done.prompt_tokens.is_none_or(|tokens| tokens == PROMPT), "{done:?}");
        prop_assert!(before == 0 || done.cached_tokens <= done.prompt_tokens, "{done:?}");
        prop_assert_eq!(done.so_far_tokens, None);
        let told = |(kind, texts): &(Kind, Vec<(&str, u32)>)| {
            *kind == Kind::Counts || texts.iter().all(|(text, _)| text.is_ascii())
        };
        if parts[..before].iter().all(told) || *kind == Kind::Ollama {
            prop_assert_eq!((done.tokens, done.prompt_tokens), (Some(made), Some(PROMPT)));
        }
        let (least, exact) = world.tally.so_far();
        prop_assert!(least <= so_far && (!exact || least == so_far), "{least} of {so_far}, exact: {exact}");
    }

    /// Some 100 texts a second were made, so that is what a client reckons from the two numbers.
    #[test]
    fn the_speed_of_a_continued_answer_is_that_of_its_parts(lengths in prop::collection::vec(2_usize..30, 1..4)) {
        let mut world = World { tally: Tally::default(), now: Instant::now() };
        let texts = |length: usize| vec![("a ", 1); length];
        let mut made = 0;
        for length in &lengths {
            world.attempt(Kind::Plain, &texts(*length));
            world.now += Duration::from_millis(300);
            made += *length as u64;
        }
        let last = lengths[lengths.len() - 1];
        let done = world.end(Kind::Plain, made - last as u64, &texts(last));
        let speed = done.tokens.unwrap() as f64 / (done.timings.eval_ns as f64 / 1e9);
        prop_assert!((99.0..101.0).contains(&speed), "{speed} tokens a second: {done:?}");
        let wall = PACE * u32::try_from(made).unwrap() + Duration::from_millis(300) * (lengths.len() as u32 - 1);
        prop_assert_eq!(done.timings.total_ns, nanos(wall));
    }
}

#[test]
fn an_answer_that_was_not_cut_is_told_as_its_engine_tells_it() {
    let mut tally = Tally::default();
    tally.next();
    tally.accepted(Instant::now());
    tally.take(&mut Piece::text("a"), Instant::now());
    let mut done = Done { prompt_tokens: Some(4), tokens: Some(1), ..Done::default() };
    done.extra.insert("context".into(), 7.into());
    assert_eq!(tally.whole(done.clone()), done);
}

#[test]
fn what_an_engine_may_hold_back_makes_its_chunks_vague() {
    let mut tally = Tally::new(true);
    tally.take(&mut Piece::text("a"), Instant::now());
    tally.next();
    assert_eq!(tally.so_far(), (1, false));
    tally.forget();
    assert_eq!(tally.so_far(), (0, true));
    tally.take(&mut Piece { thinking: "hm".into(), ..Piece::default() }, Instant::now());
    tally.next();
    assert_eq!(tally.so_far(), (1, false), "nobody sees the marks around thoughts");
}
