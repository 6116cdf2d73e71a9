//! Proof that an answer is whole: every token once, in order, and nothing else.

use std::ops::AddAssign;

use serde::Serialize;

/// Follows the tokens of one answer: `t0 t1 t2 …`.
#[derive(Debug)]
pub struct Check {
    expected: u64,
    next: u64,
    /// Skipped so far; one that comes later was out of order, one that does not is lost.
    missing: Vec<u64>,
    faults: Faults,
}

/// What was wrong with one answer, or with many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    pub lost: u64,
    pub doubled: u64,
    pub swapped: u64,
    /// Text that no engine has said.
    pub strange: u64,
}

impl Faults {
    pub fn none(self) -> bool {
        self == Self::default()
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.swapped += other.swapped;
        self.strange += other.strange;
    }
}

impl Check {
    /// For an answer of this many tokens.
    pub fn new(expected: u64) -> Self {
        Self { expected, next: 0, missing: Vec::new(), faults: Faults::default() }
    }

    /// Takes a piece of the answer, which may hold several tokens; says how many there were.
    pub fn take(&mut self, mut text: &[u8]) -> u64 {
        let mut tokens = 0;
        while !text.is_empty() {
            let Some((index, rest)) = token(text) else {
                self.faults.strange += 1;
                return tokens;
            };
            self.note(index);
            tokens += 1;
            text = rest;
        }
        tokens
    }

    /// Whether anything was wrong up to the last token seen.
    pub fn is_broken(&self) -> bool {
        !self.missing.is_empty() || !self.faults.none()
    }

    /// The verdict, once the answer has ended.
    pub fn end(self) -> Faults {
        let mut faults = self.faults;
        faults.lost = self.missing.len() as u64 + self.expected.saturating_sub(self.next);
        faults
    }

    fn note(&mut self, index: u64) {
        if index == self.next && index < self.expected {
            self.next += 1;
        } else if index >= self.expected {
            self.faults.strange += 1;
        } else if index > self.next {
            self.missing.extend(self.next..index);
            self.next = index + 1;
        } else if let Some(place) = self.missing.iter().position(|missing| *missing == index) {
            self.missing.swap_remove(place);
            self.faults.swapped += 1;
        } else {
            self.faults.doubled += 1;
        }
    }
}

/// The index of the first token, and what follows it.
fn token(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.strip_prefix(b"t")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    if end == 0 || digits[end] != b' ' {
        return None;
    }
    let mut index = 0_u64;
    for digit in &digits[..end] {
        index = index.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some((index, &digits[end + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(expected: u64, pieces: &[String]) -> Faults {
        let mut check = Check::new(expected);
        pieces.iter().for_each(|piece| {
            check.take(piece.as_bytes());
        });
        check.end()
    }

    fn said(indices: impl IntoIterator<Item = u64>) -> Vec<String> {
        indices.into_iter().map(|index| format!("t{index} ")).collect()
    }

    #[test]
    fn a_lost_token_is_found_in_the_middle_and_at_the_end() {
        assert_eq!(verdict(4, &said([0, 1, 3])), Faults { lost: 1, ..Faults::default() });
        assert_eq!(verdict(4, &said([0, 1, 2])), Faults { lost: 1, ..Faults::default() });
        assert_eq!(verdict(4, &[]), Faults { lost: 4, ..Faults::default() });
    }

    #[test]
    fn a_doubled_token_is_found() {
        assert_eq!(verdict(3, &said([0, 1, 1, 2])), Faults { doubled: 1, ..Faults::default() });
        assert_eq!(verdict(3, &said([0, 1, 2, 2])), Faults { doubled: 1, ..Faults::default() });
    }

    #[test]
    fn swapped_tokens_are_found_and_are_not_lost() {
        assert_eq!(verdict(4, &said([0, 2, 1, 3])), Faults { swapped: 1, ..Faults::default() });
    }

    #[test]
    fn what_no_engine_said_is_strange() {
        for text in ["t1", "x", "t ", "t1 t", "t-1 ", "t9 ", "t99999999999999999999999 ", " "] {
            assert!(verdict(2, &[text.to_owned()]).strange > 0, "{text:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn a_whole_answer_has_no_faults_however_it_is_cut(count in 0_u64..200, per in 1_usize..9) {
            let words = said(0..count);
            let pieces: Vec<_> = words.chunks(per).map(<[String]>::concat).collect();
            prop_assert!(verdict(count, &pieces).none());
        }

        #[test]
        fn one_changed_place_is_always_noticed(count in 2_u64..100, at in 0_usize..100, what in 0..3) {
            let mut words = said(0..count);
            let at = at % (words.len() - 1);
            match what {
                0 => drop(words.remove(at)),
                1 => words.insert(at, words[at].clone()),
                _ => words.swap(at, at + 1),
            }
            let faults = verdict(count, &words);
            prop_assert_eq!((faults.lost, faults.doubled, faults.swapped),
                match what { 0 => (1, 0, 0), 1 => (0, 1, 0), _ => (0, 0, 1) });
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            Check::new(5).take(&bytes);
        }
    }
}
