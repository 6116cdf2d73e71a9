//! The folder in which all of it lies, closed to others.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use echo_bus::private_file::{self, Trouble};

use super::error::Error;

#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Made where it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Folder(path.to_owned(), source);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        Ok(Self(path.canonicalize().map_err(failed)?))
    }

    /// Nobody else changes the list while this lives.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let lock = File::create(self.path("lock")).map_err(|error| self.failed(error))?;
        lock.lock().map_err(|error| self.failed(error))?;
        Ok(lock)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn failed(&self, source: io::Error) -> Error {
        Error::Folder(self.0.clone(), source)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        private_file::write(&self.path(name), text).map_err(|error| self.failed(error))
    }

    /// What the file says; where there is none, what `make` says is written. Two at once agree on the first.
    pub(super) fn read_or_create(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<String, rcgen::Error>,
    ) -> Result<String, Error> {
        /// A key in PEM has a few hundred bytes.
        const LONGEST: usize = 16 * 1024;
        let path = self.path(name);
        if !path.exists() {
            private_file::create(&path, &make()?).map_err(|error| self.failed(error))?;
        }
        private_file::read(&path, LONGEST).map_err(|trouble| match trouble {
            Trouble::Open => Error::Open(path),
            Trouble::TooLong => Error::NoKey(path),
            Trouble::Missing => self.failed(io::ErrorKind::NotFound.into()),
            Trouble::Io(source) => self.failed(source),
        })
    }
}
