use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A clock by hand.
struct Bench {
    timeline: Timeline,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self { timeline: Timeline::new(now), now }
    }

    fn begin(&mut self, id: u64) {
        self.timeline.begin(id, "m", self.now);
    }

    fn heard(&mut self, id: u64, tokens: u64) {
        self.timeline.heard(id, tokens, true, self.now);
    }

    /// So many tokens each, one after the other, in so many milliseconds.
    fn answers(&mut self, ids: &[u64], tokens: u64, ms: u64) {
        for _ in 0..tokens {
            self.now += Duration::from_micros(ms * 1000 / tokens);
            ids.iter().for_each(|id| self.timeline.heard(*id, 1, true, self.now));
        }
    }

    fn end(&mut self, id: u64, tokens: Option<u64>) -> Vec<(u32, i64)> {
        let counted = tokens.map(|tokens| Counted { tokens, seconds: 1.0 });
        speeds(&self.timeline.end(id, counted, self.now))
    }

    fn live(&mut self) -> Vec<(u32, i64)> {
        speeds(&self.timeline.live(self.now))
    }
}

fn speeds(samples: &[Sample]) -> Vec<(u32, i64)> {
    let mut speeds: Vec<_> =
        samples.iter().map(|it| (it.at_once, (it.tokens / it.seconds).round() as i64)).collect();
    speeds.sort_unstable();
    speeds
}

#[test]
fn nothing_is_measured_in_a_crowd_and_what_was_measured_before_and_after_is_kept() {
    let mut bench = Bench::new();
    bench.begin(1);
    bench.heard(1, 1);
    bench.answers(&[1], 20, 1000);
    for id in 2..=CROWD as u64 + 1 {
        bench.begin(id);
        bench.heard(id, 1);
    }
    bench.answers(&[1], 500, 1000);
    assert_eq!(bench.live(), [(1, 20)], "and not what came in the crowd");
    for id in 2..=CROWD as u64 + 1 {
        bench.end(id, None);
    }
    bench.answers(&[1], 30, 1000);
    assert_eq!(bench.end(1, Some(551)), [(1, 30)]);
    assert!(bench.timeline.lines.is_empty());
}

#[test]
fn who_begins_or_ends_in_a_crowd_leaves_nothing_with_the_others() {
    let mut bench = Bench::new();
    for id in 0..2 * CROWD as u64 {
        bench.begin(id);
        bench.heard(id, 1);
        bench.now += Duration::from_millis(1);
    }
    let kept = |line: &Line| line.short.as_ref().map_or(0, BTreeMap::len) + line.stretches.len();
    let most = bench.timeline.lines.values().map(kept).max();
    assert!(most.is_some_and(|most| most <= CROWD), "{most:?}");
}

#[test]
fn an_answer_alone_is_measured_from_its_first_piece_on() {
    let mut bench = Bench::new();
    bench.begin(1);
    bench.now += Duration::from_secs(9);
    bench.heard(1, 5);
    bench.answers(&[1], 20, 1000);
    assert_eq!(bench.end(1, Some(25)), [(1, 20)]);
}

#[test]
fn what_arrives_together_behind_a_cut_says_nothing_of_the_moment_after_it() {
    let mut bench = Bench::new();
    bench.begin(1);
    bench.heard(1, 1);
    bench.answers(&[1], 20, 1000);
    bench.begin(2);
    bench.heard(2, 1);
    // Two of the first one's tokens were on their way when the second one began to answer.
    bench.now += Duration::from_millis(2);
    bench.heard(1, 2);
    bench.end(2, Some(1));
    bench.answers(&[1], 20, 1000);
    assert_eq!(bench.end(1, Some(43)), [(1, 20)]);
}

#[test]
fn an_engine_that_is_done_within_a_moment_has_a_speed_too() {
    let mut bench = Bench::new();
    bench.begin(1);
    bench.heard(1, 1);
    bench.answers(&[1], 32, 32);
    assert_eq!(bench.end(1, Some(33)), [(1, 1_000)]);
}

#[test]
fn the_speed_of_each_number_of_answers_is_told_apart() {
    let mut bench = Bench::new();
    (1..=2).for_each(|id| bench.begin(id));
    (1..=2).for_each(|id| bench.heard(id, 1));
    bench.answers(&[1, 2], 10, 1000);
    assert_eq!(bench.end(2, Some(11)), [(2, 10)]);
    bench.answers(&[1], 20, 1000);
    assert_eq!(bench.end(1, Some(31)), [(1, 20), (2, 10)]);
}

#[test]
fn no_time_counts_in_which_a_prompt_is_worked_off_beside() {
    let mut bench = Bench::new();
    bench.begin(1);
    bench.heard(1, 1);
    bench.answers(&[1], 20, 1000);
    bench.begin(2);
    bench.answers(&[1], 2, 4000);
    bench.heard(2, 1);
    bench.answers(&[1, 2], 10, 1000);
    assert_eq!(bench.end(2, Some(11)), [(2, 10)]);
    bench.answers(&[1], 20, 1000);
    assert_eq!(bench.end(1, None), [(1, 20), (2, 10)]);
}

#[test]
fn what_runs_tells_before_its_end_and_nothing_twice() {
    let mut bench = Bench::new();
    (1..=2).for_each(|id| bench.begin(id));
    (1..=2).for_each(|id| bench.heard(id, 1));
    bench.answers(&[1, 2], 20, 2000);
    let both = bench.timeline.live(bench.now);
    assert_eq!((both.len(), both[0].tokens, both[0].seconds.round()), (1, 40.0, 4.0));
    assert_eq!(bench.live(), []);
    bench.answers(&[1, 2], 20, 1000);
    assert_eq!(bench.end(1, Some(41)), [(2, 20)], "not the slow part again");
}

#[test]
fn pieces_count_as_the_engine_counts_at_the_end() {
    let mut bench = Bench::new();
    bench.begin(1);
    (0..11).for_each(|_| {
        bench.timeline.heard(1, 1, false, bench.now);
        bench.now += Duration::from_millis(100);
    });
    // 22 tokens in eleven pieces; the first two are not part of the 1.1 seconds.
    let samples = bench.timeline.end(1, Some(Counted { tokens: 22, seconds: 1.1 }), bench.now);
    assert_eq!((samples[0].tokens, samples.len()), (20.0, 1));
    bench.begin(2);
    bench.timeline.heard(2, 1, false, bench.now);
    bench.now += Duration::from_secs(1);
    bench.timeline.heard(2, 10, false, bench.now);
    assert_eq!(bench.live(), [(1, 13)], "a known model's pieces are weighed by its last answers");
}

#[test]
fn an_answer_that_comes_in_one_lump_is_measured_by_the_engine_alone() {
    let mut bench = Bench::new();
    bench.begin(1);
    bench.now += Duration::from_secs(3);
    bench.heard(1, 1);
    assert_eq!(bench.end(1, Some(60)), [(1, 60)]);
    (1..=2).for_each(|id| bench.begin(id));
    bench.heard(1, 1);
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.end(1, Some(60)), [], "a prompt was beside it");
}

#[test]
fn time_without_anybody_there_is_no_slow_answer() {
    let mut bench = Bench::new();
    bench.begin(1);
    bench.heard(1, 1);
    bench.answers(&[1], 5, 500);
    bench.now += Duration::from_secs(600);
    bench.timeline.skip(bench.now);
    bench.answers(&[1], 10, 1000);
    assert_eq!(bench.end(1, Some(16)), [(1, 10)]);
}

proptest! {
    /// Attempts come and go as they like: no token and no second is counted twice.
    #[test]
    fn nothing_is_counted_twice(steps in prop::collection::vec((0_u8..5, 0_u64..6, 0_u64..2000), 0..200)) {
        let mut bench = Bench::new();
        let start = bench.now;
        let mut heard = 0.0;
        let mut samples = Vec::new();
        for (step, id, ms) in steps {
            bench.now += Duration::from_millis(ms);
            match step {
                0 if bench.timeline.progress(id).is_none() => bench.begin(id),
                1 => samples.extend(bench.timeline.live(bench.now)),
                2 => samples.extend(bench.timeline.end(id, None, bench.now)),
                3 if ms > 1900 => bench.timeline.skip(bench.now),
                _ => {
                    heard += if bench.timeline.progress(id).is_some() { 1.0 } else { 0.0 };
                    bench.heard(id, 1);
                }
            }
        }
        let tokens: f64 = samples.iter().map(|it| it.tokens).sum();
        // Among k answers each has its own second: only a k-th of it is time.
        let seconds: f64 = samples.iter().map(|it| it.seconds / f64::from(it.at_once)).sum();
        prop_assert!(tokens <= heard, "{tokens} of {heard}");
        prop_assert!(seconds <= bench.now.duration_since(start).as_secs_f64() + 1e-6);
        prop_assert!(samples.iter().all(|it| it.at_once > 0 && it.seconds > 0.0));
    }
}
