//! Processes that are known again: a pid alone may be another process's by now.

use std::io;
#[cfg(any(test, not(target_os = "linux")))]
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::os;

/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(20);
/// What a dead part has left in its group serves nobody.
const ORPHANS: Duration = Duration::from_secs(5);
/// How often those are looked for again that were started while their group was killed.
const ROUNDS: usize = 20;

/// One process that leads a process group. It is the same one as long as its start is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: i32,
    /// When it was started, as the system counts it.
    start: String,
    /// This start of the machine, where it can be told.
    boot: String,
    /// What its environment has, and that of its children, in [`TOKEN`]; empty where nothing was put there.
    #[serde(default)]
    token: String,
}

/// The variable by which what a mesh has started is known, after a group's number has come to name strangers. The value is
/// a random word of each mesh, and no secret.
pub const TOKEN: &str = "ECHO_MESH_TOKEN";

impl Process {
    /// The process that has this pid; none where it has ended, whether its parent knows that or not.
    pub fn of(pid: u32) -> Option<Self> {
        Self::started(pid, "").filter(|process| !process.start.is_empty())
    }

    /// A child of ours that leads a group and has this token. It may have ended by now, and left others in its group.
    pub fn started(pid: u32, token: &str) -> Option<Self> {
        let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
        Some(Self { pid, start: start_of(pid).unwrap_or_default(), boot: boot(), token: token.to_owned() })
    }

    /// This process itself.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        self.boot == boot() && start_of(self.pid).is_some_and(|start| start == self.start)
    }

    /// Sends a signal to it alone, if it still runs.
    ///
    /// # Errors
    /// It belongs to another user.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        if !self.runs() {
            return Ok(());
        }
        os::kill(self.pid, signal).or_else(|error| if self.runs() { Err(error) } else { Ok(()) })
    }

    /// Asks it to end; one that somebody has stopped (Ctrl-Z) goes on first.
    ///
    /// # Errors
    /// It belongs to another user.
    pub fn ask_to_end(&self) -> io::Result<()> {
        self.signal(libc::SIGTERM)?;
        self.signal(libc::SIGCONT)
    }

    /// SIGKILL for it and its children.
    pub fn kill(&self) {
        // One that is about to start another is seen again, or what it has started is.
        for _ in 0..ROUNDS {
            #[cfg(not(target_os = "linux"))]
            let _ = self.signal_living_group(libc::SIGKILL);
            let _ = self.signal(libc::SIGKILL);
            if self.signal_group(libc::SIGKILL) == 0 {
                return;
            }
        }
    }

    /// The group is ours for as long as a leader with a token lives.
    #[cfg(not(target_os = "linux"))]
    fn signal_living_group(&self, signal: i32) -> io::Result<()> {
        if self.token.is_empty() || !self.runs() { Ok(()) } else { os::kill(-self.pid, signal) }
    }

    /// Sends a signal to those of its group that are known to be ours, one by one, and says to how many.
    fn signal_group(&self, signal: i32) -> usize {
        let found = if self.boot == boot() { ours(self.pid, &self.token) } else { Vec::new() };
        found.iter().for_each(|pid| drop(os::kill(*pid, signal)));
        found.len()
    }

    /// Waits until it has ended.
    pub async fn ended(&self) {
        while self.runs() {
            sleep(LOOK).await;
        }
    }

    /// What a process that has ended has left running in its group. No other process gets a pid that still names a
    /// group, so nothing of ours was left where the pid is in use again. That one may have ended too: those in its group are
    /// strangers, and lack the token.
    fn left(&self) -> Vec<i32> {
        if self.boot != boot() || start_of(self.pid).is_some() {
            return Vec::new();
        }
        ours(self.pid, &self.token)
    }

    /// Ends what it has left running, and returns the pids.
    pub async fn end_left(&self) -> Vec<i32> {
        let found = self.left();
        if found.is_empty() {
            return found;
        }
        self.signal_group(libc::SIGTERM);
        let until = Instant::now() + ORPHANS;
        while !self.left().is_empty() {
            if Instant::now() > until {
                self.kill();
                break;
            }
            sleep(LOOK).await;
        }
        found
    }
}

/// The fields of a process from its state on, as proc(5) numbers them from 3.
#[cfg(target_os = "linux")]
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; what follows it may not.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<String> = fields.split_whitespace().map(str::to_owned).collect();
    let living = !matches!(fields.first().map(String::as_str), None | Some("Z" | "X"));
    living.then_some(fields)
}

#[cfg(target_os = "linux")]
fn start_of(pid: i32) -> Option<String> {
    stat(pid)?.get(22 - 3).cloned()
}

/// The members of a group that have the token. What another user's process has cannot be seen, and is not ours.
#[cfg(target_os = "linux")]
fn ours(group: i32, token: &str) -> Vec<i32> {
    let wanted = format!("{TOKEN}={token}");
    let has_it = |pid: &i32| {
        let text = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        text.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    if token.is_empty() { Vec::new() } else { members(group).into_iter().filter(has_it).collect() }
}

/// Elsewhere nobody can tell whose they are.
#[cfg(not(target_os = "linux"))]
fn ours(_: i32, _: &str) -> Vec<i32> {
    Vec::new()
}

#[cfg(target_os = "linux")]
fn members(group: i32) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let group = group.to_string();
    pids.filter(|pid| stat(*pid).is_some_and(|fields| fields.get(5 - 3) == Some(&group))).collect()
}

#[cfg(target_os = "linux")]
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(not(target_os = "linux"))]
fn start_of(pid: i32) -> Option<String> {
    let said = ps(&["-o", "stat=", "-o", "lstart=", "-p", &pid.to_string()]);
    let (state, start) = said.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| start.trim().to_owned())
}

#[cfg(all(test, not(target_os = "linux")))]
fn members(group: i32) -> Vec<i32> {
    let said = ps(&["-A", "-o", "pid=", "-o", "pgid=", "-o", "stat="]);
    let lines = said.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (pid, of, state) = (words.next()?, words.next()?, words.next()?);
        (of == group.to_string() && !state.starts_with('Z')).then(|| pid.parse().ok())?
    });
    lines.collect()
}

#[cfg(not(target_os = "linux"))]
fn boot() -> String {
    String::new()
}

#[cfg(not(target_os = "linux"))]
fn ps(args: &[&str]) -> String {
    let said = Command::new("ps").args(args).env("TZ", "UTC").env("LC_ALL", "C").output();
    said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Stdio;

    use super::*;

    fn sleeper() -> (std::process::Child, Process) {
        let mut sleep = Command::new("sleep");
        // A test that fails leaves it, and then nobody may wait for the end of its output.
        let child =
            sleep.arg("60").process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        (child, process)
    }

    #[tokio::test]
    async fn a_process_that_has_ended_runs_no_more_whether_it_was_waited_for_or_not() {
        let (mut child, process) = sleeper();
        assert!(process.runs());
        process.signal(libc::SIGTERM).unwrap();
        process.ended().await;
        assert!(!process.runs(), "a zombie is no process that runs");
        child.wait().unwrap();
        assert!(!process.runs());
        process.signal(libc::SIGTERM).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn one_that_was_stopped_by_the_terminal_ends_when_it_is_asked_to() {
        let (mut child, process) = sleeper();
        process.signal(libc::SIGSTOP).unwrap();
        // One that is not stopped yet ends at once.
        while stat(process.pid).unwrap()[0] != "T" {
            sleep(LOOK).await;
        }
        process.ask_to_end().unwrap();
        tokio::time::timeout(ORPHANS, process.ended()).await.unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_stranger_with_the_same_pid_is_another_process() {
        let (mut child, process) = sleeper();
        for stranger in [
            Process { start: "another time".into(), ..process.clone() },
            Process { boot: "another start of the machine".into(), ..process.clone() },
        ] {
            assert!(!stranger.runs());
            stranger.signal(libc::SIGKILL).unwrap();
            stranger.kill();
            assert!(process.runs());
        }
        process.kill();
        assert!(!child.wait().unwrap().success());
    }

    #[tokio::test]
    async fn what_a_dead_process_has_left_in_its_group_is_ended() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 60 >&- 2>&- & read -r _"]).process_group(0).stdin(Stdio::piped());
        shell.env(TOKEN, "ours");
        let mut child = shell.spawn().unwrap();
        let process = Process::started(child.id(), "ours").unwrap();
        while members(process.pid).len() < 2 {
            sleep(LOOK).await;
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        let stranger = Process { token: "another".into(), ..process.clone() };
        for stranger in [&stranger, &Process { token: String::new(), ..stranger.clone() }] {
            assert!(stranger.left().is_empty());
            assert!(stranger.end_left().await.is_empty());
            stranger.kill();
        }
        assert_eq!(process.left().len(), 1, "a group that has the number of ours by now was signalled");
        assert_eq!(process.end_left().await.len(), 1);
        assert!(process.left().is_empty());
    }
}
