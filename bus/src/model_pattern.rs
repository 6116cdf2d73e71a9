//! Which models are meant: names with `*` and `?`, such as `llama3*`. An owner offers models by them, and a key is good for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model_name::ModelName;

/// Patterns that are taken at most together, and characters of one.
const PATTERNS: usize = 64;
const LONGEST: usize = 200;

/// Names of models: `*` stands for anything, `?` for one character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no model: write names or patterns with commas between, such as mistral,llama3*")]
pub struct InvalidPattern(String);

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let text = text.trim();
        let is_name = |it: char| it.is_ascii_graphic() && it != ',';
        if text.is_empty() || text.len() > LONGEST || !text.chars().all(is_name) {
            return Err(InvalidPattern(text.chars().take(40).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Pattern {
    type Error = InvalidPattern;

    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Whether it means this model. Without a tag it means the tag `latest`, as everywhere.
    fn means(&self, name: &ModelName) -> bool {
        let whole = ModelName::of(&self.0);
        matches(self.0.as_bytes(), name.as_str().as_bytes())
            || matches(whole.as_str().as_bytes(), name.as_str().as_bytes())
    }
}

/// These patterns together; none of them means every model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Pattern>")]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// These together.
    ///
    /// # Errors
    /// When there are too many.
    pub fn of(patterns: &[Pattern]) -> Result<Self, String> {
        if patterns.len() > PATTERNS {
            return Err(format!(
                "--models has {} names: {PATTERNS} are enough, and may have a *",
                patterns.len()
            ));
        }
        Ok(Self(patterns.to_vec()))
    }

    /// Whether this model is among them.
    pub fn has(&self, name: &str) -> bool {
        let name = ModelName::of(name);
        self.is_all() || self.0.iter().any(|pattern| pattern.means(&name))
    }

    /// Whether every model is meant.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<Pattern>> for Patterns {
    type Error = String;

    fn try_from(patterns: Vec<Pattern>) -> Result<Self, String> {
        Self::of(&patterns)
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&patterns.join(", "))
    }
}

/// A star that does not fit takes one character more: that goes back to the last star only, so it is never slow.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_text, mut star) = (0, 0, None);
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[in_text] => (at, in_text) = (at + 1, in_text + 1),
            _ => {
                let Some((of_star, taken)) = star else { return false };
                star = Some((of_star, taken + 1));
                (at, in_text) = (of_star + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(text: &str) -> Patterns {
        let patterns: Vec<Pattern> = text.split(',').map(|it| it.parse().unwrap()).collect();
        Patterns::of(&patterns).unwrap()
    }

    #[test]
    fn names_and_patterns_mean_models() {
        let patterns = patterns("llama3*, mistral,phi:?b");
        for (name, has) in [
            ("llama3", true),
            ("llama3.1:70b", true),
            ("library/llama3:8b", true),
            ("mistral", true),
            ("mistral:latest", true),
            ("mistral:7b", false),
            ("phi:3b", true),
            ("phi:14b", false),
            ("me/llama3", false),
        ] {
            assert_eq!(patterns.has(name), has, "{name}");
        }
        assert_eq!(patterns.to_string(), "llama3*, mistral, phi:?b");
        assert!(Patterns::default().has("x") && Patterns::default().is_all());
    }

    #[test]
    fn what_names_no_model_is_told_so() {
        for text in ["", "  ", "a b", "a\tb", "ä", &"x".repeat(201)] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }

    /// The same by trying everything.
    fn slowly(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|taken| slowly(rest, &text[taken..])),
            Some((byte, rest)) => {
                text.first().is_some_and(|it| *byte == b'?' || byte == it) && slowly(rest, &text[1..])
            }
        }
    }

    proptest! {
        #[test]
        fn a_pattern_means_what_trying_everything_says(pattern in "[ab?*]{0,8}", text in "[ab]{0,10}") {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(pattern, text), slowly(pattern, text));
        }
    }
}
