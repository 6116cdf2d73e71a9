//! Room on the disk for what will be fetched.

use std::path::Path;

use echo_bus::process::BadConfig;
use sysinfo::Disks;

/// Megabytes that are free where a path is or will be; none where the system does not say.
pub fn free_mb(path: &Path) -> Option<u64> {
    let there = path.ancestors().find_map(|path| path.canonicalize().ok())?;
    let disks = Disks::new_with_refreshed_list();
    let holding = disks.list().iter().filter(|disk| there.starts_with(disk.mount_point()));
    let nearest = holding.max_by_key(|disk| disk.mount_point().as_os_str().len())?;
    Some(nearest.available_space() / (1 << 20))
}

/// `set` is what names another place.
///
/// # Errors
/// There is less than is needed.
pub fn need(what: &str, at: &Path, mb: u64, free: Option<u64>, set: &str) -> Result<(), BadConfig> {
    match free.filter(|free| *free < mb) {
        None => Ok(()),
        Some(free) => Err(BadConfig(format!(
            "{what} needs about {mb} MB in {}, and only {free} MB are free there: make room, or choose another place \
             with {set}.",
            at.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_with_what_to_do() {
        let at = Path::new("/cache");
        assert!(need("it", at, 400, Some(400), "X").is_ok());
        assert!(need("it", at, 400, None, "X").is_ok());
        let error = need("the engine", at, 400, Some(100), "ECHO_CACHE_DIR").unwrap_err().to_string();
        assert!(error.contains("only 100 MB are free") && error.contains("ECHO_CACHE_DIR"), "{error}");
    }

    #[test]
    fn the_room_where_something_will_be_is_known() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(free_mb(&folder.path().join("not/yet")).is_some(), free_mb(folder.path()).is_some());
        assert!(free_mb(Path::new("/")).is_some_and(|mb| mb > 0));
    }
}
