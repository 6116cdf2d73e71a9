//! Spoilt inputs for the parsers of foreign bytes, in the tests of the crate where each parser is: valid inputs, changed a
//! little at random. `ECHO_FUZZ_CASES` is how many each parser gets, `ECHO_FUZZ_SEED` which ones.

mod random;
mod spoil;
mod values;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

pub use random::Random;

/// How many inputs a parser gets where nobody says otherwise: these run with all other tests.
const CASES: u64 = 2_000;
/// No input may take longer. With inputs of up to 256 KiB this also finds what grows with the square of the length.
const LONGEST: Duration = Duration::from_secs(1);
/// How much of an input a failure shows.
const SHOWN: usize = 4_096;
/// How often a long run says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(20);

/// Gives spoilt forms of these inputs to a parser, which says whether it has understood; it panics where it has broken a promise.
///
/// # Panics
/// When it does, when an input takes too long, or when so little is understood that the run means nothing.
#[track_caller]
pub fn parser(name: &str, seeds: &[impl AsRef<[u8]>], mut parse: impl FnMut(&[u8]) -> bool) {
    parser_with(name, seeds, |bytes, _| parse(bytes));
}

/// The same for a parser that wants random numbers beside its input: where a stream is split, for one.
///
/// # Panics
/// As [`parser`] does.
#[track_caller]
pub fn parser_with(
    name: &str,
    seeds: &[impl AsRef<[u8]>],
    mut parse: impl FnMut(&[u8], &mut Random) -> bool,
) {
    let seeds: Vec<&[u8]> = seeds.iter().map(AsRef::as_ref).collect();
    for seed in &seeds {
        assert!(parse(seed, &mut Random::new(0)), "{name}: not understood as it is: {}", shown(seed));
    }
    let (cases, first) = (number("ECHO_FUZZ_CASES").unwrap_or(CASES), number("ECHO_FUZZ_SEED").unwrap_or(1));
    let mut run = Run { name, cases, done: 0, understood: 0, slowest: Duration::ZERO, begun: Instant::now() };
    let (mut input, mut told) = (Vec::new(), Instant::now());
    for case in 0..cases {
        let mut random = Random::new(first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ case);
        spoil::spoil(&mut random, &seeds, &mut input);
        run.one(case, &input, |bytes| parse(bytes, &mut random.clone()));
        if told.elapsed() > TOLD_EVERY {
            told = Instant::now();
            run.tell("so far");
        }
    }
    run.tell("in all");
    let least = cases / 200;
    assert!(
        run.understood >= least,
        "{name}: {} of {cases} understood is too few to mean anything",
        run.understood
    );
}

struct Run<'a> {
    name: &'a str,
    cases: u64,
    done: u64,
    understood: u64,
    slowest: Duration,
    begun: Instant,
}

impl Run<'_> {
    fn one(&mut self, case: u64, input: &[u8], mut parse: impl FnMut(&[u8]) -> bool) {
        let mut took = Duration::MAX;
        // A machine that is busy is slow once, a slow parser each time.
        for _ in 0..3 {
            let begun = Instant::now();
            let understood = catch_unwind(AssertUnwindSafe(|| parse(input)));
            took = took.min(begun.elapsed());
            match understood {
                Ok(understood) if took < LONGEST => {
                    self.understood += u64::from(understood);
                    break;
                }
                Ok(_) => {}
                Err(panic) => self.broken(case, input, panic),
            }
        }
        assert!(
            took < LONGEST,
            "{}: case {case} of {} bytes took {took:?}: {}",
            self.name,
            input.len(),
            shown(input)
        );
        self.slowest = self.slowest.max(took);
        self.done += 1;
    }

    fn broken(&self, case: u64, input: &[u8], panic: Box<dyn Any + Send>) -> ! {
        eprintln!("{}: case {case} of {} bytes: {}", self.name, input.len(), shown(input));
        resume_unwind(panic)
    }

    /// What has run, in a line that scripts/fuzz.sh shows.
    fn tell(&self, when: &str) {
        let Self { name, cases, done, understood, slowest, begun } = self;
        let took = begun.elapsed().as_secs_f64();
        eprintln!(
            "fuzz: {name}: {done} of {cases} {when}, {understood} understood, slowest {slowest:.1?}, {took:.1} s"
        );
    }
}

fn shown(input: &[u8]) -> String {
    input.iter().take(SHOWN).flat_map(|byte| byte.escape_ascii()).map(char::from).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
