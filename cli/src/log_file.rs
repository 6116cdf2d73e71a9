//! What a part says, in a file of its own: kept within bounds, and read from its end.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// A log that is longer goes on as a new one; the one before is kept.
const LONGEST: u64 = 16 << 20;
/// How much of a log's end is looked at for its last lines.
const TAIL: u64 = 64 << 10;

/// The log of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile(PathBuf);

impl LogFile {
    pub fn of(logs: &Path, part: &str) -> Self {
        Self(logs.join(format!("{part}.log")))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the log before this one is.
    pub fn before(&self) -> PathBuf {
        self.0.with_extension("log.1")
    }

    /// Begins a new log.
    pub fn begin(&self) -> io::Result<File> {
        if fs::metadata(&self.0).is_ok_and(|about| about.len() > 0) {
            fs::rename(&self.0, self.before())?;
        }
        self.append()
    }

    /// Goes on with it.
    pub fn append(&self) -> io::Result<File> {
        File::options().create(true).append(true).open(&self.0)
    }

    pub fn len(&self) -> u64 {
        fs::metadata(&self.0).map_or(0, |about| about.len())
    }

    /// Begins it anew once it is too long. Whoever writes it holds the file open, so it is copied and emptied; what is
    /// written between these two is lost.
    pub fn trim(&self) -> io::Result<()> {
        self.trim_beyond(LONGEST)
    }

    fn trim_beyond(&self, longest: u64) -> io::Result<()> {
        if self.len() <= longest {
            return Ok(());
        }
        fs::copy(&self.0, self.before())?;
        File::options().write(true).open(&self.0)?.set_len(0)
    }

    /// Its last lines, beginning at `from` bytes at the earliest.
    pub fn last_lines(&self, count: usize, from: u64) -> Vec<String> {
        let text = self.end(from).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
    }

    fn end(&self, from: u64) -> io::Result<String> {
        let mut file = File::open(&self.0)?;
        let length = file.metadata()?.len();
        // A log that has begun anew is shorter than what was there before.
        let from = if from > length { 0 } else { from };
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL))))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_new_log_keeps_the_one_before_and_an_empty_one_is_not_worth_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogFile::of(folder.path(), "edge");
        writeln!(log.begin().unwrap(), "first").unwrap();
        log.begin().unwrap();
        log.begin().unwrap();
        assert_eq!(fs::read_to_string(log.before()).unwrap(), "first\n");
        assert!(log.before().ends_with("edge.log.1"));
    }

    #[test]
    fn a_log_that_is_too_long_begins_anew_for_whoever_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogFile::of(folder.path(), "edge");
        let mut file = log.begin().unwrap();
        writeln!(file, "one\ntwo").unwrap();
        log.trim_beyond(100).unwrap();
        assert_eq!(log.last_lines(9, 0), ["one", "two"]);
        assert_eq!(log.last_lines(1, 4), ["two"]);
        log.trim_beyond(3).unwrap();
        writeln!(file, "three").unwrap();
        assert_eq!(fs::read_to_string(log.path()).unwrap(), "three\n");
        assert_eq!(fs::read_to_string(log.before()).unwrap(), "one\ntwo\n");
        assert_eq!(log.last_lines(9, 4000), ["three"], "a place beyond the end is one of the log before");
    }
}
