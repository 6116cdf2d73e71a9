//! A line of a stream, serialized once, into which tokens are poured.

use serde_json::Value;

/// Stands where the text goes. No model name and no id can hold it.
pub const TEXT: &str = "\u{1}";
const ESCAPED: &str = "\\u0001";

/// The pieces of a line between which the text stands.
pub struct LineTemplate(Vec<Vec<u8>>);

impl LineTemplate {
    /// From a JSON value with `TEXT` in it; `before` and `after` stand around the JSON.
    pub fn new(before: &str, value: &Value, after: &str) -> Self {
        let line = format!("{before}{value}{after}");
        Self(line.split(ESCAPED).map(|piece| piece.as_bytes().to_vec()).collect())
    }

    /// Appends the line with this text, which must be escaped for JSON already.
    pub fn pour(&self, text: &[u8], into: &mut Vec<u8>) {
        let mut pieces = self.0.iter();
        if let Some(first) = pieces.next() {
            into.extend_from_slice(first);
        }
        for piece in pieces {
            into.extend_from_slice(text);
            into.extend_from_slice(piece);
        }
    }
}

/// A text as it stands between the quotes of a JSON string.
pub fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Appends a word with a number and a space, such as `t17 `, without the machinery of formatting.
pub fn numbered(letter: u8, index: u64, into: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut place = digits.len();
    let mut rest = index;
    loop {
        place -= 1;
        // A remainder of ten fits a byte.
        digits[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    into.push(letter);
    into.extend_from_slice(&digits[place..]);
    into.push(b' ');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_poured_into_every_place() {
        let template = LineTemplate::new("data: ", &json!({"a": TEXT, "b": [TEXT]}), "\n");
        let mut line = Vec::new();
        template.pour(b"t1 ", &mut line);
        assert_eq!(String::from_utf8_lossy(&line), "data: {\"a\":\"t1 \",\"b\":[\"t1 \"]}\n");
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        for index in [0, 9, 10, 1234, u64::MAX] {
            let mut word = Vec::new();
            numbered(b't', index, &mut word);
            assert_eq!(word, format!("t{index} ").into_bytes());
        }
    }
}
