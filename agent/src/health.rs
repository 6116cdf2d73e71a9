//! Whether the engine can be used: what the last probe said, and a circuit breaker that lets an engine rest which
//! answers its API and fails its tasks.

use std::time::{Duration, Instant};

use echo_broker::message::{Code, Failure, Verdict};

/// One failure may be bad luck.
const FAILURES: u32 = 2;

const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What the end of an attempt says of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Good,
    Bad,
    /// The client's own fault, a cancel, a full engine: nothing is learned.
    None,
}

impl Sign {
    /// What a failed attempt says of the engine.
    pub fn of(failure: &Failure) -> Self {
        match failure.code {
            Code::EngineUnreachable | Code::EngineStalled | Code::EngineError
                if failure.verdict == Verdict::Elsewhere =>
            {
                Self::Bad
            }
            _ => Self::None,
        }
    }
}

/// How a task may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    Free,
    /// The one that tries whether the engine works again.
    Trial,
    /// The trial is still running.
    Wait,
    Closed(String),
}

#[derive(Debug)]
enum Reach {
    /// Never asked.
    Unknown,
    Up,
    Down(String),
}

#[derive(Debug)]
enum Circuit {
    Closed { failures: u32 },
    Resting { until: Instant, rest: Duration, why: String },
    HalfOpen { rest: Duration, trial: bool },
}

/// The state of one engine.
#[derive(Debug)]
pub struct Health {
    reach: Reach,
    circuit: Circuit,
}

impl Default for Health {
    fn default() -> Self {
        Self { reach: Reach::Unknown, circuit: Circuit::Closed { failures: 0 } }
    }
}

impl Health {
    /// The engine's API has answered, or why it has not. An answer ends a rest that is over.
    pub fn probed(&mut self, answer: Result<(), String>, now: Instant) {
        self.reach = match answer {
            Ok(()) => Reach::Up,
            Err(reason) => Reach::Down(reason),
        };
        if let (Reach::Up, Circuit::Resting { until, rest, .. }) = (&self.reach, &self.circuit)
            && now >= *until
        {
            self.circuit = Circuit::HalfOpen { rest: *rest, trial: false };
        }
    }

    /// An attempt has ended; `trial` if it was admitted as one.
    pub fn ended(&mut self, trial: bool, sign: Sign, why: &str, now: Instant) {
        match (&mut self.circuit, sign) {
            (Circuit::Closed { failures }, Sign::Good) => *failures = 0,
            (Circuit::Closed { failures }, Sign::Bad) => {
                *failures += 1;
                if *failures >= FAILURES {
                    self.rest(SHORTEST_REST, why, now);
                }
            }
            (Circuit::HalfOpen { .. }, Sign::Good) if trial => self.circuit = Circuit::Closed { failures: 0 },
            (Circuit::HalfOpen { rest, .. }, Sign::Bad) if trial => {
                let longer = (*rest * 2).min(LONGEST_REST);
                self.rest(longer, why, now);
            }
            (Circuit::HalfOpen { trial: running, .. }, Sign::None) if trial => *running = false,
            // Late words of attempts from before the rest say nothing about now.
            _ => {}
        }
    }

    fn rest(&mut self, rest: Duration, why: &str, now: Instant) {
        self.circuit = Circuit::Resting { until: now + rest, rest, why: why.to_owned() };
    }

    /// How a task may start now.
    pub fn admission(&self) -> Admission {
        match (self.unavailable(), &self.circuit) {
            (Some(reason), _) => Admission::Closed(reason),
            (None, Circuit::HalfOpen { trial: true, .. }) => Admission::Wait,
            (None, Circuit::HalfOpen { trial: false, .. }) => Admission::Trial,
            (None, _) => Admission::Free,
        }
    }

    /// A task was admitted as the trial.
    pub fn try_out(&mut self) {
        if let Circuit::HalfOpen { trial, .. } = &mut self.circuit {
            *trial = true;
        }
    }

    /// Why nothing can start, if so.
    pub fn unavailable(&self) -> Option<String> {
        match (&self.reach, &self.circuit) {
            (Reach::Unknown, _) => Some("the engine has not been asked yet".to_owned()),
            (Reach::Down(reason), _) => Some(reason.clone()),
            (Reach::Up, Circuit::Resting { why, .. }) => {
                Some(format!("resting, because the engine failed twice in a row; at last: {why}"))
            }
            _ => None,
        }
    }

    /// Whether the API answered when it was last asked.
    pub fn is_up(&self) -> bool {
        matches!(self.reach, Reach::Up)
    }

    /// When a rest is over, if there is one.
    pub fn rests_until(&self) -> Option<Instant> {
        match &self.circuit {
            Circuit::Resting { until, .. } => Some(*until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(now: Instant) -> Health {
        let mut health = Health::default();
        health.probed(Ok(()), now);
        health
    }

    #[test]
    fn two_failures_in_a_row_make_it_rest_and_one_does_not() {
        let now = Instant::now();
        let mut health = up(now);
        for sign in [Sign::Bad, Sign::Good, Sign::Bad, Sign::None] {
            health.ended(false, sign, "stalled", now);
            assert_eq!(health.admission(), Admission::Free);
        }
        health.ended(false, Sign::Bad, "stalled", now);
        assert!(health.unavailable().unwrap().ends_with("stalled"));
    }

    #[test]
    fn after_the_rest_and_a_probe_one_trial_decides() {
        let start = Instant::now();
        let mut health = up(start);
        health.ended(false, Sign::Bad, "x", start);
        health.ended(false, Sign::Bad, "x", start);
        health.probed(Ok(()), start + SHORTEST_REST / 2);
        assert!(matches!(health.admission(), Admission::Closed(_)), "too early");
        let now = health.rests_until().unwrap();
        health.probed(Ok(()), now);
        assert_eq!(health.admission(), Admission::Trial);
        health.try_out();
        assert_eq!(health.admission(), Admission::Wait);
        health.ended(false, Sign::Bad, "an old one", now);
        health.ended(false, Sign::Good, "", now);
        assert_eq!(health.admission(), Admission::Wait, "late words do not count");
        health.ended(true, Sign::None, "", now);
        assert_eq!(health.admission(), Admission::Trial, "a cancelled trial decides nothing");
        health.try_out();
        health.ended(true, Sign::Good, "", now);
        assert_eq!(health.admission(), Admission::Free);
    }

    #[test]
    fn each_failed_trial_doubles_the_rest_up_to_the_longest() {
        let mut now = Instant::now();
        let mut health = up(now);
        health.ended(false, Sign::Bad, "x", now);
        health.ended(false, Sign::Bad, "x", now);
        let mut rests = Vec::new();
        for _ in 0..7 {
            let until = health.rests_until().unwrap();
            rests.push(until.duration_since(now).as_secs());
            now = until;
            health.probed(Ok(()), now);
            health.try_out();
            health.ended(true, Sign::Bad, "x", now);
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn an_unreachable_engine_is_back_with_its_first_answer() {
        let now = Instant::now();
        let mut health = up(now);
        health.probed(Err("connection refused".into()), now);
        assert_eq!(health.admission(), Admission::Closed("connection refused".into()));
        health.probed(Ok(()), now);
        assert_eq!(health.admission(), Admission::Free);
    }

    #[test]
    fn a_client_error_is_no_bad_sign() {
        assert_eq!(Sign::of(&Failure::give_up(Code::EngineRefused, "")), Sign::None);
        assert_eq!(Sign::of(&Failure::elsewhere(Code::EngineBusy, "")), Sign::None);
        assert_eq!(Sign::of(&Failure::elsewhere(Code::ModelMissing, "")), Sign::None);
        assert_eq!(Sign::of(&Failure::elsewhere(Code::EngineStalled, "")), Sign::Bad);
    }
}
