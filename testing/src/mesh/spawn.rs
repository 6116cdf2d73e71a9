//! Child processes that cannot outlive the tests: a process group each, killed on drop and with the test process.

use std::{
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use tokio::sync::{oneshot, watch};

use super::logs::Logs;

const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running process. Dropping it kills its whole group.
pub struct Running {
    pid: i32,
    exit: watch::Receiver<Option<ExitStatus>>,
}

type Order = (Command, Logs, oneshot::Sender<io::Result<Running>>);

/// Starts a process whose stdout and stderr go into `logs`.
pub async fn spawn(command: Command, logs: Logs) -> io::Result<Running> {
    let (answer, started) = oneshot::channel();
    spawner().send((command, logs, answer)).expect("the spawning thread never ends");
    started.await.expect("the spawning thread always answers")
}

/// The signal at the parent's death comes at the death of the *thread* that forked, so that thread must be one that
/// lives as long as the process.
fn spawner() -> &'static mpsc::Sender<Order> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (command, logs, answer) in orders {
                // A test that has ended meanwhile takes no answer; the drop then kills the child.
                let _ = answer.send(start(command, &logs));
            }
        });
        sender
    })
}

fn start(mut command: Command, logs: &Logs) -> io::Result<Running> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    die_with_parent(&mut command);
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id()).expect("a pid is an i32");
    let (open, closed) = mpsc::channel();
    child.stdout.take().into_iter().for_each(|pipe| logs.follow(pipe, open.clone()));
    child.stderr.take().into_iter().for_each(|pipe| logs.follow(pipe, open.clone()));
    drop(open);
    let (ended, exit) = watch::channel(None);
    let logs = logs.clone();
    thread::spawn(move || {
        let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(-1));
        // Its last words first; a grandchild that keeps the pipe open must not hold up the news for long.
        let _ = closed.recv_timeout(LAST_WORDS);
        logs.push(format!("--- exited: {status}"));
        ended.send_replace(Some(status));
    });
    Ok(Running { pid, exit })
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn die_with_parent(command: &mut Command) {
    // Safe: between fork and exec only one async-signal-safe system call is made.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}

impl Running {
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The exit status, once there is one.
    pub fn exited(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits for the end. Cancel-safe.
    pub fn exit(&self) -> impl Future<Output = ExitStatus> + use<> {
        let mut exit = self.exit.clone();
        async move {
            let status =
                exit.wait_for(Option::is_some).await.expect("the waiting thread reports before it ends");
            status.expect("awaited to be there")
        }
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: i32) {
        if self.exited().is_none() {
            send(self.pid, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.exited().is_none() {
            send(-self.pid, libc::SIGKILL);
        }
    }
}

#[allow(unsafe_code)]
fn send(pid: i32, signal: i32) {
    // Safe: no memory is involved; a process that is gone already is what was wanted.
    unsafe { libc::kill(pid, signal) };
}
