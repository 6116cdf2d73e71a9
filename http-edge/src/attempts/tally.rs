//! What is known of an answer's tokens and times over all attempts that made it.
//!
//! Each engine counts its own part only, and takes the text so far for a part of its prompt. Here the parts are put
//! together as one engine would have told them; what nobody has counted stays absent.

use std::time::{Duration, Instant};

use echo_bus::message::{Done, Piece};

/// The counts of one answer.
#[derive(Debug, Default)]
pub struct Tally {
    /// The engine may hold text back for stop words or tool calls: then one chunk may be several tokens.
    holds_back: bool,
    /// Of the prompt alone, by the engine that began the answer.
    prompt_tokens: Option<u64>,
    /// What the attempts before the current one made.
    before: Made,
    /// What the current one has made so far.
    now: Made,
    /// When a node accepted the attempt that began the answer.
    began: Option<Instant>,
    /// When a node accepted the current attempt.
    accepted: Option<Instant>,
    last: Option<Instant>,
    /// How often another attempt went on, and the time between the last piece before and its first, in all.
    pub continued: (u32, Duration),
}

#[derive(Debug, Default)]
struct Made {
    pieces: u64,
    /// At least so many.
    tokens: u64,
    /// There may be more tokens than that.
    vague: bool,
    /// The first and the last piece.
    times: Option<(Instant, Instant)>,
    /// The time of finished attempts.
    time: Duration,
}

impl Tally {
    pub fn new(holds_back: bool) -> Self {
        Self { holds_back, ..Self::default() }
    }

    /// Whether there is anything of the answer.
    pub fn has_begun(&self) -> bool {
        self.before.pieces + self.now.pieces > 0
    }

    /// Nobody has seen the partial answer: it begins anew.
    pub fn forget(&mut self) {
        *self = Self::new(self.holds_back);
    }

    /// Another attempt begins.
    pub fn next(&mut self) {
        let now = std::mem::take(&mut self.now);
        self.before.time += now.time();
        self.before.pieces += now.pieces;
        self.before.tokens += now.tokens;
        self.before.vague |= now.vague;
    }

    /// A node has accepted the current attempt.
    pub fn accepted(&mut self, now: Instant) {
        self.accepted = Some(now);
        if self.before.pieces == 0 {
            self.began = Some(now);
        }
    }

    /// Counts a piece; what it says of counts is for nobody else.
    pub fn take(&mut self, piece: &mut Piece, now: Instant) {
        let prompt_tokens = piece.prompt_tokens.take().map(u64::from);
        if self.before.pieces == 0 {
            self.prompt_tokens = self.prompt_tokens.or(prompt_tokens);
        }
        if let Some(last) = self.last.replace(now)
            && self.now.pieces == 0
            && self.before.pieces > 0
        {
            let (times, gap) = self.continued;
            self.continued = (times + 1, gap + now.duration_since(last));
        }
        let made = &mut self.now;
        made.pieces += 1;
        made.times = Some((made.times.map_or(now, |(first, _)| first), now));
        let says = !(piece.content.is_empty() && piece.thinking.is_empty() && piece.tool_calls.is_empty());
        match piece.tokens.take() {
            Some(tokens) => made.tokens += u64::from(tokens),
            None => {
                // Engines give out whole characters, so tokens end within a chunk only where its characters have
                // several bytes; and the marks around thoughts and calls are tokens that nobody sees.
                let plain =
                    piece.thinking.is_empty() && piece.tool_calls.is_empty() && piece.content.is_ascii();
                made.tokens += u64::from(says);
                made.vague |= self.holds_back || !plain;
            }
        }
    }

    /// The tokens of the attempts so far, at least, and whether they are exactly so many.
    pub fn so_far(&self) -> (u64, bool) {
        (self.before.tokens, !self.before.vague)
    }

    /// The tokens of the prompt, where an engine has said them, and those of the answer, at least.
    pub fn taken(&self) -> (Option<u64>, u64) {
        (self.prompt_tokens, self.before.tokens + self.now.tokens)
    }

    /// The end of the whole answer, from the end of its last part.
    pub fn whole(&self, mut done: Done) -> Done {
        let counted = done.so_far_tokens.take();
        if self.before.pieces == 0 {
            return done;
        }
        let before = match self.so_far() {
            (tokens, true) => Some(tokens),
            (least, false) => counted.map(|counted| counted.max(least)),
        };
        let with_so_far = done.prompt_tokens;
        let rest = || with_so_far?.checked_sub(counted.or(before)?).filter(|tokens| *tokens > 0);
        done.prompt_tokens = self.prompt_tokens.or_else(rest);
        // The text so far may have been in the cache, too.
        done.cached_tokens = done.cached_tokens.zip(done.prompt_tokens).map(|(cached, all)| cached.min(all));
        done.tokens = done.tokens.zip(before).map(|(rest, before)| rest + before);
        let timings = &mut done.timings;
        timings.prompt_ns = share(timings.prompt_ns, done.prompt_tokens, with_so_far);
        let made_nothing_more = done.tokens.is_some() && done.tokens == before;
        if timings.eval_ns > 0 || made_nothing_more {
            timings.eval_ns = timings.eval_ns.saturating_add(nanos(self.before.time));
        }
        if timings.total_ns > 0 {
            let until_the_last =
                self.accepted.zip(self.began).map(|(last, first)| last.duration_since(first));
            let total = timings.total_ns.saturating_add(nanos(until_the_last.unwrap_or_default()));
            // The next node may be quicker than the first one's next token would have been.
            let parts = [timings.load_ns, timings.prompt_ns, timings.eval_ns];
            timings.total_ns = total.max(parts.into_iter().fold(0, u64::saturating_add));
        }
        // The tokens of the conversation: those of the first part are known to no engine.
        done.extra.remove("context");
        done
    }
}

impl Made {
    /// From the first piece to the last there is one piece less than there are pieces.
    fn time(&self) -> Duration {
        let Some((first, last)) = self.times.filter(|_| self.pieces > 1) else { return Duration::ZERO };
        last.duration_since(first).mul_f64(self.pieces as f64 / (self.pieces - 1) as f64)
    }
}

/// The part of a time that fell to the prompt alone; nothing where that part is not known.
fn share(ns: u64, part: Option<u64>, whole: Option<u64>) -> u64 {
    match part.zip(whole) {
        Some((part, whole)) if part < whole => (ns as f64 * part as f64 / whole as f64) as u64,
        Some(_) => ns,
        None => 0,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
