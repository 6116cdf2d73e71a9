//! Child processes that are kept up: started, watched, started again, and ended in order. One owner holds them all; what
//! happens comes out of [`Children::next`].

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use echo_bus::process::SUPERVISED;
use futures::future::{FutureExt as _, pending, select_all};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};

use crate::clean::visible;
use crate::lifeline::Lifelines;
use crate::log_file::LogFile;
use crate::os;
use crate::process::{Process, TOKEN};
use crate::{record, scratch};

/// The pause before a part is started again: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A part that has lived for so long has not failed to start.
const LIVED: Duration = Duration::from_secs(60);
/// The exit code of a program whose configuration is wrong: to try again at once is of no use.
const BAD_CONFIG: i32 = 2;
/// How long the system may take to end what was killed.
const KILLED: Duration = Duration::from_secs(5);

/// What is started.
#[derive(Debug, Clone)]
pub struct Spec {
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// Variables beside those of this process; one without a value is taken away.
    pub env: Vec<(String, Option<OsString>)>,
    /// A folder for its temporary files, which is empty at each start: a part that is killed cleans up nothing.
    pub scratch: Option<PathBuf>,
    pub kind: Kind,
}

/// How it notices that its supervisor has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of ours, which ends by itself after all of a lower rank.
    Part { rank: usize },
    /// Somebody else's program, which the kernel ends where it can.
    Foreign,
}

/// One child, whether it runs now or not.
#[derive(Debug)]
pub struct Kept {
    spec: Spec,
    log: LogFile,
    /// How long the log was when the child was started.
    since: u64,
    child: Option<Child>,
    pub process: Option<Process>,
    started: Instant,
    pause: Duration,
    /// When it is started again.
    due: Option<Instant>,
    pub restarts: u32,
}

/// Something that has happened.
#[derive(Debug)]
pub enum Event {
    /// It has ended unasked.
    Ended { at: usize, how: String, bad_config: bool },
    /// It is time to start it again.
    Due { at: usize },
}

/// All of them, in the order of their start.
#[derive(Debug)]
pub struct Children {
    kept: Vec<Kept>,
    logs: PathBuf,
    lifelines: Lifelines,
    /// By which they are known.
    token: String,
}

/// What came of stopping one child.
#[derive(Debug)]
pub struct Stopped {
    pub said: String,
    /// What still runs, in spite of SIGKILL.
    pub left: Option<record::Part>,
}

impl Children {
    /// None yet; their logs will be in this folder.
    pub fn new(logs: &Path) -> io::Result<Self> {
        let token = format!("{:032x}", rand::random::<u128>());
        Ok(Self { kept: Vec::new(), logs: logs.to_owned(), lifelines: Lifelines::new()?, token })
    }

    /// What the environment of each has in [`TOKEN`].
    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter()
    }

    pub fn get(&self, at: usize) -> &Kept {
        &self.kept[at]
    }

    /// Starts one more. Its log begins anew.
    pub async fn add(&mut self, spec: Spec) -> io::Result<()> {
        let log = LogFile::of(&self.logs, &spec.name);
        log.begin()?;
        self.kept.push(Kept {
            spec,
            log,
            since: 0,
            child: None,
            process: None,
            started: Instant::now(),
            pause: FIRST_PAUSE,
            due: None,
            restarts: 0,
        });
        let at = self.kept.len() - 1;
        self.kept[at].start(&self.lifelines, &self.token)
    }

    /// Starts one again; what goes wrong with that counts as its end.
    pub async fn again(&mut self, at: usize) -> io::Result<()> {
        let kept = &mut self.kept[at];
        kept.due = None;
        // An engine's runners would hold the memory that the new one needs.
        if let Some(process) = &kept.process {
            process.end_left().await;
        }
        kept.restarts += 1;
        kept.start(&self.lifelines, &self.token)
    }

    /// When one that has ended is started again: how long until then.
    pub fn plan(&mut self, at: usize, bad_config: bool) -> Duration {
        let kept = &mut self.kept[at];
        let now = Instant::now();
        if now.duration_since(kept.started) >= LIVED {
            kept.pause = FIRST_PAUSE;
        }
        let pause = if bad_config { LONGEST_PAUSE } else { kept.pause };
        kept.pause = (kept.pause * 2).min(LONGEST_PAUSE);
        kept.due = Some(now + pause);
        pause
    }

    /// What happens next. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        let due = self.kept.iter().enumerate().filter_map(|(at, kept)| Some((kept.due?, at))).min();
        let again = async {
            match due {
                Some((when, at)) => {
                    sleep_until(when).await;
                    Event::Due { at }
                }
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            (at, ended) = first_end(&mut self.kept) => {
                self.kept[at].child = None;
                let bad_config = ended.as_ref().is_ok_and(|status| status.code() == Some(BAD_CONFIG));
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                Event::Ended { at, how, bad_config }
            }
            event = again => event,
        }
    }

    /// Keeps the logs within bounds.
    pub fn trim_logs(&self) -> io::Result<()> {
        self.kept.iter().try_for_each(|kept| kept.log.trim())
    }

    /// Asks the last one that was started to end, waits, insists after `patience`, and forgets it. Says what came of
    /// it; none where nothing is left to be stopped.
    pub async fn stop_last(&mut self, patience: Duration) -> Option<Stopped> {
        let last = self.kept.last_mut()?;
        last.due = None;
        let said = match &last.process {
            Some(process) => end(&last.spec.name, process, patience, Asks::Here).await,
            None => format!("{}: was not running", last.spec.name),
        };
        if let Some(mut child) = last.child.take() {
            let _ = timeout(KILLED, child.wait()).await;
        }
        if let Some(scratch) = &last.spec.scratch {
            scratch::end(scratch);
        }
        let left = last.part().filter(|part| part.process.runs());
        self.kept.pop();
        Some(Stopped { said, left })
    }

    /// SIGKILL for all of them and their children.
    pub fn kill(&mut self) {
        for kept in &mut self.kept {
            kept.due = None;
            if let Some(process) = &kept.process {
                process.kill();
            }
        }
    }
}

impl Kept {
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// As it is written down; none that never ran.
    pub fn part(&self) -> Option<record::Part> {
        let (name, restarts) = (self.spec.name.clone(), self.restarts);
        Some(record::Part { name, process: self.process.clone()?, restarts })
    }

    pub fn log(&self) -> &LogFile {
        &self.log
    }

    /// The last lines that this start of it has said, as a terminal may show them.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        self.log.last_lines(count, self.since).iter().map(|line| visible(line)).collect()
    }

    fn start(&mut self, lifelines: &Lifelines, token: &str) -> io::Result<()> {
        let output = self.log.append()?;
        self.since = self.log.len();
        self.started = Instant::now();
        let mut command = Command::new(&self.spec.program);
        command.args(&self.spec.args).stderr(Stdio::from(output.try_clone()?));
        for (name, value) in &self.spec.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(scratch) = &self.spec.scratch {
            scratch::begin(scratch)?;
            command.env("TMPDIR", scratch);
        }
        command.env(TOKEN, token);
        match self.spec.kind {
            Kind::Part { rank } => {
                command.env(SUPERVISED, "1");
                command.stdin(lifelines.held_for(rank)?).stdout(lifelines.held_by(rank)?);
            }
            Kind::Foreign => {
                command.env_remove(SUPERVISED).stdin(Stdio::null()).stdout(Stdio::from(output));
                os::end_with_us(&mut command);
            }
        }
        // A group of its own: Ctrl-C is for us, and we stop it in order.
        let child = command.process_group(0).spawn()?;
        self.process = child.id().and_then(|pid| Process::started(pid, token));
        self.child = Some(child);
        Ok(())
    }
}

/// The first of those that run that ends. Cancel-safe.
async fn first_end(kept: &mut [Kept]) -> (usize, io::Result<ExitStatus>) {
    let children = kept.iter_mut().enumerate().filter_map(|(at, kept)| Some((at, kept.child.as_mut()?)));
    let ends: Vec<_> =
        children.map(|(at, child)| child.wait().map(move |ended| (at, ended)).boxed()).collect();
    if ends.is_empty() {
        return pending().await;
    }
    select_all(ends).await.0
}

/// Who asks a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    Here,
    /// Its supervisor has been told to, while it still ran.
    Supervisor,
}

/// Ends one process and what it leaves, and says what came of it.
pub async fn end(name: &str, process: &Process, patience: Duration, asks: Asks) -> String {
    let pid = process.pid;
    if !process.runs() && asks == Asks::Here {
        return match process.end_left().await {
            left if left.is_empty() => format!("{name}: had already ended"),
            left => format!("{name}: had already ended; stopped what it had left running ({})", pids(&left)),
        };
    }
    if asks == Asks::Here
        && let Err(error) = process.signal(libc::SIGTERM)
    {
        return format!(
            "{name}: pid {pid} cannot be stopped by this user ({error}); stop it as the one who started it"
        );
    }
    if timeout(patience, process.ended()).await.is_err() {
        process.kill();
        let _ = timeout(KILLED, process.ended()).await;
        let within = patience.as_secs_f64();
        return format!(
            "{name}: pid {pid} did not end within {within} s of SIGTERM, so SIGKILL for it and its children"
        );
    }
    match process.end_left().await {
        left if left.is_empty() => format!("{name}: stopped (pid {pid})"),
        left => format!("{name}: stopped (pid {pid}), and what it had left running ({})", pids(&left)),
    }
}

fn pids(pids: &[i32]) -> String {
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    format!("pid {}", pids.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(name: &str, script: &str) -> Spec {
        let args = vec!["-c".into(), script.into()];
        Spec {
            name: name.into(),
            program: "/bin/sh".into(),
            args,
            env: Vec::new(),
            scratch: None,
            kind: Kind::Foreign,
        }
    }

    async fn one(folder: &tempfile::TempDir, script: &str) -> Children {
        let mut children = Children::new(folder.path()).unwrap();
        children.add(shell("part", script)).await.unwrap();
        children
    }

    #[tokio::test]
    async fn pauses_double_up_to_half_a_minute_and_begin_again_after_a_minute_of_life() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = one(&folder, "exit 0").await;
        let pauses: Vec<f64> = (0..8).map(|_| children.plan(0, false).as_secs_f64()).collect();
        assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        children.kept[0].started -= LIVED;
        assert_eq!(children.plan(0, false), FIRST_PAUSE);
        children.kept[0].started = Instant::now();
        assert_eq!(
            children.plan(0, true),
            LONGEST_PAUSE,
            "a wrong configuration does not mend itself at once"
        );
    }

    #[tokio::test]
    async fn the_last_words_of_a_part_move_no_cursor() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = one(&folder, "printf 'failed\\033[2J\\033]0;owned\\007'; exit 1").await;
        assert!(matches!(children.next().await, Event::Ended { .. }));
        assert_eq!(children.get(0).last_lines(1), ["failed␛[2J␛]0;owned␇"]);
    }

    #[tokio::test]
    async fn what_a_part_that_lives_for_a_moment_leaves_is_ended_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = one(&folder, "sleep 600 & exit 1").await;
        // As if it had ended before anybody could look at it.
        let pid = u32::try_from(children.get(0).process.as_ref().unwrap().pid).unwrap();
        assert!(matches!(children.next().await, Event::Ended { .. }));
        children.kept[0].process = Process::started(pid, children.token());
        let said = children.stop_last(Duration::from_secs(5)).await.unwrap().said;
        assert!(said.contains("stopped what it had left running (pid "), "{said}");
    }

    #[tokio::test]
    async fn the_end_of_a_part_is_heard_with_its_last_words_and_it_is_started_again_when_it_is_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = one(&folder, "echo first; echo last >&2; exit 2").await;
        let Event::Ended { at: 0, how, bad_config: true } = children.next().await else { panic!("no end") };
        assert_eq!(how, "exit status: 2");
        assert_eq!(children.get(0).last_lines(9), ["first", "last"]);
        children.plan(0, false);
        assert!(matches!(children.next().await, Event::Due { at: 0 }));
        children.again(0).await.unwrap();
        assert!(matches!(children.next().await, Event::Ended { at: 0, .. }));
        assert_eq!(
            (children.get(0).restarts, children.get(0).last_lines(9).len()),
            (1, 2),
            "only its own words"
        );
    }

    #[tokio::test]
    async fn the_last_that_was_started_is_stopped_first_and_a_deaf_one_is_killed_aloud() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = one(&folder, "trap '' TERM; echo deaf; while :; do sleep 1; done").await;
        children.add(shell("other", "exec sleep 600")).await.unwrap();
        while children.get(0).last_lines(1).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let patience = Duration::from_millis(100);
        assert!(children.stop_last(patience).await.unwrap().said.starts_with("other: stopped (pid "));
        let said = children.stop_last(patience).await.unwrap().said;
        assert!(
            said.starts_with("part: pid ") && said.contains("within 0.1 s of SIGTERM, so SIGKILL"),
            "{said}"
        );
        assert!(children.stop_last(patience).await.is_none());
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_an_error_and_is_stopped_without_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = Children::new(folder.path()).unwrap();
        let missing = Spec { program: "/nowhere/part".into(), ..shell("part", "") };
        assert!(children.add(missing).await.is_err());
        assert_eq!(children.stop_last(Duration::from_secs(1)).await.unwrap().said, "part: was not running");
    }
}
