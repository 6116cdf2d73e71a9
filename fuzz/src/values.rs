//! Where values stand in a text that is JSON, or holds some: lines of a stream, or a configuration.

use std::ops::Range;

/// The texts, numbers, words, lists and objects, as far as they are closed.
pub fn values(text: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut open, mut at) = (Vec::new(), Vec::new(), 0);
    while at < text.len() {
        let from = at;
        at += 1;
        match text[from] {
            b'{' | b'[' => open.push(from),
            b'}' | b']' => found.extend(open.pop().map(|from| from..at)),
            b'"' => {
                while at < text.len() && text[at] != b'"' {
                    at += 1 + usize::from(text[at] == b'\\');
                }
                at = (at + 1).min(text.len());
                found.push(from..at);
            }
            byte if is_word(byte) => {
                at += text[at..].iter().take_while(|byte| is_word(**byte)).count();
                found.push(from..at);
            }
            _ => {}
        }
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-._".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_a_json_is_found() {
        let text = br#"{"a":[1,-2e3,null],"b\"":{}} [ "open"#;
        let found: Vec<&str> =
            values(text).into_iter().map(|range| std::str::from_utf8(&text[range]).unwrap()).collect();
        let whole = r#"{"a":[1,-2e3,null],"b\"":{}}"#;
        assert_eq!(
            found,
            [r#""a""#, "1", "-2e3", "null", "[1,-2e3,null]", r#""b\"""#, "{}", whole, "\"open"]
        );
    }
}
