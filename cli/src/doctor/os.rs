//! The call to the operating system that has no safe spelling.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Bytes that this user may still write to the disk of a folder.
#[allow(clippy::unnecessary_cast)] // The fields have other types elsewhere.
pub fn free_space(folder: &Path) -> io::Result<u64> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    let mut about = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero byte, and the call fills in what the second pointer leads to.
    if unsafe { libc::statvfs(path.as_ptr(), about.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded.
    let about = unsafe { about.assume_init() };
    Ok((about.f_bavail as u64).saturating_mul(about.f_frsize as u64))
}
