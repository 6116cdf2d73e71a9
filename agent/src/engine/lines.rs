//! Bytes into lines, with a bound: an engine that sends no line end must not fill the memory.

use bytes::{Bytes, BytesMut};

/// A line is longer than allowed.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// Cuts a stream of bytes at its line ends.
#[derive(Debug)]
pub struct Lines {
    /// What arrived last. Lines that are whole in it are parts of it.
    packet: Bytes,
    /// The beginning of a line that has no end yet, from the packets before.
    begun: BytesMut,
    longest: usize,
}

impl Lines {
    /// Lines of `longest` bytes at most.
    pub fn new(longest: usize) -> Self {
        Self { packet: Bytes::new(), begun: BytesMut::new(), longest }
    }

    /// Takes what arrived, once there is no next line in what arrived before.
    pub fn push(&mut self, bytes: Bytes) {
        debug_assert!(memchr::memchr(b'\n', &self.packet).is_none(), "a line that nobody has taken");
        self.set_aside();
        self.packet = bytes;
    }

    /// The next whole line, without its end (`\n` or `\r\n`).
    ///
    /// # Errors
    /// When the line is too long, whole or not.
    pub fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        let Some(end) = memchr::memchr(b'\n', &self.packet) else {
            self.set_aside();
            return if self.begun.len() > self.longest { Err(TooLong) } else { Ok(None) };
        };
        if self.begun.len() + end > self.longest {
            return Err(TooLong);
        }
        let line = self.packet.split_to(end + 1);
        if self.begun.is_empty() {
            return Ok(Some(trimmed(line)));
        }
        self.begun.extend_from_slice(&line);
        Ok(Some(trimmed(self.begun.split().freeze())))
    }

    /// What stands after the last line end.
    pub fn rest(&mut self) -> Bytes {
        self.set_aside();
        trimmed(self.begun.split().freeze())
    }

    fn set_aside(&mut self) {
        self.begun.extend_from_slice(&self.packet);
        // Whoever keeps a part of a packet keeps the buffer that the next one would be read into.
        self.packet = Bytes::new();
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
        lines.push(Bytes::from_static(b"{\"a\""));
        assert!(all(&mut lines).is_empty());
        lines.push(Bytes::from_static(b":1}\r\n\n{\"b\":2}\nrest"));
        assert_eq!(all(&mut lines), ["{\"a\":1}", "", "{\"b\":2}"]);
        assert_eq!(lines.rest(), "rest");
    }

    #[test]
    fn an_endless_line_is_an_error() {
        let mut lines = Lines::new(8);
        lines.push(Bytes::from_static(b"123456789"));
        assert_eq!(lines.next(), Err(TooLong));
        let mut lines = Lines::new(8);
        lines.push(Bytes::from_static(b"123456789\n"));
        assert_eq!(lines.next(), Err(TooLong));
    }

    proptest! {
        #[test]
        fn cutting_does_not_depend_on_the_packets(bytes in prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..80), size in 1usize..9) {
            let mut whole = Lines::new(1000);
            whole.push(bytes.clone().into());
            let mut expected = all(&mut whole);
            expected.push(whole.rest());
            let (mut lines, mut found) = (Lines::new(1000), Vec::new());
            for packet in bytes.chunks(size) {
                lines.push(Bytes::copy_from_slice(packet));
                found.extend(all(&mut lines));
            }
            found.push(lines.rest());
            prop_assert_eq!(found, expected);
        }
    }
}
