//! Where the things of a mesh are on this machine.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use echo_bus::process::BadConfig;
use serde::{Deserialize, Serialize};

/// The folders of one mesh on this machine. Two meshes of one user differ by the first.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PlaceArgs {
    #[command(flatten)]
    pub run: RunArgs,

    #[command(flatten)]
    pub folders: FolderArgs,
}

/// What tells one mesh of this machine from another.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RunArgs {
    /// What runs, and what was chosen for it [default: ~/.local/state/echo-mesh]
    #[arg(long, env = "ECHO_RUN_DIR", value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

/// The other folders.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FolderArgs {
    /// What the parts say [default: DIR/logs in the run directory]
    #[arg(long, env = "ECHO_LOG_DIR", value_name = "DIR")]
    log_dir: Option<PathBuf>,

    /// What was fetched, for all meshes of this user [default: ~/.cache/echo-system]
    #[arg(long, env = "ECHO_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

/// The same with the defaults, all absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub run: PathBuf,
    pub logs: PathBuf,
    pub cache: PathBuf,
}

impl Place {
    /// Whether this is where everybody looks who is told nothing.
    pub fn is_default(&self) -> bool {
        default_run().is_ok_and(|run| run == self.run)
    }
}

fn default_run() -> Result<PathBuf, BadConfig> {
    Ok(home("XDG_STATE_HOME", ".local/state", "--run-dir")?.join("echo-mesh"))
}

impl PlaceArgs {
    /// Where things are. Makes nothing.
    ///
    /// # Errors
    /// There is no home directory to take a default from.
    pub fn place(&self) -> Result<Place, BadConfig> {
        self.folders.place(&self.run)
    }
}

impl RunArgs {
    /// The run directory, absolute. Makes nothing.
    ///
    /// # Errors
    /// There is no home directory to take a default from.
    pub fn dir(&self) -> Result<PathBuf, BadConfig> {
        match &self.run_dir {
            Some(dir) => Ok(absolute(dir.clone())),
            None => default_run().map(absolute),
        }
    }
}

impl FolderArgs {
    /// Where things are, with this run directory. Makes nothing.
    ///
    /// # Errors
    /// There is no home directory to take a default from.
    pub fn place(&self, run: &RunArgs) -> Result<Place, BadConfig> {
        let run = run.dir()?;
        let cache = match &self.cache_dir {
            Some(dir) => dir.clone(),
            None => home("XDG_CACHE_HOME", ".cache", "--cache-dir")?.join("echo-system"),
        };
        let logs = self.log_dir.clone().unwrap_or_else(|| run.join("logs"));
        Ok(Place { run, logs: absolute(logs), cache: absolute(cache) })
    }
}

impl Place {
    /// Who may get into the mesh that runs here, if it is open to other machines.
    pub fn trust(&self) -> PathBuf {
        self.run.join("trust")
    }
}

/// Makes a folder, and those above it, for the eyes of this user only. One that is there stays as it is.
pub fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn absolute(dir: PathBuf) -> PathBuf {
    std::path::absolute(&dir).unwrap_or(dir)
}

fn home(variable: &str, below: &str, flag: &str) -> Result<PathBuf, BadConfig> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(variable)
        .filter(|dir| dir.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(below)))
        .ok_or_else(|| {
            BadConfig(format!("HOME is not set: set it, or name a folder that may be written with {flag}"))
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_that_we_make_is_for_its_owner_and_one_that_is_there_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let run = home.path().join("state/run");
        make(&run).unwrap();
        assert_eq!((mode(&run), mode(run.parent().unwrap())), (0o700, 0o700));
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
        make(&run).unwrap();
        assert_eq!(mode(&run), 0o755);
    }
}
