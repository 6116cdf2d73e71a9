//! Where a system keeps its services.

use std::path::{Path, PathBuf};

/// The folders, below a root that is `/` outside of tests.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
    home: Option<PathBuf>,
    config_home: Option<PathBuf>,
    /// Whether a service of the system is kept from the homes of users.
    pub hides_homes: bool,
}

impl Place {
    pub fn here() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = set("HOME");
        let config_home = set("XDG_CONFIG_HOME")
            .filter(|dir| dir.is_absolute())
            .or_else(|| home.as_ref().map(|home| home.join(".config")));
        Self { root: "/".into(), home, config_home, hides_homes: cfg!(target_os = "linux") }
    }

    #[cfg(test)]
    pub fn below(root: &Path) -> Self {
        let home = root.join("home/ada");
        Self {
            root: root.into(),
            config_home: Some(home.join(".config")),
            home: Some(home),
            hides_homes: true,
        }
    }

    /// `path`, which begins with a slash, on this system.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    pub fn config_home(&self) -> Option<&Path> {
        self.config_home.as_deref()
    }
}
