//! The key by which this machine's own commands use the edge that runs here. `up` makes it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use echo_bus::private_file;
use echo_edge::keys::file::{Digest, Entry, Error, KeyFile};
use echo_edge::keys::usage;

use super::add::random;

/// The name of the key.
const NAME: &str = "this-machine";
/// Bytes of a file with a key.
const LARGEST: usize = 1024;

/// The file of keys of the mesh that runs here.
pub fn keys(run: &Path) -> PathBuf {
    run.join("keys.json")
}

/// Holds the key of this machine's own commands.
pub fn file(run: &Path) -> PathBuf {
    run.join("local.key")
}

/// Makes the key where there is none that is good.
///
/// # Errors
/// A file cannot be read or written.
pub fn ensure(run: &Path) -> Result<()> {
    let (keys, path) = (keys(run), file(run));
    KeyFile::change(&keys, |file| {
        let known = read(&path).ok().map(|key| Digest::of(&key));
        let is_good = |key: &Entry| key.name.as_str() == NAME && Some(key.sha256) == known && key.manage;
        if file.keys.iter().any(is_good) {
            return Ok(());
        }
        let key = random();
        let name = NAME.parse().context("the name of a key")?;
        file.keys.retain(|key| key.name.as_str() != NAME);
        file.keys.push(Entry { manage: true, ..Entry::new(name, &key, usage::now()) });
        private_file::write(&path, &format!("{key}\n"))
            .map_err(|error| Error::Io(path.clone(), error))
            .map_err(Into::into)
    })
}

/// The key in a file.
///
/// # Errors
/// The sentence that says what is wrong with it.
pub fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let text = private_file::read(path, LARGEST).map_err(|trouble| match trouble {
        private_file::Trouble::Missing => format!("{shown}, which should hold an API key, is not there"),
        private_file::Trouble::Open => {
            format!("{shown} holds an API key and can be read by others: chmod 600 {shown}")
        }
        private_file::Trouble::TooLong => format!("{shown} is too long for an API key"),
        private_file::Trouble::Io(error) => format!("{shown} cannot be read: {error}"),
    })?;
    match text.trim() {
        "" => Err(format!("{shown} holds no API key")),
        key => Ok(key.to_owned()),
    }
}

/// Whether the mesh of this run directory has keys.
pub fn are_there(run: &Path) -> bool {
    fs::metadata(keys(run)).is_ok_and(|about| about.is_file())
        || fs::metadata(keys(run)).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn this_machines_key_is_made_once_and_anew_when_it_was_revoked() {
        let run = tempfile::tempdir().unwrap();
        assert!(!are_there(run.path()));
        ensure(run.path()).unwrap();
        assert!(are_there(run.path()));
        let first = read(&file(run.path())).unwrap();
        ensure(run.path()).unwrap();
        assert_eq!(read(&file(run.path())).unwrap(), first);
        for path in [keys(run.path()), file(run.path())] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        KeyFile::change(&keys(run.path()), |file| {
            file.keys.clear();
            Ok::<_, Error>(())
        })
        .unwrap();
        ensure(run.path()).unwrap();
        let second = read(&file(run.path())).unwrap();
        assert_ne!(second, first);
        let known = KeyFile::read(&keys(run.path())).unwrap().keys;
        assert!(known.len() == 1 && known[0].sha256 == Digest::of(&second) && known[0].manage);
    }
}
