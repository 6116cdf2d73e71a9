//! The few calls to the operating system that have no safe spelling in the standard library or tokio.
#![allow(unsafe_code)]

use std::io;

use tokio::process::{Child, Command};

/// Raises the soft limit of open files to the hard one.
pub(super) fn raise_open_files() -> io::Result<()> {
    let (soft, hard) = open_files()?;
    let limit = libc::rlimit { rlim_cur: highest(soft, hard), rlim_max: hard };
    // SAFETY: the pointer is to a live rlimit and is only read.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })
}

/// macOS refuses a soft limit above OPEN_MAX, whatever the hard one says.
#[cfg(target_os = "macos")]
fn highest(soft: libc::rlim_t, hard: libc::rlim_t) -> libc::rlim_t {
    hard.min(libc::OPEN_MAX as libc::rlim_t).max(soft)
}

#[cfg(not(target_os = "macos"))]
fn highest(_: libc::rlim_t, hard: libc::rlim_t) -> libc::rlim_t {
    hard
}

/// The soft and the hard limit of open files.
pub(super) fn open_files() -> io::Result<(libc::rlim_t, libc::rlim_t)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit, which the call fills in.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Asks the child to end (SIGTERM). A child that has been waited for is left alone: its id may be another's by now.
pub(crate) fn terminate(child: &Child) -> io::Result<()> {
    let Some(pid) = child.id().and_then(|id| libc::pid_t::try_from(id).ok()) else {
        return Ok(());
    };
    // SAFETY: touches no memory of ours; the child is not reaped yet, so the id is its own.
    checked(unsafe { libc::kill(pid, libc::SIGTERM) })
}

/// Has the kernel kill the child when the *thread* that starts it ends, which a thread that never ends turns into: when
/// this process dies, however it dies. SIGKILL, since a stopped server would sleep through anything gentler.
#[cfg(target_os = "linux")]
pub(crate) fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    let before_exec = move || {
        // SAFETY: both calls are async-signal-safe and touch no memory of ours.
        unsafe {
            checked(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            // The parent may have died before the kernel knew what to do then.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(before_exec) };
}

/// Elsewhere the watcher of `server::child` does it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn die_with_parent(_: &mut Command) {}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
