//! The usual line of a stream: a piece of text and nothing else. Nearly all lines are, and the general way to read one
//! copies every field that it does not know.

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "model")]
    _model: IgnoredAny,
    #[serde(rename = "created_at")]
    _created_at: IgnoredAny,
    #[serde(default)]
    message: Option<Said>,
    #[serde(default)]
    response: Option<String>,
    done: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(rename = "role")]
    _role: IgnoredAny,
    content: String,
}

/// The text of a line that holds a text and nothing else; `None` for every other line, which is then read in the general way.
pub fn text(line: &[u8]) -> Option<String> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let text = match (line.message, line.response) {
        (Some(said), None) => said.content,
        (None, Some(response)) => response,
        _ => return None,
    };
    (!line.done && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_of_mere_text_is_read_here() {
        let chat =
            br#"{"model":"m","created_at":"t","message":{"role":"assistant","content":"a\n"},"done":false}"#;
        assert_eq!(text(chat).as_deref(), Some("a\n"));
        assert_eq!(
            text(br#"{"model":"m","created_at":"t","response":"b","done":false}"#).as_deref(),
            Some("b")
        );
        for other in [
            r#"{"model":"m","created_at":"t","response":"b","done":true}"#,
            r#"{"model":"m","created_at":"t","response":"","done":false}"#,
            r#"{"model":"m","created_at":"t","response":"b","thinking":"c","done":false}"#,
            r#"{"model":"m","created_at":"t","message":{"role":"assistant","content":"a","new":1},"done":false}"#,
            r#"{"model":"m","created_at":"t","message":{"role":"assistant","content":"a"},"response":"b","done":false}"#,
            r#"{"error":"x"}"#,
            "{",
        ] {
            assert_eq!(text(other.as_bytes()), None, "{other}");
        }
    }
}
