//! Memory and disk of the machine, read now and then and never on the way of a token.

use std::path::PathBuf;

use echo_bus::message::Space;
use sysinfo::{Disks, MemoryRefreshKind, RefreshKind, System};

/// Memory, and the disk that holds the home folder, where engines keep their models.
pub fn space() -> (Space, Space) {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    (Space { total: system.total_memory(), free: system.available_memory() }, disk())
}

fn disk() -> Space {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let disks = Disks::new_with_refreshed_list();
    let holding = disks.list().iter().filter(|disk| home.starts_with(disk.mount_point()));
    let nearest = holding.max_by_key(|disk| disk.mount_point().as_os_str().len());
    nearest
        .map_or_else(Space::default, |disk| Space { total: disk.total_space(), free: disk.available_space() })
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_has_memory() {
        let (memory, disk) = super::space();
        assert!(memory.total > 0 && memory.free <= memory.total);
        assert!(disk.free <= disk.total);
    }
}
