//! How long the newest answers of a model were.

use std::collections::VecDeque;

use echo_bus::message::lengths::{CLASSES, class};

/// Answers that count.
const NEWEST: usize = 200;

/// The classes of the newest answers, oldest first.
#[derive(Debug, Default)]
pub struct Lengths(VecDeque<u8>);

impl Lengths {
    /// A whole answer had so many tokens.
    pub fn add(&mut self, tokens: u64) {
        if self.0.len() == NEWEST {
            self.0.pop_front();
        }
        self.0.push_back(u8::try_from(class(tokens)).unwrap_or(u8::MAX));
    }

    /// The count of each class, zeros at the end left out.
    pub fn told(&self) -> Vec<u16> {
        let mut counts = vec![0; CLASSES];
        for class in &self.0 {
            counts[usize::from(*class)] += 1;
        }
        let used = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        counts.truncate(used);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_newest_200_count_and_no_others(tokens in prop::collection::vec(any::<u64>(), 0..500)) {
            let mut lengths = Lengths::default();
            tokens.iter().for_each(|tokens| lengths.add(*tokens));
            let told = lengths.told();
            prop_assert!(told.len() <= CLASSES && told.last() != Some(&0));
            let mut newest = vec![0; CLASSES];
            tokens.iter().rev().take(NEWEST).for_each(|tokens| newest[class(*tokens)] += 1);
            newest.truncate(told.len());
            prop_assert_eq!(told, newest);
        }
    }
}
