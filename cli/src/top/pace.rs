//! How fast a count grows, from looks at it about once a second: heartbeats come once a second, not on the second, so a rate
//! is of the last few.

use std::collections::VecDeque;
use std::time::Instant;

/// Looks that one rate is made of, beside the newest.
const WINDOW: usize = 3;
/// Rates that are kept.
const PAST: usize = 60;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The past of one count.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    looks: VecDeque<(u64, Instant)>,
    rates: VecDeque<f64>,
}

impl Pace {
    pub fn note(&mut self, count: u64, now: Instant) {
        // A smaller one is another count: the past says nothing of it.
        if self.looks.back().is_some_and(|(before, _)| count < *before) {
            self.looks.clear();
        }
        self.looks.push_back((count, now));
        if self.looks.len() > WINDOW + 1 {
            self.looks.pop_front();
        }
        let (first, since) = self.looks.front().copied().unwrap_or((count, now));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        self.rates.push_back(if seconds > 0.0 { (count - first) as f64 / seconds } else { 0.0 });
        if self.rates.len() > PAST {
            self.rates.pop_front();
        }
    }

    /// Nothing was known for a while: the next count is a beginning.
    pub fn pause(&mut self) {
        self.looks.clear();
    }

    /// A second; absent until it was looked at twice.
    pub fn now(&self) -> Option<f64> {
        self.rates.back().copied().filter(|_| self.looks.len() > 1)
    }

    /// The newest rates as bars, the newest to the right.
    pub fn bars(&self, width: usize) -> String {
        let shown = self.rates.len().min(width);
        let rates = self.rates.iter().skip(self.rates.len() - shown);
        let top = self.rates.iter().copied().fold(1.0, f64::max);
        let bar =
            |rate: &f64| if *rate <= 0.0 { ' ' } else { BARS[((rate / top * 7.0).round() as usize).min(7)] };
        " ".repeat(width - shown) + &rates.map(bar).collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rate_is_of_the_last_few_seconds_and_a_smaller_count_begins_anew() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let at = |second: u64| began + Duration::from_secs(second);
        assert_eq!(pace.now(), None);
        for second in 0..10 {
            pace.note(second * 30, at(second));
        }
        assert_eq!(pace.now(), Some(30.0));
        assert_eq!(pace.bars(4), "████");
        pace.note(7, at(10));
        assert_eq!(pace.now(), None);
        pace.note(17, at(11));
        assert_eq!(pace.now(), Some(10.0));
        (0..500).for_each(|second| pace.note(second, at(20 + second)));
        assert_eq!((pace.rates.len(), pace.bars(70).chars().count()), (PAST, 70));
    }
}
