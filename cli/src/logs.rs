//! `echo-mesh logs`: what the parts say, together.

mod follow;

use std::collections::HashMap;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use echo_bus::process::{self, BadConfig};

use crate::clean::visible;
use crate::log_file::LogFile;
use crate::place::PlaceArgs;
use crate::record::Record;
use follow::Follower;

/// How often it is looked for new lines.
const LOOK: Duration = Duration::from_millis(100);

/// What the parts of this machine's mesh say, and `up` about them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only what this part says: broker, orchestrator, edge, agent-a, engine-a, up, …
    part: Option<String>,

    /// Go on with what they say from now on
    #[arg(long, short)]
    follow: bool,

    /// How many of the last lines are shown
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = 100)]
    lines: usize,

    #[command(flatten)]
    place: PlaceArgs,
}

pub fn main(args: Args) -> ExitCode {
    match show(&args) {
        // Whoever read it has seen enough.
        Err(error) if error.downcast_ref().is_some_and(is_closed) => ExitCode::SUCCESS,
        ended => process::ended(ended),
    }
}

fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

fn show(args: &Args) -> Result<()> {
    let place = args.place.place()?;
    let logs = Record::known(&place.run).map_or(place.logs, |record| record.logs);
    let mut parts = parts_in(&logs);
    if let Some(part) = &args.part {
        if !parts.contains(part) {
            return Err(unknown(part, &parts, &logs).into());
        }
        parts = vec![part.clone()];
    }
    if parts.is_empty() && !args.follow {
        bail!("there are no logs in {}: start a mesh with `echo-mesh up`", logs.display());
    }
    let width = parts.iter().map(String::len).max().unwrap_or_default();
    let watched = io::stdout().is_terminal();
    let mut out = Printer { named: args.part.is_none(), width, watched };
    let mut followers = HashMap::new();
    let mut lines = Vec::new();
    for part in parts {
        let mut follower = Follower::at_end(LogFile::of(&logs, &part), args.lines);
        lines.extend(stamped(&part, follower.take_last()));
        followers.insert(part, follower);
    }
    // Stable: what has the same time, or none, stays as its part has said it.
    lines.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    for (_, part, line) in lines.split_off(lines.len().saturating_sub(args.lines)) {
        out.print(&part, &line)?;
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(LOOK);
        for part in parts_in(&logs).into_iter().filter(|part| args.part.as_ref().is_none_or(|it| it == part))
        {
            let log = LogFile::of(&logs, &part);
            let follower = followers.entry(part.clone()).or_insert_with(|| Follower::at_start(log));
            for line in follower.new_lines() {
                out.print(&part, &line)?;
            }
        }
    }
}

fn unknown(part: &str, parts: &[String], logs: &Path) -> BadConfig {
    let there = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    BadConfig(format!("there is no log of {part:?} in {}; there are: {there}", logs.display()))
}

/// Whose logs there are.
fn parts_in(logs: &Path) -> Vec<String> {
    let files = fs::read_dir(logs).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().to_str()?.strip_suffix(".log").map(str::to_owned));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Lines with the time that they begin with; those without belong to the one before.
fn stamped(part: &str, lines: Vec<String>) -> impl Iterator<Item = (String, String, String)> {
    let mut time = String::new();
    lines.into_iter().map(move |line| {
        if let Some(own) = time_of(&line) {
            own.clone_into(&mut time);
        }
        (time.clone(), part.to_owned(), line)
    })
}

/// `2026-11-26T20:51:50.123456Z`, at the beginning of a line of text or of JSON.
fn time_of(line: &str) -> Option<&str> {
    let text = line.strip_prefix("{\"timestamp\":\"").unwrap_or(line);
    let end = text.find('Z').filter(|end| (20..32).contains(end))?;
    let time = text.get(..end)?;
    let is_time = time.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        19 => byte == b'.',
        _ => byte.is_ascii_digit(),
    });
    is_time.then_some(time)
}

/// Lines with their part's name in front, where there are several.
struct Printer {
    named: bool,
    width: usize,
    /// A terminal obeys what is in a text; a program wants it as it is.
    watched: bool,
}

impl Printer {
    fn print(&mut self, part: &str, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.named {
            self.width = self.width.max(part.len());
            write!(out, "{part:<width$} | ", width = self.width)?;
        }
        if self.watched {
            writeln!(out, "{}", visible(line))?;
        } else {
            writeln!(out, "{line}")?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_know_their_time_and_those_without_have_that_of_the_line_before() {
        let time = "2026-11-26T20:51:50.123456";
        for line in [format!("{time}Z  INFO listening"), format!("{{\"timestamp\":\"{time}Z\",\"level\":1}}")]
        {
            assert_eq!(time_of(&line), Some(time));
        }
        for line in ["", "Z", "a line without a time Z", "2026-11-26 20:51:50.123456Z", "ääääääääääääZ"]
        {
            assert_eq!(time_of(line), None, "{line}");
        }
        let lines = vec!["first".to_owned(), format!("{time}Z  INFO x"), "second".to_owned()];
        let times: Vec<String> = stamped("edge", lines).map(|(time, ..)| time).collect();
        assert_eq!(times, ["", time, time]);
    }
}
