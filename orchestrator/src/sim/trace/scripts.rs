//! Single questions, chats and coding agents.

use super::script::{Script, Turn};
use crate::sim::rng::Rng;

/// The longest prompt of a coding agent.
const CONTEXT: u32 = 30_000;
/// The system text of coding agents.
const TOOLS: u32 = 6_000;
/// Prompts without a system text share nothing: each has a text of its own, numbered from here.
const OWN: u64 = 1 << 32;

/// Scripts in the making.
#[derive(Debug)]
pub struct Scripts {
    pub rng: Rng,
    /// Whose the next ones are.
    pub client: Option<&'static str>,
    made: Vec<Script>,
}

impl Scripts {
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), client: None, made: Vec::new() }
    }

    pub fn finish(self) -> Vec<Script> {
        self.made
    }

    /// Times of arrival, so many a second on average.
    pub fn poisson(&mut self, per_second: f64, count: usize) -> Vec<f64> {
        let mut at = 0.0;
        let mut next = || {
            at += self.rng.exponential(1.0 / per_second);
            at
        };
        (0..count).map(|_| next()).collect()
    }

    pub fn tokens(&mut self, median: f64, sigma: f64, least: u32, most: u32) -> u32 {
        self.rng.lognormal(median, sigma, least, most)
    }

    /// A question without a history.
    pub fn single(&mut self, at: f64, model: usize, prompt: u32, answer: u32) {
        let session = self.made.len() as u64;
        let turn = Turn {
            model,
            prompt,
            answer,
            session,
            system: OWN + session,
            system_tokens: 0,
            think: 0.0,
            calls_tool: false,
        };
        self.made.push(Script { at, client: self.client, turns: vec![turn] });
    }

    /// A chat that grows by what the user says and by the answers.
    pub fn chat(
        &mut self,
        at: f64,
        model: usize,
        turns: usize,
        (system, system_tokens): (u64, u32),
        think: f64,
    ) {
        let (session, mut prompt, mut made) = (self.made.len() as u64, system_tokens, Vec::new());
        for turn in 0..turns {
            prompt += self.tokens(60.0, 0.8, 5, 2_000);
            let answer = self.tokens(180.0, 0.8, 8, 2_000);
            let think = if turn == 0 { 0.0 } else { self.rng.exponential(think) };
            let calls_tool = false;
            made.push(Turn { model, prompt, answer, session, system, system_tokens, think, calls_tool });
            prompt += answer;
        }
        self.made.push(Script { at, client: self.client, turns: made });
    }

    /// A coding agent: a long prompt that grows by tool results, little said, short pauses.
    pub fn coder(&mut self, at: f64, model: usize, steps: usize, system: u64, base: u32) {
        let (session, mut prompt, mut made) = (self.made.len() as u64, TOOLS + base, Vec::new());
        for step in 0..steps {
            if step > 0 {
                prompt += self.tokens(700.0, 0.9, 40, 6_000);
            }
            prompt = prompt.min(CONTEXT);
            let answer = self.tokens(110.0, 0.8, 10, 1_500);
            let think = if step == 0 { 0.0 } else { self.rng.exponential(5.0) };
            let calls_tool = step + 1 < steps;
            let system_tokens = TOOLS;
            made.push(Turn { model, prompt, answer, session, system, system_tokens, think, calls_tool });
            prompt += answer;
        }
        self.made.push(Script { at, client: self.client, turns: made });
    }
}
