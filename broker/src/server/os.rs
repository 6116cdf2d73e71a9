//! The few calls to the operating system about a child process that have no safe spelling in tokio.
#![allow(unsafe_code)]

use std::io;

use tokio::process::{Child, Command};

/// Asks the child to end (SIGTERM). A child that has been waited for is left alone: its id may be another's by now.
pub(super) fn terminate(child: &Child) -> io::Result<()> {
    signal(child, libc::SIGTERM)
}

/// Has the child read its configuration again (SIGHUP).
pub(super) fn hang_up(child: &Child) -> io::Result<()> {
    signal(child, libc::SIGHUP)
}

fn signal(child: &Child, signal: libc::c_int) -> io::Result<()> {
    let Some(pid) = child.id().and_then(|id| libc::pid_t::try_from(id).ok()) else {
        return Ok(());
    };
    // SAFETY: touches no memory of ours; the child is not reaped yet, so the id is its own.
    checked(unsafe { libc::kill(pid, signal) })
}

/// Has the kernel kill the child when the *thread* that starts it ends, which a thread that never ends turns into: when
/// this process dies, however it dies. SIGKILL, since a stopped server would sleep through anything gentler.
#[cfg(target_os = "linux")]
pub(super) fn die_with_parent(command: &mut Command) {
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
pub(super) fn die_with_parent(_: &mut Command) {}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
