//! Whether the engine can be used, and for which models: what its API says (a health check), and a circuit breaker for
//! each model.
//!
//! A request that fails is no proof against the machine. So the breaker never opens on the word of a client's request
//! alone: the agent asks the engine for one token itself (a *trial*), and what comes of that decides. While a trial is
//! wanted because an engine died or stalled, the model takes no task; while it is wanted only because requests were
//! refused, the model stays open, since the requests may be at fault.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use echo_bus::message::{Code, Failure, Fault, Verdict};

use crate::engine::verdict;

/// One refusal may be the request's fault, and so may a hundred of the same request.
const DIFFERENT: usize = 2;

/// A model that has passed its trial is not tried again this soon, however much is refused.
const PROVED: Duration = Duration::from_secs(10);

/// After this time another model is tried too.
const PATIENCE: Duration = Duration::from_secs(5);

/// A trial of which nothing was heard for so long was lost.
const LOST: Duration = Duration::from_secs(1_200);

const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What the end of an attempt says of the engine and the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Good,
    /// The engine refused this request, and works otherwise.
    Refused(u64),
    /// The engine could not load the model.
    CannotLoad,
    /// The engine died, stalled or talked nonsense.
    Broken,
    /// The client's own fault, a cancel, a full engine, another request's doing: nothing is learned.
    None,
}

impl Sign {
    /// What a failed attempt says; `request` is the fingerprint of what was asked.
    pub fn of(failure: &Failure, request: u64) -> Self {
        if failure.verdict != Verdict::Elsewhere || failure.fault == Fault::Other {
            return Self::None;
        }
        match failure.code {
            Code::EngineError if verdict::cannot_load(failure) => Self::CannotLoad,
            // An answer without a proper end is the engine's fault or the request's: a trial tells.
            Code::EngineError => Self::Refused(request),
            Code::EngineUnreachable | Code::EngineStalled => Self::Broken,
            _ => Self::None,
        }
    }
}

#[derive(Debug)]
enum Reach {
    /// Never asked.
    Unknown,
    Up {
        since: Instant,
    },
    Down(String),
}

/// A model's circuit.
#[derive(Debug, Default)]
struct Trust {
    circuit: Circuit,
    /// Different requests that were refused since the last proof that the model works.
    refused: Vec<u64>,
    /// A trial is wanted although the model is open.
    questioned: bool,
    /// Since when a trial is under way.
    trying: Option<Instant>,
    proved: Option<Instant>,
}

#[derive(Debug, Default)]
enum Circuit {
    #[default]
    Closed,
    /// Takes no task until a trial has passed (half open).
    Doubted { since: Instant, why: String, rest: Duration },
    /// Failed its trial (open).
    Resting { until: Instant, why: String, rest: Duration },
}

/// The state of one engine.
#[derive(Debug)]
pub struct Health {
    reach: Reach,
    models: BTreeMap<String, Trust>,
}

impl Default for Health {
    fn default() -> Self {
        Self { reach: Reach::Unknown, models: BTreeMap::new() }
    }
}

impl Health {
    /// The engine's API has answered, or why it has not.
    pub fn probed(&mut self, answer: Result<(), String>, now: Instant) {
        self.reach = match answer {
            Ok(()) => Reach::Up { since: now },
            Err(reason) => Reach::Down(reason),
        };
    }

    /// An attempt has ended.
    pub fn ended(&mut self, model: &str, sign: Sign, why: &str, now: Instant) {
        if !self.learns(model, sign) {
            return;
        }
        let trust = self.models.entry(model.to_owned()).or_default();
        match sign {
            Sign::Good => trust.prove(None),
            Sign::Refused(request) => trust.refuse(request),
            Sign::CannotLoad => trust.questioned = true,
            Sign::Broken if matches!(trust.circuit, Circuit::Closed) => {
                let (why, rest) = (why.to_owned(), Duration::ZERO);
                trust.circuit = Circuit::Doubted { since: now, why, rest };
            }
            Sign::Broken | Sign::None => {}
        }
    }

    /// Whether a sign changes anything: a good one of a model that was never in doubt does not.
    pub fn learns(&self, model: &str, sign: Sign) -> bool {
        sign != Sign::None && (sign != Sign::Good || self.models.contains_key(model))
    }

    /// The model that is to be tried now, if one is; one at a time.
    pub fn trial_due(&mut self, now: Instant) -> Option<String> {
        let Reach::Up { since: up } = self.reach else { return None };
        // Several loads at once throw each other out; but one that takes long keeps no other model closed.
        let under_way = |since: Instant| now.duration_since(since) < PATIENCE;
        if self.models.values().filter_map(|trust| trust.trying).any(under_way) {
            return None;
        }
        let due =
            self.models.iter_mut().filter_map(|(name, trust)| trust.is_due(up, now).then_some((name, trust)));
        let (model, trust) = due.max_by_key(|(_, trust)| !matches!(trust.circuit, Circuit::Closed))?;
        trust.trying = Some(now);
        Some(model.clone())
    }

    /// What came of a trial.
    pub fn tried(&mut self, model: &str, result: Result<(), String>, now: Instant) {
        let Some(trust) = self.models.get_mut(model) else { return };
        trust.trying = None;
        match result {
            Ok(()) => trust.prove(Some(now)),
            Err(why) => trust.rest(why, now),
        }
    }

    /// Forgets what the engine does not have any more.
    pub fn retain(&mut self, has: impl Fn(&str) -> bool) {
        self.models.retain(|model, _| has(model));
    }

    /// Why the engine takes nothing at all, if so.
    pub fn down(&self) -> Option<&str> {
        match &self.reach {
            Reach::Unknown => Some("the engine has not been asked yet"),
            Reach::Down(reason) => Some(reason),
            Reach::Up { .. } => None,
        }
    }

    /// Why this model takes nothing now, though the engine may answer.
    pub fn closed(&self, model: &str) -> Option<String> {
        match &self.models.get(model)?.circuit {
            Circuit::Closed => None,
            Circuit::Doubted { why, .. } => Some(format!("being tried, because of this: {why}")),
            Circuit::Resting { why, .. } => Some(format!("resting, because a trial failed: {why}")),
        }
    }

    /// Whether a closed model is about to be decided upon, and not resting.
    pub fn is_tried(&self, model: &str) -> bool {
        self.models.get(model).is_some_and(|trust| matches!(trust.circuit, Circuit::Doubted { .. }))
    }

    /// Whether the API answered when it was last asked.
    pub fn is_up(&self) -> bool {
        matches!(self.reach, Reach::Up { .. })
    }
}

impl Trust {
    fn prove(&mut self, tried: Option<Instant>) {
        self.circuit = Circuit::Closed;
        self.refused.clear();
        self.questioned = false;
        self.proved = tried.or(self.proved);
    }

    fn refuse(&mut self, request: u64) {
        if self.refused.len() < DIFFERENT && !self.refused.contains(&request) {
            self.refused.push(request);
        }
        self.questioned |= self.refused.len() >= DIFFERENT;
    }

    /// A failed trial doubles the time until the next one: exponential backoff, up to [`LONGEST_REST`].
    fn rest(&mut self, why: String, now: Instant) {
        let before = match self.circuit {
            Circuit::Doubted { rest, .. } => rest,
            _ => Duration::ZERO,
        };
        let rest = (before * 2).clamp(SHORTEST_REST, LONGEST_REST);
        self.circuit = Circuit::Resting { until: now + rest, why, rest };
    }

    /// `up` is when the engine last answered: one that was not asked since the doubt may be gone.
    fn is_due(&mut self, up: Instant, now: Instant) -> bool {
        if self.trying.is_some_and(|since| now.duration_since(since) < LOST) {
            return false;
        }
        if let Circuit::Resting { until, why, rest } = &mut self.circuit
            && now >= *until
        {
            let (since, why, rest) = (*until, std::mem::take(why), *rest);
            self.circuit = Circuit::Doubted { since, why, rest };
        }
        match self.circuit {
            Circuit::Closed => {
                self.questioned && self.proved.is_none_or(|at| now.duration_since(at) >= PROVED)
            }
            Circuit::Doubted { since, .. } => up >= since,
            Circuit::Resting { .. } => false,
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

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_same_request_again_and_again_says_nothing_of_the_model() {
        let now = Instant::now();
        let mut health = up(now);
        for _ in 0..100 {
            health.ended("m", Sign::Refused(7), "", now);
        }
        assert_eq!((health.closed("m"), health.trial_due(now)), (None, None));
    }

    #[test]
    fn different_refusals_ask_for_a_trial_and_close_nothing_before_it_has_failed() {
        let now = Instant::now();
        let mut health = up(now);
        health.ended("m", Sign::Refused(1), "", now);
        health.ended("m", Sign::Refused(2), "", now);
        assert_eq!(health.trial_due(now).as_deref(), Some("m"));
        assert_eq!(health.closed("m"), None);
        assert_eq!(health.trial_due(now), None, "one at a time");
        health.tried("m", Ok(()), now);
        for request in 0..100 {
            health.ended("m", Sign::Refused(request), "", now);
        }
        assert_eq!(health.trial_due(now + s(9)), None, "it has been proved");
        assert_eq!(health.trial_due(now + s(10)).as_deref(), Some("m"));
        health.tried("m", Err("CUDA".into()), now);
        assert!(health.closed("m").unwrap().ends_with("CUDA"));
        assert_eq!(health.closed("other"), None, "a model rests, and not the node");
    }

    #[test]
    fn a_trial_that_takes_long_keeps_no_other_model_closed() {
        let start = Instant::now();
        let mut health = up(start);
        for model in ["a", "b"] {
            health.ended(model, Sign::Broken, "x", start);
        }
        health.probed(Ok(()), start);
        let first = health.trial_due(start).unwrap();
        assert_eq!(health.trial_due(start + s(4)), None);
        let second = health.trial_due(start + s(5)).unwrap();
        assert_ne!(first, second);
        assert_eq!(health.trial_due(start + s(60)), None, "both are under way");
        assert!(health.trial_due(start + LOST).is_some(), "one that was lost is begun anew");
    }

    #[test]
    fn a_good_answer_is_a_proof() {
        let now = Instant::now();
        let mut health = up(now);
        health.ended("m", Sign::Refused(1), "", now);
        health.ended("m", Sign::Good, "", now);
        health.ended("m", Sign::Refused(2), "", now);
        assert_eq!(health.trial_due(now), None);
        health.ended("m", Sign::Broken, "stalled", now);
        assert!(health.closed("m").is_some());
        health.ended("m", Sign::Good, "", now);
        assert_eq!(health.closed("m"), None);
    }

    #[test]
    fn a_broken_engine_takes_nothing_before_it_was_asked_again_and_has_passed() {
        let start = Instant::now();
        let mut health = up(start);
        let now = start + s(1);
        health.ended("m", Sign::Broken, "stalled", now);
        assert!(health.closed("m").unwrap().ends_with("stalled"));
        assert_eq!(health.trial_due(now), None, "the engine may be gone");
        health.probed(Err("connection refused".into()), now);
        assert_eq!((health.trial_due(now), health.down()), (None, Some("connection refused")));
        health.probed(Ok(()), now);
        assert_eq!(health.trial_due(now).as_deref(), Some("m"));
        health.tried("m", Ok(()), now);
        assert_eq!(health.closed("m"), None);
    }

    #[test]
    fn each_failed_trial_doubles_the_rest_up_to_the_longest() {
        let mut now = Instant::now();
        let mut health = up(now);
        health.ended("m", Sign::Broken, "x", now);
        let mut rests = Vec::new();
        for _ in 0..7 {
            health.probed(Ok(()), now);
            assert_eq!(health.trial_due(now).as_deref(), Some("m"));
            health.tried("m", Err("x".into()), now);
            let rest = (1..60).find(|&rest| {
                health.probed(Ok(()), now + s(rest));
                let due = health.trial_due(now + s(rest)).is_some();
                if due {
                    health.models.get_mut("m").unwrap().trying = None;
                }
                due
            });
            rests.push(rest.unwrap());
            now += s(rest.unwrap());
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_failure_says_of_the_engine_what_it_can_say() {
        let refused = Failure::elsewhere(Code::EngineError, "").saying(Some(500), "no");
        assert_eq!(Sign::of(&refused, 7), Sign::Refused(7));
        let load = Failure::elsewhere(Code::EngineError, "").saying(Some(500), "failed to load model");
        assert_eq!(Sign::of(&load, 7), Sign::CannotLoad);
        assert_eq!(Sign::of(&Failure::elsewhere(Code::EngineStalled, ""), 7), Sign::Broken);
        let victim = Failure { fault: Fault::Other, ..Failure::elsewhere(Code::EngineUnreachable, "") };
        assert_eq!(Sign::of(&victim, 7), Sign::None);
        for failure in [
            Failure::give_up(Code::EngineRefused, ""),
            Failure::elsewhere(Code::EngineBusy, ""),
            Failure::elsewhere(Code::ModelMissing, ""),
        ] {
            assert_eq!(Sign::of(&failure, 7), Sign::None);
        }
    }
}
