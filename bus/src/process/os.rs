//! The few calls to the operating system that have no safe spelling in the standard library or tokio.
#![allow(unsafe_code)]

use std::io;

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

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
