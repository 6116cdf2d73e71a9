//! Who may get onto the bus of a mesh: its authority, the broker's certificate and the list of keys, in one folder.

mod authority;
mod names;
mod rules;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use echo_bus::client::{Access, AccessError, Authority, Login};
use echo_bus::id::NodeId;
use echo_bus::key::{self, Seed};
use echo_bus::message::{NewKey, unix_millis};
use echo_bus::permission::Machine;
use echo_bus::private_file::{self, Trouble};
use echo_bus::subject::Duty;

pub use authority::Certificate;

/// The names of what a broker makes for its own machine: its own part, and the commands of its people.
pub const BROKER: &str = "broker";
pub const OPERATOR: &str = "operator";

/// A folder with all that says who may get in. Commands and the broker's part open it at the same time.
#[derive(Debug, Clone)]
pub struct Trust {
    folder: PathBuf,
}

/// Why nothing can be read or changed there. Each is for a person to put right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use the folder {}", .0.display())]
    Folder(PathBuf, #[source] io::Error),
    #[error("{} cannot be understood: put back an older copy, or remove it and let every machine join anew", .0.display())]
    Malformed(PathBuf, #[source] serde_json::Error),
    #[error("others can read {}; close it with: chmod 600 '{}'", .0.display(), .0.display())]
    Open(PathBuf),
    #[error(
        "{} holds no private key in PEM: put back an older copy, or remove it together with ca.pem and let every machine join anew", .0.display()
    )]
    NoKey(PathBuf),
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Key(#[from] key::Error),
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The list was not changed.
    #[error("{0}")]
    Refused(String),
}

impl Trust {
    /// The folder; what is missing of it and of the mesh's authority is made.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Folder(folder.to_owned(), source);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let trust = Self { folder };
        authority::make(&trust)?;
        Ok(trust)
    }

    /// The certificate of the mesh's own authority: whoever has it knows the broker.
    pub fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A new certificate of a server on this machine, for `<name>.echo-mesh.internal` and the names and addresses that
    /// the machine has now. Its key stays the same.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn server_certificate(&self, name: &str) -> Result<Certificate, Error> {
        authority::sign(self, name)
    }

    /// The key of a part on the broker's own machine, made and let in on first use.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn own_key(&self, name: &str, duty: Duty, node: Option<&NodeId>) -> Result<PathBuf, Error> {
        rules::check_name(name).map_err(Error::Refused)?;
        let path = self.path(&format!("keys/{name}.nk"));
        let seed = Seed::read_or_create(&path)?;
        let new = NewKey { name: name.to_owned(), duty, node: node.cloned(), key: seed.public().clone() };
        self.change(|machines| {
            // Whoever has the folder is the broker's own machine; without these two nobody could mend anything.
            if name == BROKER || name == OPERATOR {
                machines.retain(|one| one.name != name || (one.key == new.key && one.duty == duty));
            }
            rules::admit(machines, &[new], unix_millis())
        })?;
        Ok(path)
    }

    /// By what this machine gets onto the bus with a key of its own, as [`Trust::own_key`] has made it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn access(&self, key: &Path) -> Result<Access, Error> {
        let authority = Authority::read(&self.authority()).map_err(AccessError::from)?;
        Ok(Access { login: Login::Key(Seed::read(key)?), authority: Some(authority) })
    }

    /// Who may get in.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn machines(&self) -> Result<Vec<Machine>, Error> {
        let path = self.path("machines.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|source| Error::Malformed(path, source)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Lets keys of other machines in: all of them or none. The same key for the same again is no change. A broker that
    /// runs has to be told.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn admit(&self, keys: &[NewKey]) -> Result<Vec<Machine>, Error> {
        self.change(|machines| {
            rules::from_outside(keys)?;
            rules::admit(machines, keys, unix_millis())
        })
    }

    /// Takes keys out: all of them or none. A broker that runs has to be told.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn revoke(&self, names: &[String]) -> Result<Vec<Machine>, Error> {
        self.change(|machines| rules::revoke(machines, names))
    }

    /// Takes back a change that the server did not take, and leaves what others have changed meanwhile.
    pub(crate) fn undo(&self, before: &[Machine], after: &[Machine]) -> Result<Vec<Machine>, Error> {
        self.change(|machines| {
            machines.retain(|one| before.contains(one) || !after.contains(one));
            let removed = before.iter().filter(|one| !after.contains(one));
            let back: Vec<_> = removed.filter(|one| !machines.contains(one)).cloned().collect();
            machines.extend(back);
            Ok(())
        })
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Vec<Machine>) -> Result<(), String>,
    ) -> Result<Vec<Machine>, Error> {
        let lock = File::create(self.path("lock")).map_err(|error| self.failed(error))?;
        lock.lock().map_err(|error| self.failed(error))?;
        let before = self.machines()?;
        let mut machines = before.clone();
        change(&mut machines).map_err(Error::Refused)?;
        if machines != before {
            let text = serde_json::to_string_pretty(&machines).map_err(|error| self.failed(error.into()))?;
            self.write("machines.json", &text)?;
        }
        Ok(machines)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Folder(self.folder.clone(), source)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        private_file::write(&self.path(name), text).map_err(|error| self.failed(error))
    }

    /// What the file says; where there is none, what `make` says is written. Two at once agree on the first.
    fn read_or_create(
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

#[cfg(test)]
mod tests;
