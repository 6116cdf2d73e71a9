//! What somebody sees who waits: a spinner on stderr, if that is a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clean::visible;

const TICK: Duration = Duration::from_millis(120);

/// While nothing of the answer has come.
pub struct Waiting(Option<ProgressBar>);

impl Waiting {
    pub fn begin(shown: bool) -> Self {
        if !shown || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message("asking");
        bar.enable_steady_tick(TICK);
        Self(Some(bar))
    }

    /// In the line.
    pub fn queued(&self, position: u64, wait: Option<Duration>) {
        let wait = wait.map(|wait| format!(", about {} s", wait.as_secs_f64().ceil())).unwrap_or_default();
        self.say(format!("waiting: place {position} in the line{wait}"));
    }

    /// At a node.
    pub fn on(&self, node: &str, model: &str) {
        self.say(visible(&format!("{node} works on it with {model}")));
    }

    fn say(&self, words: String) {
        if let Some(bar) = &self.0 {
            bar.set_message(words);
        }
    }

    /// Takes it from the screen.
    pub fn end(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}
