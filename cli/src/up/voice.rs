//! What a start tells the person who waits for it: on the terminal, or, where the supervisor has left that, over a pipe to
//! the one who has started it.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::progress::{Progress, Steps};
use crate::clean::visible;
use crate::say;

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// How often somebody who reads lines hears that it goes on.
const SELDOM: Duration = Duration::from_secs(5);

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// A line that stays.
    Says(String),
    /// A line about what goes wrong.
    Warns(String),
    /// What is waited for now, and what is seen of it.
    Waits { what: String, seen: String },
    /// A step of long work, and how much of how many bytes.
    Step { text: String, bytes: Option<(u64, u64)> },
    /// All is ready, and nothing more will be told. With the code for the machine that may join.
    Ready(Option<Code>),
    /// It has come to nothing. `bad_config`: because of what it was told.
    Failed { why: String, bad_config: bool },
}

/// A code with which a machine may join. It goes to the person who waits for it, and into no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    pub text: String,
    pub lifetime: Duration,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code")
    }
}

/// Where it goes.
#[derive(Debug)]
pub enum Voice {
    /// To a terminal, or whatever stdout is.
    Terminal(Terminal),
    /// To the one who has started this supervisor, and who may have gone since; warnings also to the log.
    Caller { listens: bool },
}

impl Voice {
    pub fn terminal() -> Self {
        Self::Terminal(Terminal::default())
    }

    pub fn caller() -> Self {
        Self::Caller { listens: true }
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    pub fn says(&mut self, line: impl ToString) {
        self.tell(Word::Says(line.to_string()));
    }

    pub fn waits(&mut self, what: impl ToString, seen: &str) {
        self.tell(Word::Waits { what: what.to_string(), seen: seen.to_owned() });
    }

    pub fn warns(&mut self, line: impl ToString) {
        self.tell(Word::Warns(line.to_string()));
    }

    pub fn ready(&mut self, code: Option<Code>) {
        self.tell(Word::Ready(code));
        if let Self::Caller { listens } = self {
            *listens = false;
        }
    }

    pub fn failed(&mut self, why: impl ToString, bad_config: bool) {
        self.tell(Word::Failed { why: why.to_string(), bad_config });
    }

    fn tell(&mut self, word: Word) {
        match self {
            Self::Terminal(terminal) => terminal.show(&word),
            Self::Caller { listens } => {
                match &word {
                    Word::Warns(line) => tracing::warn!("{line}"),
                    Word::Failed { why, .. } => tracing::error!("{why}"),
                    Word::Says(line) if !*listens => tracing::info!("{line}"),
                    _ => {}
                }
                let line = serde_json::to_string(&word).unwrap_or_default();
                *listens = *listens && writeln!(io::stdout().lock(), "{line}").is_ok();
            }
        }
    }
}

impl Steps for Voice {
    fn step(&mut self, text: &str, bytes: Option<(u64, u64)>) {
        self.tell(Word::Step { text: text.to_owned(), bytes });
    }

    fn says(&mut self, line: &str) {
        self.tell(Word::Says(line.to_owned()));
    }
}

/// A terminal with a line that changes, or plain lines where nobody looks.
#[derive(Debug, Default)]
pub struct Terminal {
    spinner: Option<ProgressBar>,
    /// The last line about what is waited for, and when it was shown.
    waiting: Option<(String, Instant)>,
    progress: Option<Progress>,
}

impl Terminal {
    /// Shows it.
    pub fn show(&mut self, word: &Word) {
        // Some of it are the words of engines and parts.
        match word {
            Word::Says(line) => self.beside(|| say::say(visible(line))),
            Word::Warns(line) => self.beside(|| say::warn(visible(line))),
            Word::Waits { what, seen } => self.wait(&visible(what), &visible(seen)),
            Word::Step { text, bytes } => self.step(&visible(text), *bytes),
            Word::Ready(_) | Word::Failed { .. } => self.rest(),
        }
    }

    /// Takes the line that changes away.
    pub fn rest(&mut self) {
        self.end_progress();
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
        self.waiting = None;
    }

    fn step(&mut self, text: &str, bytes: Option<(u64, u64)>) {
        if self.progress.is_none() {
            self.rest();
        }
        self.progress.get_or_insert_with(Progress::new).step(text, bytes);
    }

    fn end_progress(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.end();
        }
    }

    fn beside(&mut self, print: impl FnOnce()) {
        self.end_progress();
        match &self.spinner {
            Some(spinner) => spinner.suspend(print),
            None => print(),
        }
    }

    fn wait(&mut self, what: &str, seen: &str) {
        self.end_progress();
        let whole = if seen.is_empty() { format!("{what} …") } else { format!("{what} … {seen}") };
        if say::is_watched() {
            return self.spin(whole);
        }
        // Lines are for a log: what is waited for, and now and then why that takes so long.
        match &self.waiting {
            Some((shown, at)) if *shown == whole || (shown.starts_with(what) && at.elapsed() < SELDOM) => {}
            shown => {
                let line = if shown.is_some() { whole } else { format!("{what} …") };
                say::say(&line);
                self.waiting = Some((line, Instant::now()));
            }
        }
    }

    fn spin(&mut self, message: String) {
        let spinner = self.spinner.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed:>5}");
            let spinner = ProgressBar::new_spinner();
            spinner.enable_steady_tick(TURN);
            spinner.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        spinner.set_message(message);
    }
}

/// Shows what comes over the pipe, until the word that says how it ends; none where the pipe ends without.
pub fn relay(pipe: impl Read, terminal: &mut Terminal) -> Option<Word> {
    for line in BufReader::new(pipe).lines() {
        let line = line.ok()?;
        match serde_json::from_str(&line) {
            Ok(word @ (Word::Ready(_) | Word::Failed { .. })) => {
                terminal.rest();
                return Some(word);
            }
            Ok(word) => terminal.show(&word),
            // Somebody who knows nothing of this has printed it.
            Err(_) => terminal.show(&Word::Says(line)),
        }
    }
    terminal.rest();
    None
}
