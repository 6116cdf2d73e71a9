//! Ollama's folders of models, read as Ollama writes them: a manifest for each name and tag.

use std::fs;
use std::path::{Path, PathBuf};

use super::facts::{Store, Stores};

/// Where the system service of a Linux package keeps its models.
const SYSTEM: &str = "/usr/share/ollama/.ollama/models";
/// More names than anybody has; a folder is not read without an end.
const MOST: usize = 1000;

/// The folders that an Ollama that we start may be given. `models` is OLLAMA_MODELS.
pub fn stores(models: Option<PathBuf>, home: Option<PathBuf>) -> Stores {
    if let Some(path) = models {
        return Stores { own: read(path), ..Stores::default() };
    }
    let own = read(home.unwrap_or_default().join(".ollama/models"));
    let system = Path::new(SYSTEM);
    if fs::read_dir(system.join("manifests")).is_ok() {
        return Stores { own, system: Some(read(system.to_owned())), hidden: None };
    }
    let is_there = system.parent().is_some_and(Path::is_dir);
    Stores { own, system: None, hidden: is_there.then(|| system.to_owned()) }
}

fn read(path: PathBuf) -> Store {
    let manifests = path.join("manifests/registry.ollama.ai");
    let mut models = Vec::new();
    for owner in names(&manifests) {
        for name in names(&manifests.join(&owner)) {
            for tag in names(&manifests.join(&owner).join(&name)) {
                let before = if owner == "library" { String::new() } else { format!("{owner}/") };
                models.push(format!("{before}{name}:{tag}"));
            }
        }
    }
    models.truncate(MOST);
    Store { path, models }
}

/// What is in a folder, in order; names that begin with a dot are the system's.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MOST);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(store: &Path, name: &str) {
        let file = store.join("manifests/registry.ollama.ai").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "{}").unwrap();
    }

    #[test]
    fn the_models_that_are_there_are_known_by_their_manifests() {
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join(".ollama/models");
        manifest(&own, "library/tiny/1b");
        manifest(&own, "me/own/latest");
        let stores = stores(None, Some(home.path().to_owned()));
        assert_eq!(
            stores.own,
            Store { path: own.clone(), models: vec!["tiny:1b".into(), "me/own:latest".into()] }
        );
        assert_eq!(stores.with("me/own").path, own);
    }

    #[test]
    fn a_folder_of_the_users_is_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        manifest(folder.path(), "library/phi/latest");
        let stores = stores(Some(folder.path().to_owned()), None);
        assert_eq!(stores.models(), ["phi:latest"]);
        assert_eq!((stores.system, stores.hidden), (None, None));
        assert_eq!(super::stores(Some("/nowhere".into()), None).own.models, Vec::<String>::new());
    }
}
