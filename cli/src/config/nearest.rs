//! What somebody who has misspelled a word may have meant.

/// The word that is spelled most alike, if one is near enough.
pub fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = 1 + word.len().min(24) / 4;
    let distances = words.map(|known| (distance(word, known), known));
    distances.filter(|(distance, _)| *distance <= far).min().map(|(_, known)| known)
}

/// How many letters must be changed, added or taken away (Levenshtein), underscores being dashes.
fn distance(a: &str, b: &str) -> usize {
    // A word that long is near to none of ours.
    let letters = |text: &str| -> Vec<char> {
        text.chars().take(64).map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    let (a, b) = (letters(a), letters(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["listen", "drain-timeout", "nats"];
        let meant = |word| nearest(word, known.into_iter());
        assert_eq!(meant("lisen"), Some("listen"));
        assert_eq!(meant("drain_timeout"), Some("drain-timeout"));
        assert_eq!(meant("Nats"), Some("nats"));
        assert_eq!(meant("colour"), None);
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
