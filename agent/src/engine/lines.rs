//! Bytes into lines, with a bound: an engine that sends no line end must not fill the memory.

use bytes::{Bytes, BytesMut};

/// A line is longer than allowed.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// Cuts a stream of bytes at its line ends.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// How far the buffer has been searched.
    searched: usize,
    longest: usize,
}

impl Lines {
    /// Lines of `longest` bytes at most.
    pub fn new(longest: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, longest }
    }

    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its end (`\n` or `\r\n`).
    ///
    /// # Errors
    /// When the line is too long, whole or not.
    pub fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        let end = memchr::memchr(b'\n', &self.buffer[self.searched..]);
        let Some(end) = end.map(|end| end + self.searched) else {
            self.searched = self.buffer.len();
            return if self.searched > self.longest { Err(TooLong) } else { Ok(None) };
        };
        if end > self.longest {
            return Err(TooLong);
        }
        let line = self.buffer.split_to(end + 1);
        self.searched = 0;
        Ok(Some(trimmed(line.freeze())))
    }

    /// What stands after the last line end.
    pub fn rest(&mut self) -> Bytes {
        self.searched = 0;
        trimmed(self.buffer.split().freeze())
    }
}

fn trimmed(mut line: Bytes) -> Bytes {
    for end in [b'\n', b'\r'] {
        if line.last() == Some(&end) {
            line.truncate(line.len() - 1);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(lines: &mut Lines) -> Vec<Bytes> {
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    #[test]
    fn lines_are_found_across_packets() {
        let mut lines = Lines::new(100);
        lines.push(b"{\"a\"");
        assert!(all(&mut lines).is_empty());
        lines.push(b":1}\r\n\n{\"b\":2}\nrest");
        assert_eq!(all(&mut lines), ["{\"a\":1}", "", "{\"b\":2}"]);
        assert_eq!(lines.rest(), "rest");
    }

    #[test]
    fn an_endless_line_is_an_error() {
        let mut lines = Lines::new(8);
        lines.push(b"123456789");
        assert_eq!(lines.next(), Err(TooLong));
        let mut lines = Lines::new(8);
        lines.push(b"123456789\n");
        assert_eq!(lines.next(), Err(TooLong));
    }

    proptest! {
        #[test]
        fn cutting_does_not_depend_on_the_packets(bytes in prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..80), size in 1usize..9) {
            let mut whole = Lines::new(1000);
            whole.push(&bytes);
            let mut expected = all(&mut whole);
            expected.push(whole.rest());
            let (mut lines, mut found) = (Lines::new(1000), Vec::new());
            for packet in bytes.chunks(size) {
                lines.push(packet);
                found.extend(all(&mut lines));
            }
            found.push(lines.rest());
            prop_assert_eq!(found, expected);
        }
    }
}
