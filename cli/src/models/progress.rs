//! How far pulls are: a bar for each node on a terminal, else a line for each tenth.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::clean::{Clean, visible};
use crate::say::warn;

const BAR: &str = "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg}";
const NO_BAR: &str = "{prefix} {spinner} {msg}";
/// Layers of one model that are counted; none has so many.
const MOST_LAYERS: usize = 4_096;

/// All that is drawn.
pub struct Board(Option<MultiProgress>);

impl Board {
    pub fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(MultiProgress::new))
    }

    /// For one node; `width` is that of the longest name.
    pub fn pull(&self, node: &str, width: usize) -> Pull {
        let bar = self.0.as_ref().map(|all| {
            let bar = all.add(ProgressBar::new_spinner());
            style(&bar, NO_BAR);
            bar.set_prefix(format!("{:width$}", Clean::of(node)));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Pull { node: node.to_owned(), bar, layers: HashMap::new(), told: 0 }
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
}

/// One node's.
pub struct Pull {
    node: String,
    bar: Option<ProgressBar>,
    /// Of each layer: its size, and how much of it is there.
    layers: HashMap<String, (u64, u64)>,
    /// The tenth that was told last.
    told: u128,
}

impl Pull {
    /// A line of the engine's.
    pub fn heard(&mut self, line: &Value) {
        let count = |name: &str| line[name].as_u64();
        if let (Some(total), Some(digest)) = (count("total"), line["digest"].as_str())
            && (self.layers.len() < MOST_LAYERS || self.layers.contains_key(digest))
        {
            let done = count("completed").unwrap_or_default().min(total);
            self.layers.insert(digest.to_owned(), (total, done));
        }
        let sum = |pick: fn(&(u64, u64)) -> u64| self.layers.values().map(pick).fold(0, u64::saturating_add);
        let (total, done) = (sum(|it| it.0), sum(|it| it.1));
        match &self.bar {
            Some(bar) => draw(bar, total, done, line["status"].as_str().unwrap_or_default()),
            None => self.tell(total, done),
        }
    }

    fn tell(&mut self, total: u64, done: u64) {
        let tenth = (u128::from(done) * 10).checked_div(u128::from(total)).unwrap_or_default();
        if tenth > self.told {
            self.told = tenth;
            warn(format_args!("{}: {}%", Clean::of(&self.node), tenth * 10));
        }
    }

    /// It has ended; the bar stays as it is.
    pub fn end(&self, word: &str) {
        if let Some(bar) = &self.bar {
            bar.abandon_with_message(word.to_owned());
        }
    }
}

fn draw(bar: &ProgressBar, total: u64, done: u64, status: &str) {
    if total > 0 {
        if bar.length() != Some(total) {
            style(bar, BAR);
            bar.set_length(total);
        }
        bar.set_position(done);
    }
    // Of a layer it says the digest again and again, which tells people nothing.
    let words = status.split_once(' ').filter(|(first, _)| *first == "pulling").map_or(status, |_| "");
    bar.set_message(visible(words));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn layers_count_together_and_odd_lines_do_no_harm() {
        let mut pull = Board(None).pull("a", 1);
        pull.heard(&json!({"status": "pulling a", "digest": "a", "total": 90, "completed": 40}));
        pull.heard(&json!({"status": "pulling b", "digest": "b", "total": 10, "completed": 10}));
        assert_eq!(pull.told, 5);
        for odd in [json!(null), json!({"total": 5}), json!({"digest": "c", "total": -1}), json!([1])] {
            pull.heard(&odd);
        }
        pull.heard(&json!({"digest": "a", "total": 90, "completed": 4000}));
        assert_eq!(pull.told, 10);
        pull.heard(&json!({"digest": "d", "total": u64::MAX, "completed": u64::MAX}));
    }
}
