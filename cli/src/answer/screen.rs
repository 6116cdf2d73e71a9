//! Where an answer is written: a terminal, which must not obey it, or a pipe, which gets it as it is.

use std::io::{self, IsTerminal as _, Write as _};

use crate::clean::visible;
use crate::say::colours;

/// Whether a model's thoughts are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thoughts {
    /// Where somebody looks.
    OnTerminal,
    Always,
}

/// Stdout, as far as one answer is concerned.
pub struct Screen {
    terminal: bool,
    colours: bool,
    thoughts: bool,
    thinking: bool,
    /// The last thing that was written ends a line, or nothing was.
    at_start: bool,
}

impl Screen {
    pub fn new(thoughts: Thoughts) -> Self {
        let terminal = io::stdout().is_terminal();
        let thoughts = terminal || thoughts == Thoughts::Always;
        Self { terminal, colours: colours(terminal), thoughts, thinking: false, at_start: true }
    }

    /// # Errors
    /// Nobody reads it any more, or it cannot be written.
    pub fn piece(&mut self, text: &str, thinking: &str) -> io::Result<()> {
        let mut out = Vec::new();
        if self.thoughts && !thinking.is_empty() {
            if !self.thinking && self.colours {
                out.extend_from_slice(b"\x1b[2m");
            }
            self.thinking = true;
            self.add(thinking, &mut out);
        }
        if !text.is_empty() {
            self.end_thoughts(&mut out);
            self.add(text, &mut out);
        }
        flushed(&out)
    }

    /// The answer is over: what follows begins a line.
    ///
    /// # Errors
    /// As above.
    pub fn end(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        self.end_thoughts(&mut out);
        if !std::mem::replace(&mut self.at_start, true) {
            out.push(b'\n');
        }
        flushed(&out)
    }

    fn end_thoughts(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.thinking) {
            if self.colours {
                out.extend_from_slice(b"\x1b[0m");
            }
            out.extend_from_slice(if self.at_start { b"\n" } else { b"\n\n" });
            self.at_start = true;
        }
    }

    fn add(&mut self, text: &str, out: &mut Vec<u8>) {
        if self.terminal {
            out.extend_from_slice(visible(text).as_bytes());
        } else {
            out.extend_from_slice(text.as_bytes());
        }
        self.at_start = text.ends_with('\n');
    }
}

fn flushed(out: &[u8]) -> io::Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(out)?;
    stdout.flush()
}
