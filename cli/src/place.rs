//! Where the things of a mesh are on this machine.

use std::path::PathBuf;

use echo_bus::process::BadConfig;

/// The folders of one mesh on this machine. Two meshes of one user differ by the first.
#[derive(Debug, Clone, clap::Args)]
pub struct PlaceArgs {
    /// What runs, and what was chosen for it [default: ~/.local/state/echo-mesh]
    #[arg(long, env = "ECHO_RUN_DIR", value_name = "DIR")]
    run_dir: Option<PathBuf>,

    /// What the parts say [default: DIR/logs in the run directory]
    #[arg(long, env = "ECHO_LOG_DIR", value_name = "DIR")]
    log_dir: Option<PathBuf>,

    /// What was fetched, for all meshes of this user [default: ~/.cache/echo-system]
    #[arg(long, env = "ECHO_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

/// The same with the defaults, all absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub run: PathBuf,
    pub logs: PathBuf,
    pub cache: PathBuf,
}

impl PlaceArgs {
    /// Where things are. Makes nothing.
    ///
    /// # Errors
    /// There is no home directory to take a default from.
    pub fn place(&self) -> Result<Place, BadConfig> {
        let run = match &self.run_dir {
            Some(dir) => dir.clone(),
            None => home("XDG_STATE_HOME", ".local/state", "--run-dir")?.join("echo-mesh"),
        };
        let cache = match &self.cache_dir {
            Some(dir) => dir.clone(),
            None => home("XDG_CACHE_HOME", ".cache", "--cache-dir")?.join("echo-system"),
        };
        let logs = self.log_dir.clone().unwrap_or_else(|| run.join("logs"));
        let absolute = |dir: PathBuf| std::path::absolute(&dir).unwrap_or(dir);
        Ok(Place { run: absolute(run), logs: absolute(logs), cache: absolute(cache) })
    }
}

impl Place {
    /// The secret of the mesh that runs here, if it is open to other machines.
    pub fn secret(&self) -> PathBuf {
        self.run.join("secret")
    }
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
