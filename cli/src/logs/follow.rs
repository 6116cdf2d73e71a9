//! Reading a log while it is written, begun anew, and emptied.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use crate::log_file::LogFile;

/// A line that is longer is shown in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// One reader of a log that goes on.
pub struct Follower {
    log: LogFile,
    file: Option<File>,
    read: u64,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    last: Vec<String>,
}

impl Follower {
    /// From its first line on.
    pub fn at_start(log: LogFile) -> Self {
        Self { log, file: None, read: 0, rest: Vec::new(), last: Vec::new() }
    }

    /// From its end on, with the last lines before that.
    pub fn at_end(log: LogFile, lines: usize) -> Self {
        let mut follower = Self::at_start(log);
        let length = follower.log.len();
        follower.last = follower.log.last_lines(lines, 0);
        follower.file = File::open(follower.log.path()).ok();
        follower.read = length;
        follower
    }

    /// The last lines before it began.
    pub fn take_last(&mut self) -> Vec<String> {
        std::mem::take(&mut self.last)
    }

    /// What has come since. A log that cannot be read now says nothing now.
    pub fn new_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        self.read_on(&mut lines);
        if self.is_another() {
            self.file = File::open(self.log.path()).ok();
            self.read = 0;
            self.read_on(&mut lines);
        }
        lines
    }

    /// Whether the log has begun anew under its name.
    fn is_another(&self) -> bool {
        let Ok(named) = fs::metadata(self.log.path()) else { return false };
        let open = self.file.as_ref().and_then(|file| file.metadata().ok());
        open.is_none_or(|open| (open.dev(), open.ino()) != (named.dev(), named.ino()))
    }

    fn read_on(&mut self, lines: &mut Vec<String>) {
        let mut read = Vec::new();
        if self.read_new(&mut read).is_err() {
            return;
        }
        self.rest.extend_from_slice(&read);
        if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.rest.split_off(end + 1);
            let whole = std::mem::replace(&mut self.rest, rest);
            let whole = whole[..end].split(|byte| *byte == b'\n');
            lines.extend(whole.map(|line| String::from_utf8_lossy(line).trim_end().to_owned()));
        }
        if self.rest.len() > LONGEST_LINE {
            lines.push(String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned());
        }
    }

    fn read_new(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let length = file.metadata()?.len();
        // It was emptied, because it was too long.
        if length < self.read {
            self.read = 0;
        }
        file.seek(SeekFrom::Start(self.read))?;
        self.read += file.take(1 << 20).read_to_end(into)? as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn every_line_is_seen_once_over_a_new_log_and_an_emptied_one() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogFile::of(folder.path(), "edge");
        let mut file = log.begin().unwrap();
        writeln!(file, "one\ntwo").unwrap();
        let mut follower = Follower::at_end(log.clone(), 1);
        assert_eq!(follower.take_last(), ["two"]);
        assert!(follower.new_lines().is_empty());
        write!(file, "three\nfo").unwrap();
        assert_eq!(follower.new_lines(), ["three"]);
        writeln!(file, "ur").unwrap();
        let mut second = log.begin().unwrap();
        writeln!(second, "five").unwrap();
        assert_eq!(follower.new_lines(), ["four", "five"], "the end of the log before comes first");
        File::options().write(true).open(log.path()).unwrap().set_len(0).unwrap();
        writeln!(second, "6").unwrap();
        assert_eq!(follower.new_lines(), ["6"]);
    }

    #[test]
    fn a_log_that_is_not_there_yet_is_followed_once_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogFile::of(folder.path(), "edge");
        let mut follower = Follower::at_end(log.clone(), 5);
        assert!(follower.new_lines().is_empty());
        writeln!(log.begin().unwrap(), "one").unwrap();
        assert_eq!(follower.new_lines(), ["one"]);
    }
}
