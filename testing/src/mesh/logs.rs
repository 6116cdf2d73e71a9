//! What a process said on stderr: the latest lines, searchable while it goes on talking.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use serde_json::Value;
use tokio::sync::watch;

/// Lines kept of one process, over all its starts, and the length at which a line is cut.
const MOST_LINES: usize = 5000;
const LONGEST_LINE: usize = 4000;

#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    kept: Mutex<Kept>,
    /// Lines heard so far; a change wakes whoever awaits a line.
    heard: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    /// The number of the first line kept.
    first: u64,
}

impl Default for Logs {
    fn default() -> Self {
        Self(Arc::new(Inner { kept: Mutex::default(), heard: watch::Sender::new(0) }))
    }
}

impl Logs {
    /// Reads until the pipe closes, on a thread of its own: a process must never wait for a busy test.
    /// `open` is dropped when nothing more can come.
    pub fn follow(&self, pipe: impl Read + Send + 'static, open: mpsc::Sender<()>) {
        let logs = self.clone();
        thread::spawn(move || {
            let _open = open;
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                line.truncate(LONGEST_LINE);
                logs.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        });
    }

    /// Adds a line of the harness's own, such as a start or a signal.
    pub fn push(&self, line: String) {
        let mut kept = self.kept();
        kept.lines.push_back(line);
        if kept.lines.len() > MOST_LINES {
            kept.lines.pop_front();
            kept.first += 1;
        }
        let end = kept.first + kept.lines.len() as u64;
        drop(kept);
        self.0.heard.send_replace(end);
    }

    /// The number that the next line will have.
    pub fn end(&self) -> u64 {
        *self.0.heard.borrow()
    }

    /// The lines from number `from` on.
    pub fn since(&self, from: u64) -> Vec<String> {
        let kept = self.kept();
        let skip = usize::try_from(from.saturating_sub(kept.first)).unwrap_or(usize::MAX);
        kept.lines.iter().skip(skip).cloned().collect()
    }

    /// All lines kept.
    pub fn all(&self) -> Vec<String> {
        self.since(0)
    }

    /// The last `count` lines as one text.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.all();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// The first line from number `from` on for which `pick` has an answer; waits for it. Cancel-safe.
    pub async fn line<T>(&self, from: u64, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        let mut heard = self.0.heard.subscribe();
        let mut next = from;
        loop {
            let end = *heard.borrow_and_update();
            if let Some(found) = self.since(next).iter().find_map(|line| pick(line)) {
                return found;
            }
            next = end;
            heard.changed().await.expect("the sender lives in self");
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One JSON log line, whether its fields are flattened or not.
pub struct Line(Value);

impl Line {
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(Value::is_object).map(Self)
    }

    pub fn message(&self) -> &str {
        self.field("message").unwrap_or_default()
    }

    /// A field as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0["fields"].get(name).or_else(|| self.0.get(name)).and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_comes_later_is_found() {
        let logs = Logs::default();
        logs.push("one".to_owned());
        let found = logs.line(0, |line| line.strip_prefix("t").map(str::to_owned));
        let later = async {
            tokio::task::yield_now().await;
            logs.push("two".to_owned());
        };
        let (found, ()) = tokio::join!(found, later);
        assert_eq!(found, "wo");
    }

    #[test]
    fn only_the_latest_lines_are_kept() {
        let logs = Logs::default();
        (0..MOST_LINES + 10).for_each(|number| logs.push(number.to_string()));
        assert_eq!(logs.all().len(), MOST_LINES);
        assert_eq!(logs.since(logs.end() - 1), [(MOST_LINES + 9).to_string()]);
    }

    #[test]
    fn both_shapes_of_json_lines_are_read() {
        for text in [
            r#"{"fields":{"message":"listening","address":"a"}}"#,
            r#"{"message":"listening","address":"a"}"#,
        ] {
            let line = Line::read(text).unwrap();
            assert_eq!((line.message(), line.field("address")), ("listening", Some("a")));
        }
        assert!(Line::read("listening").is_none());
    }
}
