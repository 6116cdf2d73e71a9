//! The few calls to the operating system about processes that have no safe spelling in the standard library or tokio.
#![allow(unsafe_code)]

use std::io;

use tokio::process::Command;

/// Sends a signal to a process; to a process group where `pid` is negative.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: touches no memory of ours.
    checked(unsafe { libc::kill(pid, signal) })
}

/// Leaves the session of whoever has started this process, and with it the terminal.
pub fn leave_session() -> io::Result<()> {
    // SAFETY: touches no memory of ours.
    checked(unsafe { libc::setsid() }.min(0))
}

/// Whether somebody has typed a line, or its end, that nobody has read yet.
pub fn is_typed_ahead() -> bool {
    let mut stdin = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    // Safe: it is one entry, and lives for as long as the call.
    unsafe { libc::poll(&raw mut stdin, 1, 0) > 0 }
}

/// Whether this process was started to outlive its terminal, as `nohup` does it.
pub fn ignores_hangup() -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: no handler is set; the call fills in the one that is there, which is read only if it did.
    unsafe {
        libc::sigaction(libc::SIGHUP, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Has the kernel end the child when the thread that starts it ends: started from the main thread, with this process,
/// however that ends. Elsewhere than on Linux the next `up` or `down` ends what is left.
#[cfg(target_os = "linux")]
pub fn end_with_us(command: &mut Command) {
    let parent = std::process::id();
    let before_exec = move || {
        // SAFETY: both calls are async-signal-safe and touch no memory of ours.
        unsafe {
            checked(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM))?;
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

#[cfg(not(target_os = "linux"))]
pub fn end_with_us(_: &mut Command) {}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
