//! What people read on their terminal.

use std::io::{IsTerminal as _, Write as _};

/// A line on stdout. Whoever has closed it hears no more.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line on stderr.
pub fn warn(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Whether somebody looks at stdout, and wants to see motion and colour.
pub fn is_watched() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether people want colours here. Other programs' rule: <https://no-color.org>.
pub fn colours(terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    terminal && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// A line on stderr that is not what was asked for, only about it.
pub fn aside(line: impl std::fmt::Display) {
    if colours(std::io::stderr().is_terminal()) {
        warn(format_args!("\x1b[2m{line}\x1b[0m"));
    } else {
        warn(line);
    }
}

/// Text of others as a terminal may show it: what would move the cursor, set a title or hide something is only seen.
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

/// An error as a terminal may show it: it may hold the words of an engine.
pub fn visible_error(error: anyhow::Error) -> anyhow::Error {
    if error.is::<echo_bus::process::BadConfig>() {
        return error;
    }
    anyhow::anyhow!(visible(&format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_is_left(text in "\\PC*|(?s).*") {
            let seen = visible(&text);
            assert!(seen.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "{seen:?}");
            let letters = |text: &str| text.chars().filter(|c| !c.is_control()).count();
            assert!(letters(&seen) >= letters(&text), "nothing that can be seen is lost");
        }
    }

    #[test]
    fn an_escape_sequence_is_shown_and_not_obeyed() {
        assert_eq!(visible("a\x1b[2Jb\u{9b}c\r\nd\te\x7f"), "a\u{241b}[2Jb\u{fffd}c\nd\te\u{2421}");
    }
}
