//! Files that only their owner can read, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Why there is nothing to read. The caller has the words, and the path.
#[derive(Debug)]
pub enum Trouble {
    Missing,
    /// Others can read it, so it is no secret.
    Open,
    TooLong,
    Io(io::Error),
}

/// What the file says, if that is no more than `most` bytes and nobody else can read it.
///
/// # Errors
/// See [`Trouble`].
pub fn read(path: &Path, most: usize) -> Result<String, Trouble> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Trouble::Missing,
        _ => Trouble::Io(error),
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
        return Err(Trouble::Open);
    }
    let mut text = String::new();
    file.take(most as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() > most { Err(Trouble::TooLong) } else { Ok(text) }
}

/// Writes it in place of what is there.
///
/// # Errors
/// As the system says.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    sealed(path, text)?.persist(path)?;
    Ok(())
}

/// Writes it unless it is there: two starts at once agree on the one that was first.
///
/// # Errors
/// As the system says; that it is there is none.
pub fn create(path: &Path, text: &str) -> io::Result<()> {
    match sealed(path, text)?.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

/// A new file in the same folder, closed to others; not yet in its place.
fn sealed(path: &Path, text: &str) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}
