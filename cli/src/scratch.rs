//! A folder for a part's temporary files. It has a marker inside, and without that one it is somebody else's and stays.

use std::fs;
use std::io;
use std::path::Path;

use crate::place;

/// The name of such a folder in a run directory, which may be a folder with other things in it.
pub const FOLDER: &str = "echo-mesh-scratch";
const MARKER: &str = ".made-by-echo-mesh";

/// Makes it, and empties the one that an earlier start has left.
///
/// # Errors
/// There is a folder of this name that is not ours.
pub fn begin(folder: &Path) -> io::Result<()> {
    end(folder);
    if fs::read_dir(folder).is_ok_and(|mut inside| inside.next().is_some()) {
        let why = format!("{} was not made by echo-mesh: move it away", folder.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    place::make(folder)?;
    fs::write(folder.join(MARKER), "Temporary files of a part of a mesh. Removed when it stops.\n")
}

/// Removes it with all that is in it, if it is ours.
pub fn end(folder: &Path) {
    let is_folder = fs::symlink_metadata(folder).is_ok_and(|about| about.is_dir());
    if is_folder && folder.join(MARKER).is_file() {
        let _ = fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_that_we_have_made_is_emptied_and_removed() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join(FOLDER);
        begin(&folder).unwrap();
        fs::write(folder.join("left"), "").unwrap();
        begin(&folder).unwrap();
        assert!(!folder.join("left").exists(), "it is empty at each start");
        end(&folder);
        assert!(!folder.exists());

        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("thesis"), "").unwrap();
        assert!(begin(&folder).unwrap_err().to_string().contains("move it away"));
        end(&folder);
        assert!(folder.join("thesis").exists(), "a folder of the user's was removed");
    }
}
