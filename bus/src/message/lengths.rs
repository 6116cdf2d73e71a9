//! Lengths of answers, counted by class: each class reaches 41% further than the one before.

/// Classes at most; the last holds everything longer too.
pub const CLASSES: usize = 30;

/// The class of an answer of so many tokens: class `c` holds 2^(c/2) up to 2^((c+1)/2).
pub fn class(tokens: u64) -> usize {
    let class = (tokens.max(1) as f64).log2() * 2.0;
    // A power of two must not fall short of its class by rounding.
    ((class + 1e-9) as usize).min(CLASSES - 1)
}

/// The least and the first too long length of a class, in tokens.
pub fn bounds(class: usize) -> (f64, f64) {
    let edge = |class: usize| (class as f64 / 2.0).exp2();
    (edge(class), edge(class + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_lies_within_its_class() {
        for tokens in 1..32_768_u64 {
            let (from, to) = bounds(class(tokens));
            let length = tokens as f64;
            assert!(from <= length + 1e-6 && length < to, "{tokens} in {from}..{to}");
        }
        assert_eq!([class(0), class(1), class(2), class(4), class(u64::MAX)], [0, 0, 2, 4, CLASSES - 1]);
    }
}
