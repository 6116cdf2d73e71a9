//! What is asked: the words of the command line, a text that is piped in, pictures.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use echo_bus::process::BadConfig;

use crate::say::aside;

/// Far more than any model reads.
const LONGEST_TEXT: u64 = 8 << 20;
const LARGEST_PICTURE: u64 = 16 << 20;

/// The whole prompt.
///
/// # Errors
/// It is empty, too long, or no text.
pub fn prompt(words: &[String]) -> Result<String> {
    let stdin = io::stdin();
    let terminal = stdin.is_terminal();
    let reads_all = matches!(words, []) || words == ["-"];
    if reads_all && terminal {
        aside("reading what you type, until Ctrl-D");
    }
    let piped = if reads_all || !terminal { text(stdin.lock(), LONGEST_TEXT)? } else { String::new() };
    let asked = if reads_all { String::new() } else { words.join(" ") };
    let prompt = together(&piped, &asked);
    if prompt.trim().is_empty() {
        return Err(BadConfig("nothing is asked: say what you want, or pipe a text in".to_owned()).into());
    }
    Ok(prompt)
}

/// The text first: the next question about it finds it in the engine's cache.
fn together(piped: &str, asked: &str) -> String {
    let piped = piped.trim_end();
    match (piped.is_empty(), asked.is_empty()) {
        (true, _) => asked.to_owned(),
        (_, true) => piped.to_owned(),
        _ => format!("{piped}\n\n{asked}"),
    }
}

fn text(from: impl Read, most: u64) -> Result<String> {
    let bytes = bounded(from, most).context("stdin cannot be read")?.ok_or_else(|| {
        BadConfig(format!("more than {} MiB are piped in: send the part that matters", most >> 20))
    })?;
    let text = String::from_utf8(bytes);
    Ok(text.map_err(|_| {
        BadConfig("what is piped in is no text in UTF-8; a picture goes to --image".to_owned())
    })?)
}

/// A picture in base64.
///
/// # Errors
/// It cannot be read, or is too large.
pub fn picture(file: &Path) -> Result<String> {
    let unread = |why: String| BadConfig(format!("the picture {} cannot be sent: {why}", file.display()));
    let read = File::open(file).and_then(|open| bounded(open, LARGEST_PICTURE));
    let bytes = read.map_err(|error| unread(error.to_string()))?;
    let bytes = bytes.ok_or_else(|| unread(format!("it has more than {} MiB", LARGEST_PICTURE >> 20)))?;
    Ok(STANDARD.encode(bytes))
}

/// All of it; `None` if that is too much.
fn bounded(from: impl Read, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_piped_in_goes_before_the_question() {
        assert_eq!(together("a\nb\n", "sum up"), "a\nb\n\nsum up");
        assert_eq!(together("a\n", ""), "a");
        assert_eq!(together("", "why"), "why");
    }

    #[test]
    fn what_is_too_long_or_no_text_is_refused_with_a_sentence() {
        assert_eq!(text(&b"1234"[..], 4).unwrap(), "1234");
        let too_long = text(io::repeat(b'x'), LONGEST_TEXT).unwrap_err();
        assert!(too_long.to_string().contains("more than 8 MiB"), "{too_long}");
        let odd = text(&b"\xff\xfe"[..], 4).unwrap_err();
        assert!(odd.is::<BadConfig>() && odd.to_string().contains("--image"), "{odd}");
        assert!(picture(Path::new("/nowhere/a.png")).unwrap_err().to_string().contains("a.png"));
    }
}
