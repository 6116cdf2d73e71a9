//! How long answers of a model become, from the lengths of its newest ones on all nodes.

use echo_bus::message::lengths::{CLASSES, bounds, class};

/// What an answer is taken for while nothing is known, in tokens.
const UNKNOWN: f64 = 200.0;
/// So many longer answers say how much is left; with fewer, the rest is a guess.
const ENOUGH: f64 = 4.0;

/// Answers by class of length. Empty classes at the end are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Lengths {
    counts: [u32; CLASSES],
    total: u32,
    /// Their standard deviation by their mean.
    spread: f64,
    /// From each class on: how many, and the sum of their lengths.
    from: [(f64, f64); CLASSES + 1],
}

impl Default for Lengths {
    fn default() -> Self {
        Self { counts: [0; CLASSES], total: 0, spread: 0.0, from: [(0.0, 0.0); CLASSES + 1] }
    }
}

impl Lengths {
    pub fn is_known(&self) -> bool {
        f64::from(self.total) >= ENOUGH
    }

    pub fn has_any(&self) -> bool {
        self.total > 0
    }

    /// How uncertain a length is: 0 if all are alike, 1 if it is anybody's guess when an answer ends.
    pub fn spread(&self) -> f64 {
        if self.has_any() { self.spread.min(1.0) } else { 1.0 }
    }

    /// Puts what a node says in the place of what it said before.
    pub fn replace(&mut self, before: &[u16], now: &[u16]) {
        if before == now {
            return;
        }
        for (counts, sign) in [(before, -1_i64), (now, 1)] {
            for (kept, count) in self.counts.iter_mut().zip(counts) {
                *kept = u32::try_from(i64::from(*kept) + sign * i64::from(*count)).unwrap_or_default();
            }
        }
        self.total = self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count));
        for (index, &count) in self.counts.iter().enumerate().rev() {
            let ((longer, sum), (from, to)) = (self.from[index + 1], bounds(index));
            // Of an empty class nothing is added, however far it reaches.
            let tokens = if count == 0 { 0.0 } else { f64::from(count) * from.midpoint(to) };
            self.from[index] = (longer + f64::from(count), sum + tokens);
        }
        self.spread = self.deviation();
    }

    fn deviation(&self) -> f64 {
        let classes = || self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let total = f64::from(self.total.max(1));
        let middle = |class: usize| bounds(class).0.midpoint(bounds(class).1);
        let mean = classes().map(|(class, &count)| middle(class) * f64::from(count)).sum::<f64>() / total;
        let square = |(class, &count): (usize, &u32)| (middle(class) - mean).powi(2) * f64::from(count);
        (classes().map(square).sum::<f64>() / total).sqrt() / mean.max(1.0)
    }

    /// How many tokens are to come on average after these; beyond all that was seen, half as many again.
    pub fn left(&self, made: f64) -> f64 {
        if self.total == 0 {
            return (UNKNOWN - made).max(50.0);
        }
        let class = class(made as u64);
        let (mut longer, mut sum) = self.from[class + 1];
        let (count, (least, most)) = (self.counts[class], bounds(class));
        if count > 0 && made < most {
            // Within a class, all lengths are as likely.
            let from = least.max(made);
            let share = f64::from(count) * (most - from) / (most - least);
            longer += share;
            sum += share * from.midpoint(most);
        }
        let tail = (made * 0.5).max(20.0);
        if longer >= ENOUGH {
            sum / longer - made
        } else {
            (sum - longer * made + (ENOUGH - longer) * tail) / ENOUGH
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(lengths: &[u64]) -> Lengths {
        let mut counts = [0; CLASSES];
        lengths.iter().for_each(|&length| counts[class(length)] += 1);
        let mut known = Lengths::default();
        known.replace(&[], &counts);
        known
    }

    #[test]
    fn an_answer_that_outgrows_the_short_ones_is_a_long_one() {
        let known = of(&[100, 100, 100, 100, 100, 100, 1_000, 1_000, 1_000, 1_000]);
        let new = known.left(0.0);
        assert!((400.0..560.0).contains(&new), "{new}");
        assert!((600.0..850.0).contains(&known.left(200.0)));
        assert!((1_000.0..=2_000.0).contains(&known.left(3_000.0)), "half as long again");
    }

    #[test]
    fn what_a_node_says_replaces_what_it_said() {
        let mut known = of(&[100; 9]);
        known.replace(&[0; CLASSES], &[]);
        let mut counts = [0; CLASSES];
        counts[class(100)] = 9;
        known.replace(&counts, &[]);
        assert!(!known.is_known() && (known.left(0.0) - UNKNOWN).abs() < 1e-9);
        known.replace(&[u16::MAX; CLASSES], &[]);
        assert!(!known.is_known(), "a count is never negative");
    }

    proptest! {
        #[test]
        fn something_is_always_left(lengths in proptest::collection::vec(any::<u64>(), 0..20), made in 0.0..1e9_f64) {
            let left = of(&lengths).left(made);
            prop_assert!(left > 0.0 && left.is_finite(), "{left}");
        }
    }
}
