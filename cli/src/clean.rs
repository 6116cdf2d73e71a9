//! Words of others, made harmless for a terminal. Names, reasons and models come from any machine of the mesh, and a
//! terminal obeys what is in a text: it would move the cursor, change the title, or paint over what is true.
//!
//! This is the one place. What is read off a wire to be shown is a [`Clean`], so nothing else can be printed.

use std::fmt;

use echo_bus::process::BadConfig;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Longer texts are cut, in characters.
const LONGEST: usize = 300;
/// What stands where something was taken out.
const TAKEN_OUT: char = '\u{fffd}';

/// A text that can be printed: one line, no control characters, not endless.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clean(String);

impl Clean {
    /// The text without what a terminal would obey.
    pub fn of(text: &str) -> Self {
        let mut clean: String = text.chars().take(LONGEST).map(harmless).collect();
        if text.chars().nth(LONGEST).is_some() {
            clean.push('…');
        }
        Self(clean)
    }

    /// A text in JSON; empty where there is none.
    pub fn read(value: &Value) -> Self {
        value.as_str().map(Self::of).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Clean {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self::read(&Value::deserialize(from)?))
    }
}

/// JSON as text in which everything that a terminal would obey is written as `\u…`: the same JSON to every reader.
pub fn json(value: &Value) -> String {
    let mut text = String::new();
    for found in value.to_string().chars() {
        if is_harmful(found) {
            let mut units = [0; 2];
            let units = found.encode_utf16(&mut units);
            text.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(found);
        }
    }
    text
}

fn harmless(found: char) -> char {
    match found {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        found if is_harmful(found) => TAKEN_OUT,
        found => found,
    }
}

/// An answer as a terminal may show it, with its lines: what would move the cursor or set a title is only seen. Marks of
/// direction and joiners stay: scripts need them.
pub fn visible(text: &str) -> String {
    text.chars().filter_map(seen).collect()
}

fn seen(c: char) -> Option<char> {
    match c {
        '\n' | '\t' => Some(c),
        // Nearly always a part of the end of a line; alone it would overwrite one.
        '\r' => None,
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)),
        '\x7f' => Some('\u{2421}'),
        c if c.is_control() => Some(char::REPLACEMENT_CHARACTER),
        c => Some(c),
    }
}

/// An error as a terminal may show it: it may hold the words of an engine. One that a person can mend stays one.
pub fn visible_error(error: anyhow::Error) -> anyhow::Error {
    let words = visible(&format!("{error:#}"));
    if error.is::<BadConfig>() {
        return BadConfig(words).into();
    }
    anyhow::anyhow!(words)
}

/// Control characters (C1 too, of which one alone begins a command), and what hides text or turns its direction.
fn is_harmful(found: char) -> bool {
    found.is_control()
        || matches!(found,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn escape_codes_lose_what_makes_them_obeyed() {
        let spoilt = "mistral\x1b[2J\x1b]0;owned\x07\u{9b}31m\u{202e}txt\r\nnext\x7f";
        assert_eq!(Clean::of(spoilt).as_str(), "mistral�[2J�]0;owned��31m�txt  next�");
        assert_eq!(Clean::of("Qwen 2.5 – größer, 模型").as_str(), "Qwen 2.5 – größer, 模型", "words stay");
    }

    #[test]
    fn a_text_without_end_is_cut() {
        assert_eq!(Clean::of(&"ä".repeat(10_000)).as_str().chars().count(), LONGEST + 1);
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = json!({"a\u{9b}b": "\x1b[31m\u{202e}\u{e0041}\n", "c": [1, "ok"]});
        let text = json(&value);
        assert!(!text.chars().any(is_harmful), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_is_left(text in any::<String>()) {
            prop_assert!(!Clean::of(&text).as_str().chars().any(is_harmful));
            prop_assert!(!json(&Value::from(text)).chars().any(is_harmful));
        }
    }

    proptest! {
        #[test]
        fn an_answer_keeps_what_can_be_seen(text in "\\PC*|(?s).*") {
            let seen = visible(&text);
            assert!(seen.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "{seen:?}");
            let letters = |text: &str| text.chars().filter(|c| !c.is_control()).count();
            assert!(letters(&seen) >= letters(&text), "nothing that can be seen is lost");
        }
    }

    #[test]
    fn an_error_that_a_person_can_mend_stays_one_and_steers_no_terminal() {
        let error = visible_error(BadConfig("no node \x1b[2J".to_owned()).into());
        assert_eq!(error.downcast_ref::<BadConfig>().unwrap().0, "no node \u{241b}[2J");
    }

    #[test]
    fn an_escape_sequence_is_shown_and_not_obeyed() {
        assert_eq!(visible("a\x1b[2Jb\u{9b}c\r\nd\te\x7f"), "a\u{241b}[2Jb\u{fffd}c\nd\te\u{2421}");
    }
}
