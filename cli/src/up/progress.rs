//! How far long work is: a bar where a terminal is, else a line now and then.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::say::say;

/// The bar moves this often, even where nothing is heard.
const TICK: Duration = Duration::from_millis(120);

/// Who is told of the steps of long work.
pub trait Steps {
    /// What is being done, and how much of how many bytes, where that is known.
    fn step(&mut self, text: &str, bytes: Option<(u64, u64)>);

    /// A line that stays.
    fn says(&mut self, line: &str);
}

/// A person at a terminal, or whoever reads our lines.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    /// The last plain line.
    said: String,
}

impl Progress {
    pub fn new() -> Self {
        let watched = std::io::stderr().is_terminal();
        let bar = watched.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, said: String::new() }
    }

    /// What is being done, and how much of how many bytes.
    pub fn step(&mut self, text: &str, bytes: Option<(u64, u64)>) {
        match &self.bar {
            Some(bar) => draw(bar, text, bytes),
            None => {
                let line = plain(text, bytes);
                if line != self.said {
                    say(&line);
                    self.said = line;
                }
            }
        }
    }

    /// The work is over, whatever came of it.
    pub fn end(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn draw(bar: &ProgressBar, text: &str, bytes: Option<(u64, u64)>) {
    let template = match bytes {
        Some((done, total)) => {
            bar.set_length(total);
            bar.set_position(done);
            "    {spinner} {msg:30} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}"
        }
        None => "    {spinner} {msg} {elapsed}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("#> "));
    }
    bar.set_message(text.to_owned());
}

/// A line for each tenth.
fn plain(text: &str, bytes: Option<(u64, u64)>) -> String {
    match bytes {
        #[allow(clippy::cast_precision_loss)]
        Some((done, total)) if total > 0 => {
            let tenth = u128::from(done) * 10 / u128::from(total) * 10;
            format!("    {text} {tenth}% of {:.1} MB", total as f64 / 1e6)
        }
        _ => format!("    {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_there_is_a_line_for_each_tenth() {
        assert_eq!(plain("pulling", Some((1999, 4000))), "    pulling 40% of 0.0 MB");
        assert_eq!(plain("pulling", Some((u64::MAX, u64::MAX))), "    pulling 100% of 18446744073709.6 MB");
        assert_eq!(plain("verifying", None), "    verifying");
        assert_eq!(plain("empty", Some((0, 0))), "    empty");
    }
}
