//! A body's bytes as text. What is no text, half a surrogate pair among it, becomes U+FFFD as in Go's reader of JSON: a
//! client that worked with Ollama goes on working, and no part of the mesh meets what it cannot read.

use memchr::memchr;
use memchr::memmem;

/// The text of a JSON body.
pub fn of(mut body: Vec<u8>) -> String {
    mend_surrogates(&mut body);
    String::from_utf8(body).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Puts `\ufffd` in place of each `\ud…` that has no partner. Both are as long as each other.
fn mend_surrogates(json: &mut [u8]) {
    // Most bodies have none at all, and to find that out is to look for two short words.
    if memmem::find(json, br"\ud").is_none() && memmem::find(json, br"\uD").is_none() {
        return;
    }
    let mut at = 0;
    while let Some(found) = memchr(b'\\', &json[at..]) {
        at += found;
        at += match (escaped(json, at), escaped(json, at + 6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => {
                json[at + 2..at + 6].copy_from_slice(b"fffd");
                6
            }
            (Some(_), _) => 6,
            // Two bytes, so that of an escaped backslash the second begins nothing.
            (None, _) => 2,
        };
        if at >= json.len() {
            return;
        }
    }
}

/// The unit of UTF-16 that is written as `\uXXXX` here.
fn escaped(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(br"\u")?;
    let digit =
        |unit: u16, digit: &u8| Some(unit << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?);
    digits.iter().try_fold(0, digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_a_pair_becomes_the_replacement_and_a_whole_one_stays() {
        for (json, wanted) in [
            (r#"{"a":"cut \ud83d here"}"#, r#"{"a":"cut \ufffd here"}"#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\uD83D\uDE00""#, r#""\uD83D\uDE00""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\ud83d\\ude00""#, r#""\ufffd\\ude00""#),
            (r#"{"\udc00":1}"#, r#"{"\ufffd":1}"#),
            (r#""\ud83"#, r#""\ud83"#),
            (r#""\ud83d\"#, r#""\ufffd\"#),
            (r#""\u00e9\ud""#, r#""\u00e9\ud""#),
        ] {
            assert_eq!(of(json.into()), wanted);
        }
    }

    #[test]
    fn bytes_that_are_no_text_become_replacements() {
        for (bytes, wanted) in [
            (&b"\"\xf0\x9f\x98\""[..], "\"\u{fffd}\""),
            (b"\"\xff\xfe\"", "\"\u{fffd}\u{fffd}\""),
            (b"\"\xed\xa0\xbd\"", "\"\u{fffd}\u{fffd}\u{fffd}\""),
            ("\"\u{1f600}\"".as_bytes(), "\"\u{1f600}\""),
        ] {
            assert_eq!(of(bytes.to_vec()), wanted);
        }
    }

    /// A piece of a JSON text, and the units of UTF-16 that it stands for.
    fn piece() -> impl Strategy<Value = (String, Vec<u16>)> {
        let unit = prop_oneof![any::<u16>(), 0xd800..0xe000_u16, Just(0xd83d), Just(0xde00)];
        let escape = (unit, any::<bool>()).prop_map(|(unit, upper)| {
            let written = if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
            (written, vec![unit])
        });
        let plain = prop::sample::select(vec!["u", "ud83d", "d83d", "x", "\u{1f600}", "é", "\u{fffd}"]);
        let plain = plain.prop_map(|text| (text.to_owned(), text.encode_utf16().collect()));
        let short = prop::sample::select(vec![("\\\\", '\\'), ("\\\"", '"'), ("\\n", '\n'), ("\\/", '/')]);
        let short = short.prop_map(|(written, is)| (written.to_owned(), vec![is as u16]));
        prop_oneof![escape, plain, short]
    }

    proptest! {
        /// The oracle is the standard library's own reader of UTF-16.
        #[test]
        fn a_text_is_read_as_utf_16_is(pieces in prop::collection::vec(piece(), 0..40)) {
            let json: String = pieces.iter().map(|(written, _)| written.as_str()).collect();
            let units: Vec<u16> = pieces.iter().flat_map(|(_, units)| units.clone()).collect();
            let read: String = serde_json::from_str(&of(format!("\"{json}\"").into())).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop::sample::select(b"\\uUdD8e0f\"\xf0\x9f".to_vec()), 0..40)) {
            let _ = of(bytes);
        }
    }
}
