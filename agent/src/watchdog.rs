//! The watchdog of one task: a limit for each phase, and signs of life to tell a stalled engine from a slow one.

use std::time::{Duration, Instant};

use echo_bus::message::{Code, Failure, Fault};

use crate::engine::Sign;

/// An engine that visibly works may take as many times its limit.
const PATIENCE: u32 = 4;

/// A silence that lasts so long is looked into, however long the limit is: an engine that is gone need not be waited
/// for.
const SILENCE: Duration = Duration::from_secs(5);

/// One bad sign may be bad luck.
const BAD_SIGNS: u32 = 2;

/// How long each phase may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub load: Duration,
    pub first: Duration,
    pub between: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Loading,
    First,
    Between,
}

/// Watches one task from its start at the engine. Plain data: time and signs come from outside.
#[derive(Debug)]
pub struct Watchdog {
    limits: Limits,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When the phase is over at the latest as things stand; visible work moves it.
    until: Instant,
    asked: Option<Instant>,
    work: Option<u64>,
    bad: u32,
    /// When a model that was not in memory at the start may still be loading: engines list it before it is ready.
    loading_until: Option<Instant>,
    over: Instant,
    whole: Duration,
}

impl Watchdog {
    /// A task that starts now, on a model that is in memory or not, and ends after `whole` at the latest.
    pub fn new(limits: Limits, loaded: bool, whole: Duration, now: Instant) -> Self {
        let over = now + whole;
        let mut watchdog = Self {
            limits,
            phase: Phase::First,
            since: now,
            until: now,
            asked: None,
            work: None,
            bad: 0,
            loading_until: (!loaded).then(|| now + limits.load),
            over,
            whole,
        };
        watchdog.enter(if loaded { Phase::First } else { Phase::Loading }, now);
        watchdog
    }

    fn limit(&self) -> Duration {
        match self.phase {
            Phase::Loading => self.limits.load,
            Phase::First => self.limits.first,
            Phase::Between => self.limits.between,
        }
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
        self.until = now + self.limit();
        if let (Phase::First, Some(loading)) = (phase, self.loading_until) {
            self.until = self.until.max(loading);
        }
        (self.asked, self.work, self.bad) = (None, None, 0);
    }

    /// The engine has sent something.
    pub fn heard(&mut self, now: Instant) {
        self.enter(Phase::Between, now);
    }

    /// An answer to a question for signs of life; a failure if it settles the matter.
    pub fn sign(&mut self, sign: Sign, now: Instant) -> Option<Failure> {
        match sign {
            Sign::Loading if self.phase == Phase::First => self.enter(Phase::Loading, now),
            Sign::Answers | Sign::Works(_) | Sign::Idle if self.phase == Phase::Loading => {
                self.enter(Phase::First, now);
            }
            _ => {}
        }
        match sign {
            Sign::Loading | Sign::Answers => self.bad = 0,
            Sign::Works(work) => {
                self.bad = 0;
                if self.work.replace(work).is_some_and(|before| before != work) {
                    let most = self.since + self.limit() * PATIENCE;
                    self.until = self.until.max(now + self.limit()).min(most.max(self.until));
                }
            }
            Sign::Idle | Sign::Mute => {
                self.bad += 1;
                if self.bad >= BAD_SIGNS {
                    return Some(lost(sign));
                }
            }
        }
        None
    }

    /// Whether a limit has been passed.
    pub fn check(&self, now: Instant) -> Option<Failure> {
        if now >= self.over {
            let message = format!("the task was not done within its {} s", seconds(self.whole));
            return Some(Failure::give_up(Code::Expired, message));
        }
        if now < self.until {
            return None;
        }
        let waited = seconds(now.duration_since(self.since));
        let message = match self.phase {
            Phase::Loading => format!("the engine has not loaded the model within {waited} s"),
            Phase::First => format!("the engine has given no first token within {waited} s"),
            Phase::Between => format!("the engine has given no further token for {waited} s"),
        };
        Some(Failure::elsewhere(Code::EngineStalled, message))
    }

    /// When the present phase began: what was asked before says nothing of it.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether it is time to ask for a sign of life.
    pub fn asks(&self, now: Instant) -> bool {
        now >= self.next_question()
    }

    /// To be called when it is asked.
    pub fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// When to look again: at the next question or at the end.
    pub fn next(&self, asking: bool) -> Instant {
        let end = self.until.min(self.over);
        if asking { end } else { end.min(self.next_question()) }
    }

    fn next_question(&self) -> Instant {
        let limit = self.limit();
        let often = (limit / 8).clamp(Duration::from_millis(50), Duration::from_secs(2));
        // A load is looked at from its beginning: the limit of the first token counts from its end.
        let first = if self.phase == Phase::Loading {
            often.min(Duration::from_secs(1))
        } else {
            (limit / 2).min(SILENCE)
        };
        self.asked.map_or(self.since + first, |asked| asked + often)
    }
}

fn lost(sign: Sign) -> Failure {
    match sign {
        // No request stops the API of an engine: the machine does, or whoever stopped the process.
        Sign::Mute => Failure {
            fault: Fault::Machine,
            ..Failure::elsewhere(
                Code::EngineUnreachable,
                "the engine's API stopped answering while a task waited",
            )
        },
        _ => Failure::elsewhere(Code::EngineStalled, "the engine works on nothing while a task waits for it"),
    }
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        load: Duration::from_secs(300),
        first: Duration::from_secs(60),
        between: Duration::from_secs(10),
    };
    const WHOLE: Duration = Duration::from_secs(1000);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn code(failure: Option<Failure>) -> Option<Code> {
        failure.map(|failure| failure.code)
    }

    #[test]
    fn each_phase_has_its_own_limit_and_words() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, true, WHOLE, now);
        assert_eq!(watchdog.check(now + s(59)), None);
        assert!(watchdog.check(now + s(60)).unwrap().message.contains("first token"));
        watchdog.heard(now);
        assert_eq!(watchdog.check(now + s(9)), None);
        assert!(watchdog.check(now + s(10)).unwrap().message.contains("further token"));
        let cold = Watchdog::new(LIMITS, false, WHOLE, now);
        assert!(cold.check(now + s(299)).is_none());
        assert!(cold.check(now + s(300)).unwrap().message.contains("loaded"));
    }

    #[test]
    fn the_first_token_is_due_only_after_the_load() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, false, WHOLE, now);
        watchdog.sign(Sign::Loading, now + s(200));
        watchdog.sign(Sign::Answers, now + s(290));
        assert_eq!(watchdog.check(now + s(349)), None);
        assert_eq!(code(watchdog.check(now + s(350))), Some(Code::EngineStalled));
    }

    #[test]
    fn a_listed_model_may_still_be_loading() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, false, WHOLE, now);
        watchdog.sign(Sign::Answers, now + s(1));
        assert_eq!(watchdog.check(now + s(299)), None);
        assert_eq!(code(watchdog.check(now + s(300))), Some(Code::EngineStalled));
    }

    #[test]
    fn visible_work_buys_time_but_not_for_ever() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, true, s(100_000), start);
        watchdog.heard(start);
        let mut now = start;
        for work in 0.. {
            if watchdog.check(now).is_some() {
                break;
            }
            watchdog.sign(Sign::Works(work), now);
            now += s(1);
        }
        assert_eq!(now.duration_since(start), s(40));
    }

    #[test]
    fn work_that_stands_still_buys_nothing() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, true, WHOLE, now);
        watchdog.heard(now);
        for second in 5..10 {
            assert_eq!(watchdog.sign(Sign::Works(7), now + s(second)), None);
        }
        assert_eq!(code(watchdog.check(now + s(10))), Some(Code::EngineStalled));
    }

    #[test]
    fn a_mute_or_idle_engine_fails_early() {
        let now = Instant::now();
        for (sign, expected) in [(Sign::Mute, Code::EngineUnreachable), (Sign::Idle, Code::EngineStalled)] {
            let mut watchdog = Watchdog::new(LIMITS, true, WHOLE, now);
            assert_eq!(watchdog.sign(sign, now + s(30)), None);
            assert_eq!(code(watchdog.sign(sign, now + s(32))), Some(expected));
        }
    }

    #[test]
    fn signs_are_asked_for_from_half_of_the_limit_on_or_after_some_seconds() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, true, WHOLE, now);
        assert!(!watchdog.asks(now + s(4)) && watchdog.asks(now + s(5)));
        watchdog.asked(now + s(5));
        assert!(!watchdog.asks(now + s(6)) && watchdog.asks(now + s(7)));
        let hasty = Limits { first: s(2), ..LIMITS };
        assert!(Watchdog::new(hasty, true, WHOLE, now).asks(now + s(1)));
        assert!(
            Watchdog::new(LIMITS, false, WHOLE, now).asks(now + s(1)),
            "a load is watched from its beginning"
        );
    }

    #[test]
    fn the_whole_task_has_the_last_word() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, true, s(5), now);
        watchdog.heard(now + s(4));
        assert_eq!(code(watchdog.check(now + s(5))), Some(Code::Expired));
        assert_eq!(watchdog.next(false), now + s(5));
    }

    proptest! {
        #[test]
        fn no_task_outlives_its_time(steps in prop::collection::vec((0u8..7, 0u64..20), 0..80), loaded in any::<bool>()) {
            let start = Instant::now();
            let mut watchdog = Watchdog::new(LIMITS, loaded, s(200), start);
            let mut now = start;
            for (kind, wait) in steps {
                now += s(wait);
                match kind {
                    0 => watchdog.heard(now),
                    1 => drop(watchdog.sign(Sign::Loading, now)),
                    2 => drop(watchdog.sign(Sign::Answers, now)),
                    3 => drop(watchdog.sign(Sign::Works(wait), now)),
                    4 => drop(watchdog.sign(Sign::Idle, now)),
                    5 => drop(watchdog.sign(Sign::Mute, now)),
                    _ => watchdog.asked(now),
                }
                prop_assert!(now < start + s(200) || watchdog.check(now).is_some());
                prop_assert!(watchdog.next(false) <= start + s(200));
                // Looking when it says to look always leads somewhere.
                let look = watchdog.next(false).max(now);
                prop_assert!(watchdog.check(look).is_some() || watchdog.asks(look));
            }
        }
    }
}
