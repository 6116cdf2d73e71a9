//! A message out of lines: most are one; a backslash at the end goes on, and so does everything between triple quotes.

/// Far more than any model reads.
pub const LONGEST: usize = 8 << 20;

const QUOTES: &str = r#"""""#;

/// A message that is being typed.
#[derive(Debug, Default)]
pub struct Message {
    text: String,
    /// Triple quotes are open.
    quoted: bool,
    /// The line before wants another.
    goes_on: bool,
}

/// It has become too long.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message has more than {} MiB: send the part that matters", LONGEST >> 20)]
pub struct TooLong;

impl Message {
    pub fn is_begun(&self) -> bool {
        self.quoted || self.goes_on
    }

    /// The message, if this line ends it.
    ///
    /// # Errors
    /// It has become too long, and is forgotten.
    pub fn line(&mut self, line: &str) -> Result<Option<String>, TooLong> {
        if self.text.len() + line.len() > LONGEST {
            *self = Self::default();
            return Err(TooLong);
        }
        let begins = !self.is_begun() && line.trim_start().starts_with(QUOTES);
        let mut line = if begins { line.trim_start().trim_start_matches(QUOTES) } else { line };
        self.quoted |= begins;
        if self.quoted {
            let Some(last) = line.trim_end().strip_suffix(QUOTES) else {
                self.add(line, begins);
                return Ok(None);
            };
            self.add(last, begins);
            return Ok(Some(self.taken()));
        }
        let goes_on = line.strip_suffix('\\');
        line = goes_on.unwrap_or(line);
        self.add(line, !self.goes_on);
        self.goes_on = goes_on.is_some();
        Ok((!self.goes_on).then(|| self.taken()))
    }

    fn add(&mut self, line: &str, first: bool) {
        if !first {
            self.text.push('\n');
        }
        self.text.push_str(line);
    }

    /// What is there, as it is.
    pub fn taken(&mut self) -> String {
        std::mem::take(self).text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Vec<Option<String>> {
        let mut message = Message::default();
        lines.iter().map(|line| message.line(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_a_message_unless_it_goes_on() {
        assert_eq!(of(&["a", "b"]), [Some("a".to_owned()), Some("b".to_owned())]);
        assert_eq!(of(&["a\\", "b\\", "c"]), [None, None, Some("a\nb\nc".to_owned())]);
    }

    #[test]
    fn triple_quotes_hold_any_lines() {
        assert_eq!(
            of(&["\"\"\"a", "", "b\\", "c\"\"\""]),
            [None, None, None, Some("a\n\nb\\\nc".to_owned())]
        );
        assert_eq!(of(&["\"\"\"a\"\"\""]), [Some("a".to_owned())]);
        assert_eq!(of(&["\"\"\"", "a", "\"\"\""]), [None, None, Some("\na\n".to_owned())]);
    }

    #[test]
    fn a_message_without_an_end_is_bounded() {
        let mut message = Message::default();
        let long = "x".repeat(LONGEST / 2);
        message.line("\"\"\"").unwrap();
        message.line(&long).unwrap();
        assert_eq!(message.line(&long), Err(TooLong));
        assert_eq!(message.line("a"), Ok(Some("a".to_owned())));
    }
}
