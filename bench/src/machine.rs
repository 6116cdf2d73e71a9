//! Where the figures were made: the machine, and the versions of everything that took part.

use std::process::Command;

use echo_testing::mesh::binaries;
use serde::Serialize;

use crate::system::{Kind, foreign};

#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub cores: usize,
    pub cpu: String,
    pub memory_gib: f64,
    pub kernel: String,
    /// One line for each program.
    pub versions: Vec<(String, String)>,
}

impl Machine {
    pub fn look(systems: &[Kind]) -> Self {
        let cpu = sysinfo::RefreshKind::nothing()
            .with_cpu(sysinfo::CpuRefreshKind::nothing())
            .with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram());
        let system = sysinfo::System::new_with_specifics(cpu);
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default(),
            memory_gib: system.total_memory() as f64 / f64::from(1 << 30),
            kernel: sysinfo::System::kernel_long_version(),
            versions: versions(systems),
        }
    }
}

fn versions(systems: &[Kind]) -> Vec<(String, String)> {
    let mut versions = vec![("echo-system".to_owned(), ours())];
    let root = binaries::root();
    versions.extend(says("rustc", Command::new("rustc").arg("--version").current_dir(&root)));
    if systems.iter().any(|kind| kind.is_mesh()) {
        versions.extend(nats_server(binaries::part("broker")));
    }
    for kind in systems {
        versions.extend(foreign::version(*kind).map(|version| (kind.name().to_owned(), version)));
    }
    versions
}

fn ours() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let root = binaries::root();
    let commit = says("git", Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root));
    commit.map_or(version.to_owned(), |(_, commit)| format!("{version} ({commit})"))
}

/// The server that the broker would start.
fn nats_server(mut broker: Command) -> Option<(String, String)> {
    let path = broker.arg("fetch").output().ok()?;
    let server = String::from_utf8_lossy(&path.stdout).trim().to_owned();
    says("nats-server", Command::new(server).arg("--version"))
}

fn says(name: &str, command: &mut Command) -> Option<(String, String)> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
    Some((name.to_owned(), line))
}
