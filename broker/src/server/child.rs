//! One run of nats-server: a process that dies with ours, and whose log lines become ours.

use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use super::exec;
use super::login::PROBES;
use super::os::{die_with_parent, hang_up, terminate};

/// A server ends within milliseconds of SIGTERM.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How many lines an error quotes.
const LAST_WORDS: usize = 12;

/// How the server says that a new configuration is in force, or why it is not.
const RELOADED: &str = "Reloaded server configuration";
const NOT_RELOADED: &str = "Failed to reload server configuration: ";

/// What is longer is told in pieces.
const LONGEST_LINE: u64 = 16 * 1024;

/// A server that runs. Dropped, it is killed.
pub(super) struct Running {
    child: Child,
    pid: u32,
    /// Where the kernel cannot do it: a shell that kills the server when our end of its pipe closes.
    _watcher: Option<Child>,
    words: Arc<Words>,
    relay: JoinHandle<()>,
}

/// What the server has said.
#[derive(Default)]
pub(super) struct Words {
    last: Mutex<VecDeque<String>>,
    /// While we knock without a key, being turned away is no news.
    pub(super) knocking: AtomicBool,
    /// What became of each reload.
    reloads: watch::Sender<Reloads>,
}

/// How many reloads the server has done or refused, and why it has refused the last one.
#[derive(Default)]
struct Reloads {
    count: u64,
    refused: Option<String>,
}

impl Running {
    /// Starts the server; `command` has its arguments and environment.
    pub(super) async fn start(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // A group of its own: Ctrl-C is for us, and we stop it in order.
        command.process_group(0).kill_on_drop(true);
        die_with_parent(&mut command);
        let mut child = exec::spawn_for_good(command).await?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        let watcher = if cfg!(target_os = "linux") { None } else { Some(watcher(pid)?) };
        let words = Arc::new(Words::default());
        let relay = tokio::spawn(relay(child.stderr.take(), Arc::clone(&words)));
        Ok(Self { child, pid, _watcher: watcher, words, relay })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn words(&self) -> &Words {
        &self.words
    }

    /// Comes back when the server has ended, and all that it has said is told. Cancel-safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        if !self.relay.is_finished() {
            // Bounded: something that it had started may hold the pipe.
            let _ = timeout(Duration::from_secs(1), &mut self.relay).await;
        }
        Ok(status)
    }

    /// Has it read its configuration again, and comes back when that is in force; or with what the server has to say.
    pub(super) async fn reload(&mut self) -> Result<(), String> {
        let mut reloads = self.words.reloads.subscribe();
        let before = reloads.borrow_and_update().count;
        hang_up(&self.child).map_err(|error| error.to_string())?;
        let words = Arc::clone(&self.words);
        tokio::select! {
            _ = self.ended() => Err(format!("it has ended; its last words:\n{}", words.last())),
            done = reloads.wait_for(|reloads| reloads.count != before) => match done {
                Ok(reloads) => reloads.refused.clone().map_or(Ok(()), Err),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// Asks it to end, and insists after a while.
    pub(super) async fn stop(mut self) {
        if let Err(error) = terminate(&self.child) {
            warn!(error = &error as &dyn std::error::Error, "cannot ask nats-server to end");
        }
        if timeout(STOP_PATIENCE, self.ended()).await.is_err() {
            warn!(pid = self.pid, "nats-server does not end; killing it");
            let _ = self.child.start_kill();
            let _ = timeout(STOP_PATIENCE, self.ended()).await;
        }
    }
}

impl Words {
    /// The last lines, for an error.
    pub(super) fn last(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn hear(&self, line: &str) {
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.len() == LAST_WORDS {
                last.pop_front();
            }
            last.push_back(line.to_owned());
        }
        let (_, text) = level_and_text(line);
        if text.starts_with(RELOADED) {
            self.reloads
                .send_modify(|reloads| *reloads = Reloads { count: reloads.count + 1, refused: None });
        } else if let Some(why) = text.strip_prefix(NOT_RELOADED) {
            let refused = Some(why.to_owned());
            self.reloads.send_modify(|reloads| *reloads = Reloads { count: reloads.count + 1, refused });
        }
        self.tell(line);
    }

    /// Logs the line at the level that the server gave it.
    fn tell(&self, line: &str) {
        let (level, text) = level_and_text(line);
        let tried = PROBES.iter().any(|probe| text.contains(&format!("\"{probe}\"")));
        let knocked = tried || text.contains("authentication error") || text.contains("TLS handshake error");
        let turned_away = knocked && self.knocking.load(Ordering::Relaxed);
        // The password comes from a file that only its owner can read.
        let advice = text.starts_with("Plaintext passwords detected");
        match level {
            _ if turned_away || advice => debug!(target: "nats_server", "{text}"),
            "ERR" | "FTL" => error!(target: "nats_server", "{text}"),
            "WRN" => warn!(target: "nats_server", "{text}"),
            "DBG" | "TRC" => debug!(target: "nats_server", "{text}"),
            _ => info!(target: "nats_server", "{text}"),
        }
    }
}

/// Takes `[pid] date time [INF] text` apart; a line of another shape is all text.
fn level_and_text(line: &str) -> (&str, &str) {
    for level in ["INF", "WRN", "ERR", "FTL", "DBG", "TRC"] {
        let head_end = line.char_indices().nth(64).map_or(line.len(), |(index, _)| index);
        if let Some(at) = line[..head_end].find(&format!("[{level}] ")) {
            return (level, line[at + 6..].trim());
        }
    }
    ("", line.trim())
}

async fn relay(stderr: Option<ChildStderr>, words: Arc<Words>) {
    let Some(stderr) = stderr else { return };
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => words.hear(String::from_utf8_lossy(&line).trim_end()),
        }
    }
}

/// A shell that kills `pid` when we are gone. Written for systems without PR_SET_PDEATHSIG; not yet run on one.
fn watcher(pid: u32) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", "read -r _; kill -KILL \"$1\"", "watcher", &pid.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_level_and_loses_its_stamp() {
        let line = "[15127] 2026/11/23 03:41:48.764275 [WRN] Slow consumer";
        assert_eq!(level_and_text(line), ("WRN", "Slow consumer"));
        assert_eq!(level_and_text("[1] [INF]   Version:  2.15.1"), ("INF", "Version:  2.15.1"));
        assert_eq!(level_and_text("panic: oh"), ("", "panic: oh"));
        let far = format!("{} [ERR] not a level", "ä".repeat(80));
        assert_eq!(level_and_text(&far), ("", far.as_str()));
    }

    #[tokio::test]
    async fn only_the_last_words_are_kept() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "for i in $(seq 100); do echo \"[1] [INF] line $i\" >&2; done; exit 3"]);
        let mut running = Running::start(command).await.unwrap();
        assert_eq!(running.ended().await.unwrap().code(), Some(3));
        let last = running.words().last();
        assert_eq!(last.lines().count(), LAST_WORDS);
        assert!(last.ends_with("line 100"), "{last}");
    }

    #[tokio::test]
    async fn one_that_does_not_listen_to_sigterm_is_killed_when_it_is_dropped() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' TERM; while :; do sleep 1; done"]);
        let running = Running::start(command).await.unwrap();
        let pid = running.pid();
        drop(running);
        until_gone(pid).await;
    }

    #[tokio::test]
    async fn the_watcher_kills_when_its_pipe_closes() {
        let mut sleeper = Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
        let mut watcher = watcher(sleeper.id().unwrap()).unwrap();
        drop(watcher.stdin.take());
        let status = timeout(Duration::from_secs(10), sleeper.wait()).await.expect("killed").unwrap();
        assert!(!status.success());
    }

    async fn until_gone(pid: u32) {
        let gone = async {
            while std::path::Path::new(&format!("/proc/{pid}/cmdline")).exists()
                && !std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), gone).await.expect("the process is gone");
    }
}
