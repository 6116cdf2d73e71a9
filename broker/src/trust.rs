//! Who may get onto the bus of a mesh: its authority, the broker's certificate and the list of keys, in one folder.

mod authority;
mod error;
mod folder;
mod names;
mod rules;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use echo_bus::client::{Access, AccessError, Authority, Login};
use echo_bus::id::NodeId;
use echo_bus::key::{PublicKey, Seed};
use echo_bus::message::{NewKey, unix_millis};
use echo_bus::permission::Machine;
use echo_bus::subject::Duty;

pub use authority::{BROKER, CERTIFICATE_LASTS, Certificate};
pub use error::Error;
use folder::Folder;

/// The key that a broker makes for the commands of its people.
pub const OPERATOR: &str = "operator";

/// A folder with all that says who may get in. Commands and the broker's part open it at the same time.
#[derive(Debug, Clone)]
pub struct Trust(Folder);

/// A change of the list, by one process at a time: nothing of what others change stands between the two.
#[derive(Debug)]
pub struct Change {
    pub before: Vec<Machine>,
    pub after: Vec<Machine>,
}

impl Trust {
    /// The folder; what is missing of it and of the mesh's authority is made.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let folder = Folder::open(folder)?;
        authority::make(&folder)?;
        Ok(Self(folder))
    }

    /// The certificate of the mesh's own authority: whoever has it knows the broker.
    pub fn authority(&self) -> PathBuf {
        self.0.path("ca.pem")
    }

    /// A new certificate of a server on this machine, for `<name>.echo-mesh.internal` and the names and addresses that
    /// the machine has now, good for so long. Its key stays the same.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn server_certificate(&self, name: &str, lasts: Duration) -> Result<Certificate, Error> {
        authority::sign(&self.0, name, lasts)
    }

    /// The key of a part on the broker's own machine, made and let in on first use, and made anew after it was taken out.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn own_key(&self, name: &str, duty: Duty, node: Option<&NodeId>) -> Result<PathBuf, Error> {
        rules::check_name(name).map_err(Error::Refused)?;
        let path = self.0.path(&format!("keys/{name}.nk"));
        let _lock = self.0.lock()?;
        // Somebody has taken it out, perhaps because it was stolen: it stays out.
        if path.exists() && !self.lets_in(Seed::read(&path)?.public())? {
            fs::remove_file(&path).map_err(|error| self.0.failed(error))?;
        }
        let seed = Seed::read_or_create(&path)?;
        let new = NewKey { name: name.to_owned(), duty, node: node.cloned(), key: seed.public().clone() };
        self.change_locked(|machines| {
            // Whoever has the folder is the broker's own machine; without these two nobody could mend anything.
            if name == BROKER || name == OPERATOR {
                machines.retain(|one| one.name != name || (one.key == new.key && one.duty == duty));
            }
            rules::admit(machines, &[new], unix_millis())
        })?;
        Ok(path)
    }

    fn lets_in(&self, key: &PublicKey) -> Result<bool, Error> {
        Ok(self.machines()?.iter().any(|one| one.key == *key))
    }

    /// By what this machine gets onto the bus with a key of its own, as [`Trust::own_key`] has made it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn access(&self, key: &Path) -> Result<Access, Error> {
        let authority = Authority::read(&self.authority()).map_err(AccessError::from)?;
        Ok(Access { login: Login::Key(Seed::read(key)?), authority: Some(authority) })
    }

    /// Where the list lies.
    pub(crate) fn list(&self) -> PathBuf {
        self.0.path("machines.json")
    }

    /// Who may get in.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn machines(&self) -> Result<Vec<Machine>, Error> {
        let path = self.list();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|source| Error::Malformed(path, source)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.0.failed(error)),
        }
    }

    /// Lets keys of other machines in: all of them or none. The same key for the same again is no change. A broker that
    /// runs has to be told.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn admit(&self, keys: &[NewKey]) -> Result<Change, Error> {
        self.change(|machines| {
            rules::from_outside(keys)?;
            rules::admit(machines, keys, unix_millis())
        })
    }

    /// Takes keys out: all of them or none. A broker that runs has to be told.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn revoke(&self, names: &[String]) -> Result<Change, Error> {
        self.change(|machines| rules::revoke(machines, names))
    }

    /// Takes back a change that the server did not take, and leaves what others have changed meanwhile.
    pub(crate) fn undo(&self, Change { before, after }: &Change) -> Result<Change, Error> {
        self.change(|machines| {
            machines.retain(|one| before.contains(one) || !after.contains(one));
            let removed = before.iter().filter(|one| !after.contains(one));
            let back: Vec<_> = removed.filter(|one| !machines.contains(one)).cloned().collect();
            machines.extend(back);
            Ok(())
        })
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Machine>) -> Result<(), String>) -> Result<Change, Error> {
        let _lock = self.0.lock()?;
        self.change_locked(change)
    }

    /// For who has the lock.
    fn change_locked(
        &self,
        change: impl FnOnce(&mut Vec<Machine>) -> Result<(), String>,
    ) -> Result<Change, Error> {
        let before = self.machines()?;
        let mut after = before.clone();
        change(&mut after).map_err(Error::Refused)?;
        if after != before {
            let text = serde_json::to_string_pretty(&after).map_err(|error| self.0.failed(error.into()))?;
            self.0.write("machines.json", &text)?;
        }
        Ok(Change { before, after })
    }
}

#[cfg(test)]
mod tests;
