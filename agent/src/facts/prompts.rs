//! How fast a model works off prompts, and how many tokens it makes of their text.

use std::collections::VecDeque;
use std::time::Duration;

use super::rounded::rounded;

/// Measurements that count. Their median is told: a cache that was not known of makes one look much too fast.
const NEWEST: usize = 15;

/// Shorter prompts tell more of what an engine does besides.
const FEWEST: u64 = 64;

/// What an earlier prompt still counts for with each new one.
const KEEPS: f64 = 0.9;

/// What is known of the prompts of one model on this node.
#[derive(Debug, Default)]
pub struct Prompts {
    speeds: VecDeque<f64>,
    tokens: f64,
    bytes: f64,
}

impl Prompts {
    /// So many tokens that were in no cache took so long.
    pub fn took(&mut self, uncached: u64, time: Duration) {
        let speed = uncached as f64 / time.as_secs_f64();
        if uncached < FEWEST || !speed.is_finite() {
            return;
        }
        if self.speeds.len() == NEWEST {
            self.speeds.pop_front();
        }
        self.speeds.push_back(speed);
    }

    /// A prompt of so many bytes had so many tokens. Long prompts count for more: the words that a template adds to each
    /// are few beside them.
    pub fn had(&mut self, tokens: u64, bytes: u64) {
        if tokens > 0 && bytes > 0 {
            self.tokens = self.tokens * KEEPS + tokens as f64;
            self.bytes = self.bytes * KEEPS + bytes as f64;
        }
    }

    /// Uncached tokens in a second.
    pub fn speed(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.speeds.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2)?;
        Some(rounded(*median))
    }

    /// Tokens for 1,000 bytes of text.
    pub fn tokens_per_kb(&self) -> Option<f64> {
        (self.bytes > 0.0).then(|| rounded(self.tokens / self.bytes * 1_000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_newest_fifteen_is_told() {
        let mut prompts = Prompts::default();
        prompts.took(63, Duration::from_millis(1));
        assert_eq!(prompts.speed(), None, "too short");
        (0..15).for_each(|_| prompts.took(100, Duration::from_secs(1)));
        (0..7).for_each(|_| prompts.took(10_000, Duration::from_secs(1)));
        assert_eq!(prompts.speed(), Some(100.0));
        prompts.took(10_000, Duration::from_secs(1));
        assert_eq!(prompts.speed(), Some(10_000.0));
        prompts.took(100, Duration::ZERO);
        assert_eq!(prompts.speed(), Some(10_000.0), "no number is no measurement");
    }

    #[test]
    fn long_prompts_count_for_more() {
        let mut prompts = Prompts::default();
        assert_eq!(prompts.tokens_per_kb(), None);
        prompts.had(30, 30);
        prompts.had(2_500, 10_000);
        let told = prompts.tokens_per_kb().unwrap();
        assert!((250.0..255.0).contains(&told), "{told}");
    }
}
