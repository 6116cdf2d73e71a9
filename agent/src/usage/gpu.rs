//! The share of GPU memory that others use, as NVIDIA's own tool tells it. Of other makers nothing is known here.

use std::process::Stdio;
use std::time::Duration;

use sysinfo::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tracing::{debug, info};

use super::own::Own;

const TOOL: &str = "nvidia-smi";

/// How long one question may take, and how long its answer may be.
const PATIENCE: Duration = Duration::from_secs(3);
const LONGEST: u64 = 64 << 10;

const MEMORY: &str = "--query-gpu=memory.used,memory.total";
const PROCESSES: &str = "--query-compute-apps=pid,used_memory";

/// A machine whose GPUs can be asked.
pub struct Gpu(());

impl Gpu {
    /// Asks once whether there is one.
    pub async fn find() -> Option<Self> {
        let found = ask(MEMORY).await.is_some_and(|text| memory(&text).is_some());
        if !found {
            info!("no nvidia-smi answers: the use of GPU memory is not looked at");
        }
        found.then_some(Self(()))
    }

    /// The share of all memory that belongs to others; `None` where that cannot be told.
    pub async fn measure(&mut self, own: &Own) -> Option<f64> {
        let (used, total) = memory(&ask(MEMORY).await?)?;
        let ours = ours(&ask(PROCESSES).await?, own)?;
        Some((used.saturating_sub(ours) as f64 / total as f64).clamp(0.0, 1.0))
    }
}

async fn ask(query: &str) -> Option<String> {
    let mut command = Command::new(TOOL);
    command.args([query, "--format=csv,noheader,nounits"]).kill_on_drop(true);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut text = String::new();
    let pipe = child.stdout.take()?;
    let answer = async {
        let mut pipe = pipe.take(LONGEST);
        pipe.read_to_string(&mut text).await.ok()?;
        child.wait().await.ok()
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Some(status)) if status.success() => Some(text),
        other => {
            debug!(answer = ?other, "nvidia-smi does not answer");
            None
        }
    }
}

/// Mebibytes in use, and there at all, of all GPUs; `None` if one of them does not say.
fn memory(text: &str) -> Option<(u64, u64)> {
    let line = |line: &str| {
        let (used, total) = line.split_once(',')?;
        Some((used.trim().parse::<u64>().ok()?, total.trim().parse::<u64>().ok()?))
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty()).map(line);
    let sum = |(used, total): (u64, u64), (more, of): (u64, u64)| {
        (used.saturating_add(more), total.saturating_add(of))
    };
    let all = lines.collect::<Option<Vec<_>>>()?.into_iter().fold((0, 0), sum);
    (all.1 > 0).then_some(all)
}

/// Mebibytes of the mesh's own processes. Where a process is not known here (we are in a container) or its memory is not told,
/// nobody can say whose it is.
fn ours(text: &str, own: &Own) -> Option<u64> {
    let mut sum: u64 = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (pid, memory) = line.split_once(',')?;
        let pid = Pid::from_u32(pid.trim().parse().ok()?);
        if !own.is_known(pid) {
            return None;
        }
        if own.pids().contains(&pid) {
            sum = sum.saturating_add(memory.trim().parse().ok()?);
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

    use super::super::own::EnginePlace;
    use super::*;

    #[test]
    fn the_memory_of_all_gpus_counts_together() {
        assert_eq!(memory("1024, 8192\n 0, 8192\n"), Some((1024, 16384)));
        for text in ["", "[N/A], 8192", "1024", "1024, 0", "-1, 5", "Failed to initialize NVML"] {
            assert_eq!(memory(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_engine_has_is_ours_and_a_stranger_of_another_container_makes_it_unclear() {
        let mut system = System::new();
        let kind = ProcessRefreshKind::nothing().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        let mut own = Own::new(EnginePlace::Elsewhere);
        own.look(&system);
        let this = std::process::id();
        assert_eq!(ours(&format!("{this}, 700\n1, 300\n"), &own), Some(700));
        assert_eq!(ours("", &own), Some(0));
        for text in [format!("{this}, [N/A]"), format!("{this}, 700\n4194399, 1"), "nonsense".to_owned()] {
            assert_eq!(ours(&text, &own), None, "{text}");
        }
    }
}
