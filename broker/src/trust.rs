//! Who may get onto the bus of a mesh: its authority, the broker's certificate and the list of keys, in one folder.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use echo_bus::message::{NewKey, unix_millis};
use echo_bus::permission::Machine;
use echo_bus::private_file;

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
    /// The list was not changed.
    #[error("{0}")]
    Refused(String),
}

impl Trust {
    /// The folder, made where it is missing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Folder(folder.to_owned(), source);
        fs::create_dir_all(folder).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        Ok(Self { folder })
    }

    /// The certificate of the mesh's own authority: whoever has it knows the broker.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Who may get in.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn machines(&self) -> Result<Vec<Machine>, Error> {
        let path = self.folder.join("machines.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|source| Error::Malformed(path, source)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::Folder(self.folder.clone(), error)),
        }
    }

    /// Lets keys in: all of them or none. The same key for the same again is no change. A broker that runs has to be told.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn admit(&self, keys: &[NewKey]) -> Result<Vec<Machine>, Error> {
        self.change(|machines| {
            for new in keys {
                let same = |one: &Machine| {
                    one.name == new.name && one.key == new.key && one.duty == new.duty && one.node == new.node
                };
                if machines.iter().any(same) {
                    continue;
                }
                if machines.iter().any(|one| one.name == new.name) {
                    return Err(format!(
                        "there is a machine {:?} already: revoke it, or choose another name",
                        new.name
                    ));
                }
                if machines.iter().any(|one| one.key == new.key) {
                    return Err(format!("the key of {:?} is in already under another name", new.name));
                }
                let NewKey { name, duty, node, key } = new.clone();
                machines.push(Machine { name, duty, node, key, since: unix_millis() });
            }
            Ok(())
        })
    }

    /// Takes keys out. A broker that runs has to be told.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn revoke(&self, names: &[String]) -> Result<Vec<Machine>, Error> {
        self.change(|machines| {
            for name in names {
                let at = machines.iter().position(|one| one.name == *name);
                machines.remove(at.ok_or_else(|| format!("there is no machine {name:?}"))?);
            }
            Ok(())
        })
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Vec<Machine>) -> Result<(), String>,
    ) -> Result<Vec<Machine>, Error> {
        let failed = |source| Error::Folder(self.folder.clone(), source);
        let lock = File::create(self.folder.join("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut machines = self.machines()?;
        change(&mut machines).map_err(Error::Refused)?;
        let path = self.folder.join("machines.json");
        let text = serde_json::to_string_pretty(&machines).map_err(|error| failed(error.into()))?;
        private_file::write(&path, &text).map_err(failed)?;
        Ok(machines)
    }
}
