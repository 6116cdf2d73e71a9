//! Who answers beside whom, and what each answer gets meanwhile: the raw measurements of decode speed.
//!
//! Time is cut where an answer begins or ends. Only stretches without a prompt count: while an engine works one off, the
//! answers beside it all but stand still. An attempt is in its prompt until the first piece of its answer.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// The share of the newest answer in what is known of a model's tokens per piece.
const NEWEST: f64 = 0.3;
/// Shorter stretches, in seconds, count only where there is no longer one: what arrives together just behind a cut was made
/// before it.
const SHORTEST: f64 = 0.05;

/// More attempts than this at once are not measured: each that begins or ends would be looked at by all of them, and leave
/// something with each.
const CROWD: usize = 256;

/// The attempts at one engine.
#[derive(Debug)]
pub struct Timeline {
    lines: BTreeMap<u64, Line>,
    /// When the stretch that runs now began.
    since: Instant,
    /// Stretches that were in a crowd: what a line had counted in one is forgotten when it is looked at next.
    crowded: u64,
    /// Tokens per piece of models whose engine counts only at the end.
    ratios: HashMap<String, f64>,
}

/// One attempt.
#[derive(Debug, Default)]
struct Line {
    model: String,
    answers: bool,
    /// The answer comes late or in lumps (a tool call that is held back until it is whole): only its end tells.
    hidden: bool,
    /// A piece came without the engine's count: pieces are counted instead.
    uncounted: bool,
    /// All that was counted.
    counted: u64,
    /// Counted in the stretch that runs now, if no crowd has come since.
    fresh: u64,
    crowded: u64,
    /// Tokens and seconds by how many answered.
    stretches: BTreeMap<u32, (f64, f64)>,
    /// The same of short ones, until there is a long one.
    short: Option<BTreeMap<u32, (f64, f64)>>,
    /// It was the same company all the time, without a prompt beside it, and nothing of it was taken yet.
    whole: bool,
}

/// One answer of this model got so many tokens in so many seconds, among so many.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub model: String,
    pub at_once: u32,
    pub tokens: f64,
    pub seconds: f64,
}

/// What the engine says of an attempt at its end.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    pub tokens: u64,
    /// How long it made them; zero when it does not say.
    pub seconds: f64,
}

impl Timeline {
    pub fn new(now: Instant) -> Self {
        Self { lines: BTreeMap::new(), since: now, crowded: 0, ratios: HashMap::new() }
    }

    /// An attempt begins with its prompt.
    pub fn begin(&mut self, id: u64, model: &str, now: Instant) {
        self.cut(now);
        if self.lines.len() < CROWD {
            // A prompt beside them: what the others have is no longer of one kind.
            self.lines.values_mut().for_each(|line| line.whole &= !line.answers);
        }
        let (model, short, crowded) = (model.to_owned(), Some(BTreeMap::new()), self.crowded);
        self.lines.insert(id, Line { model, whole: true, short, crowded, ..Line::default() });
    }

    /// Pieces came, with so many tokens by the engine's count, or so many pieces.
    pub fn heard(&mut self, id: u64, tokens: u64, by_engine: bool, now: Instant) {
        let Some(line) = self.lines.get(&id) else { return };
        let first = !line.answers;
        if first {
            self.cut(now);
        }
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.forget_crowds(self.crowded);
        line.answers = true;
        line.uncounted |= !by_engine;
        line.counted += tokens;
        // What comes first has been made before the time that counts.
        line.fresh += if first { 0 } else { tokens };
    }

    /// What comes of this one cannot be counted while it comes.
    pub fn hide(&mut self, id: u64) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.hidden = true;
        }
    }

    /// All that was counted of an attempt so far, and whether it is in its prompt.
    pub fn progress(&self, id: u64) -> Option<(u64, bool)> {
        self.lines.get(&id).map(|line| (line.counted, !line.answers))
    }

    /// An attempt is over; what it tells beyond what [`live`](Self::live) has taken.
    pub fn end(&mut self, id: u64, counted: Option<Counted>, now: Instant) -> Vec<Sample> {
        self.cut(now);
        let Some(mut line) = self.lines.remove(&id) else { return Vec::new() };
        line.forget_crowds(self.crowded);
        let known = self.ratio(&line);
        let scale = match counted {
            Some(it) if line.counted > 0 => it.tokens as f64 / line.counted as f64,
            Some(_) => f64::INFINITY,
            None => known,
        };
        if scale > 2.0 {
            // Most of it came unseen: only the engine itself knows how fast.
            return counted.and_then(|it| line.by_engine(it)).into_iter().collect();
        }
        if counted.is_some() && line.uncounted && scale > 0.0 {
            self.ratios.insert(line.model.clone(), known + NEWEST * (scale - known));
        }
        line.samples(scale)
    }

    /// What the answers that run have got since they were last asked, all of one model and one company together.
    pub fn live(&mut self, now: Instant) -> Vec<Sample> {
        self.cut(now);
        let mut found: HashMap<(String, u32), (f64, f64)> = HashMap::new();
        let ratios = &self.ratios;
        for line in self.lines.values_mut().filter(|line| !line.hidden) {
            let ratio = line.uncounted.then(|| ratios.get(&line.model)).flatten().copied().unwrap_or(1.0);
            line.stretches.retain(|at_once, (tokens, seconds)| {
                // What stands still says nothing yet; it counts with the next token.
                if *tokens > 0.0 {
                    let sum = found.entry((line.model.clone(), *at_once)).or_default();
                    *sum = (sum.0 + *tokens * ratio, sum.1 + *seconds);
                    line.whole = false;
                }
                *tokens <= 0.0
            });
        }
        let sample = |((model, at_once), (tokens, seconds))| Sample { model, at_once, tokens, seconds };
        found.into_iter().map(sample).collect()
    }

    /// Time has passed in which nobody was there to count.
    pub fn skip(&mut self, now: Instant) {
        for line in self.lines.values_mut() {
            (line.fresh, line.whole) = (0, false);
            line.stretches.clear();
            line.short = None;
        }
        self.since = now;
    }

    /// Keeps what is known of these models only.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.ratios.retain(|model, _| keep(model));
    }

    fn ratio(&self, line: &Line) -> f64 {
        let known = line.uncounted.then(|| self.ratios.get(&line.model).copied()).flatten();
        known.unwrap_or(1.0)
    }

    /// The stretch that has run until now is over.
    fn cut(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
        if self.lines.len() > CROWD {
            self.crowded += 1;
            return;
        }
        let answering = self.lines.values().filter(|line| line.answers).count();
        let counts = answering == self.lines.len();
        let at_once = u32::try_from(answering).unwrap_or(u32::MAX);
        for line in self.lines.values_mut().filter(|line| line.answers) {
            line.forget_crowds(self.crowded);
            let tokens = std::mem::take(&mut line.fresh) as f64;
            if counts && seconds > 0.0 {
                let is_short = seconds < SHORTEST;
                let kept = if is_short { line.short.as_mut() } else { Some(&mut line.stretches) };
                if let Some(kept) = kept {
                    let sum = kept.entry(at_once).or_default();
                    *sum = (sum.0 + tokens, sum.1 + seconds);
                }
                if !is_short {
                    line.short = None;
                }
            }
            line.whole &= counts;
        }
    }
}

impl Line {
    /// What it counted in a crowd says nothing, and its company was not the same all the time.
    fn forget_crowds(&mut self, crowded: u64) {
        if std::mem::replace(&mut self.crowded, crowded) != crowded {
            (self.fresh, self.whole) = (0, false);
        }
    }

    fn samples(self, scale: f64) -> Vec<Sample> {
        let sample = |(at_once, (tokens, seconds))| Sample {
            model: self.model.clone(),
            at_once,
            tokens: tokens * scale,
            seconds,
        };
        self.short.unwrap_or(self.stretches).into_iter().map(sample).collect()
    }

    /// By the engine's own clock, if all of its time was of one kind.
    fn by_engine(&self, it: Counted) -> Option<Sample> {
        let mut companies = self.short.as_ref().unwrap_or(&self.stretches).keys();
        let at_once = companies.next().copied().unwrap_or(1);
        let one = self.whole && companies.next().is_none() && it.seconds > 0.0;
        let (model, tokens) = (self.model.clone(), it.tokens as f64);
        one.then_some(Sample { model, at_once, tokens, seconds: it.seconds })
    }
}

#[cfg(test)]
mod tests;
