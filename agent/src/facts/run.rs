//! One attempt at the engine, as far as it is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use echo_bus::id::AttemptId;
use echo_bus::message::{Done, Message, Part, Piece, Reason, Request, SoFar, ToolCall};
use tracing::debug;

use super::mirror::Left;
use super::text::Text;
use super::timeline::Counted;
use super::{Attempt, Facts};

/// The text of an answer is kept up to so many bytes, until it has been hashed: no more of it is ever compared.
const LONGEST: usize = 128 << 10;

/// What an attempt is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Absent: the agent's own request, which says nothing of what users ask.
    pub key: Option<AttemptId>,
    /// In the mesh's words.
    pub model: &'a str,
    pub request: &'a Request,
    pub so_far: Option<&'a SoFar>,
    /// It finds the model in memory.
    pub loaded: bool,
}

/// An attempt at the engine. Dropped without its end, it was given up.
#[derive(Debug)]
pub struct Run {
    facts: Arc<Facts>,
    id: u64,
    key: Option<AttemptId>,
    model: String,
    prompt: Text,
    /// Bytes of the prompt that are cached as far as the mirror knows.
    cached: Option<u64>,
    generates: bool,
    /// Only prompts that have nothing but text are measured by it.
    is_text: bool,
    so_far: Option<Box<SoFar>>,
    answer: Message,
    begun: bool,
    over: bool,
}

impl Facts {
    /// An attempt begins at the engine.
    pub fn begin(self: &Arc<Self>, about: About<'_>, now: Instant) -> Run {
        let generates = matches!(about.request, Request::Generate(_) | Request::Chat(_));
        let so_far = about.so_far.map(as_message);
        let prompt = Text::of(about.request, so_far.as_ref());
        let state = &mut *self.state();
        state.runs += 1;
        let id = state.runs;
        state.timeline.begin(id, about.model, now);
        if hides(about.request) {
            state.timeline.hide(id);
        }
        if let Some(key) = about.key {
            let so_far = about.so_far.map_or(0, |so_far| so_far.tokens);
            state.attempts.insert(key, Attempt { run: id, model: about.model.to_owned(), so_far });
        }
        if !about.loaded {
            state.mirror.loads(about.model);
        }
        let slots = state.slots;
        let cached = (generates && prompt.bytes() > 0)
            .then(|| state.mirror.begin(about.model, slots, (id, about.key), &prompt, now))
            .flatten();
        Run {
            facts: self.clone(),
            id,
            key: about.key,
            model: about.model.to_owned(),
            prompt,
            cached,
            generates,
            is_text: generates && !has_images(about.request),
            so_far: about.so_far.cloned().map(Box::new),
            answer: so_far.unwrap_or_else(|| as_message(&SoFar::default())),
            begun: false,
            over: false,
        }
    }
}

impl Run {
    /// A part of the answer came.
    pub fn heard(&mut self, pieces: &[Piece], now: Instant) {
        let by_engine = pieces.iter().all(|piece| piece.tokens.is_some());
        let tokens = pieces.iter().map(|piece| piece.tokens.map_or_else(|| chunk(piece), u64::from)).sum();
        self.facts.state().timeline.heard(self.id, tokens, by_engine, now);
        self.begun = true;
        for piece in pieces {
            if self.answer.text().len() < LONGEST {
                self.answer.push_text(&piece.content);
            }
            // Only whether there was any matters.
            if self.answer.thinking().is_empty() {
                self.answer.push_thinking(&piece.thinking);
            }
            let room = LONGEST / 256;
            let calls = piece.tool_calls.iter().filter(|_| self.answer.tool_calls().count() < room);
            let calls: Vec<ToolCall> = calls.cloned().collect();
            self.answer.content.extend(calls.into_iter().map(Part::ToolCall));
        }
    }

    /// The whole answer is there.
    pub fn done(mut self, request: &Request, done: &Done, now: Instant) {
        self.over = true;
        let facts = self.facts.clone();
        let state = &mut *facts.state();
        let heard = state.timeline.progress(self.id).map_or(0, |(tokens, _)| tokens);
        let seconds = done.timings.eval_ns as f64 / 1e9;
        let counted = done.tokens.map(|tokens| Counted { tokens, seconds });
        let samples = state.timeline.end(self.id, counted, now);
        state.add(samples, now);
        self.leave(state);
        if self.key.is_some() {
            state.answered.insert(self.model.clone());
        }
        let tokens = done.tokens.unwrap_or(heard);
        let is_answer = matches!(done.reason, Reason::Stop | Reason::Length | Reason::ToolCalls);
        if !(is_answer && self.generates) {
            return state.mirror.give_up(&self.model, self.id, now);
        }
        if self.key.is_some() {
            let so_far = self.so_far.as_ref().map_or(0, |so_far| so_far.tokens);
            state.of(&self.model).lengths.add(so_far + tokens);
        }
        self.measure_prompt(state, done);
        let left = self.left(request, done, tokens);
        state.mirror.end(&self.model, self.id, left, now);
    }

    fn measure_prompt(&self, state: &mut super::State, done: &Done) {
        let (bytes, Some(tokens)) = (self.prompt.bytes(), done.prompt_tokens) else { return };
        if !self.is_text || bytes == 0 {
            return;
        }
        let prompts = &mut state.of(&self.model).prompts;
        let was_unknown = prompts.speed().is_none();
        if self.so_far.is_none() {
            prompts.had(tokens, bytes);
        }
        let by_mirror = || Some(self.cached?.saturating_mul(tokens) / bytes);
        debug!(tokens, thought = by_mirror(), said = done.cached_tokens, "what the cache had of a prompt");
        let Some(cached) = done.cached_tokens.or_else(by_mirror) else { return };
        if done.timings.prompt_ns > 0 {
            prompts.took(tokens.saturating_sub(cached), Duration::from_nanos(done.timings.prompt_ns));
            let is_first = was_unknown && prompts.speed().is_some();
            state.firsts += u64::from(is_first);
        }
    }

    fn left(&self, request: &Request, done: &Done, tokens: u64) -> Left {
        let bytes = self.prompt.bytes();
        let whole = done.prompt_tokens.unwrap_or_default().saturating_add(tokens);
        let share = |cached: u64| Some(cached.saturating_mul(bytes) / done.prompt_tokens?.max(1));
        // Thoughts are in the slot, and not in its text.
        let text_tokens = |prompt| if self.answer.thinking().is_empty() { prompt + tokens } else { prompt };
        Left {
            text: self.text(request),
            tokens: whole,
            counted: done.prompt_tokens.map(text_tokens),
            tool: done.reason == Reason::ToolCalls,
            prompt: bytes,
            cached: done.cached_tokens.and_then(share),
        }
    }

    /// What the slot has in common with the next turn: not an answer with thoughts, which that turn leaves out.
    fn text(&self, request: &Request) -> Text {
        if self.answer.thinking().is_empty() {
            Text::of(request, Some(&self.answer))
        } else {
            self.prompt.clone()
        }
    }

    fn leave(&self, state: &mut super::State) {
        if let Some(key) = self.key {
            state.attempts.remove(&key);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let now = Instant::now();
        let state = &mut *self.facts.state();
        let samples = state.timeline.end(self.id, None, now);
        state.add(samples, now);
        self.leave(state);
        if self.begun {
            let bytes = self.prompt.bytes();
            let rate = state.of(&self.model).prompts.tokens_per_kb().unwrap_or_default();
            let tokens = (bytes as f64 / 1e3 * rate) as u64;
            let left = Left { text: self.prompt.clone(), tokens, prompt: bytes, ..Left::default() };
            state.mirror.end(&self.model, self.id, left, now);
        } else {
            state.mirror.give_up(&self.model, self.id, now);
        }
    }
}

fn as_message(so_far: &SoFar) -> Message {
    let mut message = Message { role: "assistant".to_owned(), ..Message::default() };
    message.push_thinking(&so_far.thinking);
    message.push_text(&so_far.content);
    message
}

/// A chunk counts as one token until the engine says better.
fn chunk(piece: &Piece) -> u64 {
    u64::from(!piece.content.is_empty() || !piece.thinking.is_empty() || !piece.tool_calls.is_empty())
}

/// Engines hold back what may become a call, or JSON.
fn hides(request: &Request) -> bool {
    match request {
        Request::Chat(it) => !it.tools.is_empty() || it.settings.format.is_some(),
        Request::Generate(it) => it.settings.format.is_some(),
        _ => true,
    }
}

fn has_images(request: &Request) -> bool {
    match request {
        Request::Chat(it) => it.messages.iter().any(|message| message.images().next().is_some()),
        Request::Generate(it) => !it.images.is_empty(),
        _ => false,
    }
}
