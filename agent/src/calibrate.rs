//! The agent's own request for some tokens, once for each start of the engine: so the first task of the mesh finds a node
//! whose speed is known.
//!
//! It costs nobody anything: only a model in memory is asked, on an engine that nobody uses, and the first task ends it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_bus::id::BootId;
use echo_bus::message::{Failure, Generate, LoadOptions, Model, Request, Settings};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Order, Sign, Step, unfinished};
use crate::facts::{About, Facts};

/// Nobody has used the node for so long.
const QUIET: Duration = Duration::from_secs(1);

/// An engine that takes longer than this has told enough by its first tokens.
const LIMIT: Duration = Duration::from_secs(60);

/// Tokens of the answer, and words of the prompt: about 300 tokens.
const ANSWER: i64 = 32;
const WORDS: usize = 280;

/// Whether and when the engine is asked.
#[derive(Debug)]
pub struct Calibration {
    wanted: bool,
    phase: Phase,
    quiet: Instant,
}

#[derive(Debug)]
enum Phase {
    Waits,
    Runs(CancellationToken),
    Over,
}

impl Calibration {
    /// Waits for a quiet moment; for ever if it is not wanted.
    pub fn new(wanted: bool, now: Instant) -> Self {
        Self { wanted, phase: Phase::Waits, quiet: now }
    }

    /// The moment is there.
    pub fn is_due(&self, now: Instant) -> bool {
        let is_quiet = now.saturating_duration_since(self.quiet) >= QUIET;
        self.wanted && is_quiet && matches!(self.phase, Phase::Waits)
    }

    /// It runs until it has ended or this token is cancelled.
    pub fn begin(&mut self) -> CancellationToken {
        let halt = CancellationToken::new();
        self.phase = Phase::Runs(halt.clone());
        halt
    }

    /// A task comes: it goes first, and its own figures are worth more.
    pub fn make_way(&mut self) {
        if let Phase::Runs(halt) = &self.phase {
            halt.cancel();
        }
    }

    /// The node is in use.
    pub fn disturbed(&mut self, now: Instant) {
        self.quiet = now;
    }

    /// It is over. An engine that fails it is not asked again: it may be what our own request does to it.
    pub fn ended(&mut self, failed: bool) {
        self.phase = Phase::Over;
        self.wanted &= !failed;
    }

    /// The engine is down: it will have been started anew.
    pub fn again(&mut self, now: Instant) {
        self.make_way();
        (self.phase, self.quiet) = (Phase::Waits, now);
    }
}

/// A calibration of one model.
#[derive(Debug)]
pub struct Calibrate {
    model: String,
    order: Order,
    halt: CancellationToken,
}

impl Calibrate {
    /// Asks a model in memory, as it is loaded: other load-time options would load it anew.
    pub fn of(model: &Model, engine_name: &str, boot: &BootId, halt: CancellationToken) -> Self {
        let mut settings = Settings { max_tokens: Some(ANSWER), ..Settings::default() };
        let as_loaded = model.loaded_with.clone().filter(|options| !options.is_empty());
        as_loaded.unwrap_or_else(|| LoadOptions::with_length(model.context_length)).put(&mut settings);
        let name = Some(engine_name.to_owned());
        let request = Generate { model: name, prompt: prompt(boot), settings, ..Generate::default() };
        let order =
            Order { request: Request::Generate(request), model: engine_name.to_owned(), so_far: None };
        Self { model: model.name.clone(), order, halt }
    }

    #[cfg(test)]
    pub fn halt(&self) -> CancellationToken {
        self.halt.clone()
    }

    /// Runs it to its end, or until somebody else wants the engine.
    ///
    /// # Errors
    /// With what the engine did instead.
    pub async fn run(self, engine: Arc<dyn Engine>, facts: Arc<Facts>) -> Result<(), Failure> {
        let halt = self.halt.clone();
        let whole = tokio::time::timeout(LIMIT, self.ask(engine, facts));
        match halt.run_until_cancelled(whole).await {
            Some(Ok(end)) => end,
            // Stopped, or too slow: what came until then was measured.
            Some(Err(_)) | None => Ok(()),
        }
    }

    async fn ask(self, engine: Arc<dyn Engine>, facts: Arc<Facts>) -> Result<(), Failure> {
        // Others may use it, or it may have unloaded the model since.
        if !matches!(engine.sign(self.order.model.clone()).await, Sign::Idle | Sign::Answers) {
            return Ok(());
        }
        let request = self.order.request.clone();
        let about = About { key: None, model: &self.model, request: &request, so_far: None, loaded: true };
        let mut run = facts.begin(about, Instant::now());
        let mut steps = engine.run(self.order);
        while let Some(step) = steps.next().await {
            match step? {
                Step::Piece(piece) => run.heard(&[piece], Instant::now()),
                Step::Alive => {}
                Step::Done(done) => {
                    run.done(&request, &done, Instant::now());
                    return Ok(());
                }
            }
        }
        Err(unfinished())
    }
}

/// A text that no cache can hold already: it begins with this start of the agent.
fn prompt(boot: &BootId) -> String {
    const LIST: [&str; 16] = [
        "river", "stone", "window", "green", "paper", "train", "music", "seven", "garden", "light", "winter",
        "bread", "bridge", "letter", "ocean", "clock",
    ];
    let words = (0..WORDS).map(|place| LIST[(place * place / 3 + place) % LIST.len()]);
    let words: Vec<&str> = words.collect();
    format!("{boot}: go on with this list of words, one after the other: {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_a_quiet_moment_and_runs_once_for_each_start_of_the_engine() {
        let start = Instant::now();
        let mut calibration = Calibration::new(true, start);
        assert!(!calibration.is_due(start) && calibration.is_due(start + QUIET));
        calibration.disturbed(start + QUIET);
        assert!(!calibration.is_due(start + QUIET));
        let halt = calibration.begin();
        assert!(!calibration.is_due(start + QUIET * 9));
        calibration.make_way();
        calibration.ended(false);
        assert!(halt.is_cancelled() && !calibration.is_due(start + QUIET * 9));
        calibration.again(start + QUIET * 9);
        assert!(calibration.is_due(start + QUIET * 10));
        assert!(!Calibration::new(false, start).is_due(start + QUIET * 9));
        calibration.ended(true);
        calibration.again(start);
        assert!(!calibration.is_due(start + QUIET * 9), "the engine did not bear it");
    }

    #[test]
    fn a_model_is_asked_as_it_is_loaded() {
        let options = |model: &Model| {
            let boot = "b1".parse().unwrap();
            let it = Calibrate::of(model, "m", &boot, CancellationToken::new());
            it.order.request.load_options().unwrap().to_string()
        };
        assert_eq!(options(&Model::default()), "");
        assert_eq!(options(&Model { context_length: Some(8192), ..Model::default() }), "num_ctx 8192");
        let with = serde_json::from_value(serde_json::json!({"num_batch": 7})).unwrap();
        let model = Model { context_length: Some(8192), loaded_with: Some(with), ..Model::default() };
        assert_eq!(options(&model), "num_batch 7");
        assert_ne!(prompt(&"b1".parse().unwrap()), prompt(&"b2".parse().unwrap()));
    }
}
