//! Processes of the systems: started so that they cannot outlive the benchmark, and their cost read from outside.

use std::{
    collections::HashMap,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use echo_testing::mesh::{
    logs::Logs,
    spawn::{Running, spawn},
};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// A foreign program. Dropping it kills its whole process group.
pub struct Process {
    name: String,
    running: Running,
    logs: Logs,
}

impl Process {
    /// Starts a program.
    ///
    /// # Errors
    /// When there is no such program.
    pub async fn start(name: impl Into<String>, mut command: Command) -> anyhow::Result<Self> {
        let (name, logs) = (name.into(), Logs::default());
        command.stdin(Stdio::null());
        let running = spawn(command, logs.clone()).await.with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, running, logs })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> i32 {
        self.running.pid()
    }

    /// Fails, with its last words, if it has ended.
    pub fn lives(&self) -> anyhow::Result<()> {
        if let Some(status) = self.running.exited() {
            bail!("{} ended ({status}): {}", self.name, self.logs.tail(5));
        }
        Ok(())
    }

    /// The first line for which `pick` has an answer.
    ///
    /// # Errors
    /// When it ends, or says no such thing in time.
    pub async fn says<T>(&self, within: Duration, pick: impl FnMut(&str) -> Option<T>) -> anyhow::Result<T> {
        tokio::select! {
            found = self.logs.line(0, pick) => Ok(found),
            status = self.running.exit() => bail!("{} ended ({status}): {}", self.name, self.logs.tail(5)),
            () = tokio::time::sleep(within) => bail!("{} said nothing in {within:?}: {}", self.name, self.logs.tail(5)),
        }
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&self) {
        self.running.signal(libc::SIGKILL);
        self.running.exit().await;
    }

    /// What it has said last.
    pub fn last_words(&self) -> String {
        self.logs.tail(10)
    }
}

/// What one process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    pub cpu: Duration,
    /// Memory that it holds now, in bytes: its own pages, and its share of those that others use too.
    pub resident: u64,
}

/// What the processes of a system have used, by name. A child counts as a process of its own: `broker/nats-server`.
pub type Usage = Vec<(String, Used)>;

/// Reads what these processes and all their children have used. Never counts anything twice.
pub fn usage(roots: &[(String, i32)]) -> Usage {
    let mut system = System::new();
    let what = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for (pid, process) in system.processes() {
        if let Some(parent) = process.parent() {
            children.entry(parent).or_default().push(*pid);
        }
    }
    let mut usage = Usage::new();
    for (name, pid) in roots {
        let Ok(pid) = usize::try_from(*pid) else { continue };
        gather(&system, &children, Pid::from(pid), name, &mut usage);
    }
    usage
}

fn gather(system: &System, children: &HashMap<Pid, Vec<Pid>>, pid: Pid, name: &str, usage: &mut Usage) {
    let Some(process) = system.process(pid) else { return };
    let cpu = Duration::from_millis(process.accumulated_cpu_time());
    let resident = share(pid).unwrap_or_else(|| process.memory());
    usage.push((name.to_owned(), Used { cpu, resident }));
    let mut below = children.get(&pid).cloned().unwrap_or_default();
    below.sort();
    for (number, child) in below.into_iter().enumerate() {
        let Some(program) = system.process(child).map(|child| child.name().to_string_lossy().into_owned())
        else {
            continue;
        };
        let number = if number == 0 { String::new() } else { format!(" {}", number + 1) };
        gather(system, children, child, &format!("{name}/{program}{number}"), usage);
    }
}

/// Resident memory where a page that several processes have is counted once, in parts: a sum over the processes of a
/// system would count libc, and a program that runs twice, as often as they run. Where the kernel does not say, absent.
fn share(pid: Pid) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB"))?;
    Some(kib.trim().parse::<u64>().ok()? << 10)
}

/// The CPU time between two readings, process by process. One that is new counts in full.
pub fn spent(before: &Usage, after: &Usage) -> Vec<(String, Duration)> {
    let earlier: HashMap<_, _> = before.iter().map(|(name, used)| (name.as_str(), used.cpu)).collect();
    let since =
        |name: &str, used: &Used| used.cpu.saturating_sub(earlier.get(name).copied().unwrap_or_default());
    after.iter().map(|(name, used)| (name.clone(), since(name, used))).collect()
}

/// The memory of all of them together, in bytes.
pub fn resident(usage: &Usage) -> u64 {
    usage.iter().map(|(_, used)| used.resident).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_counts_under_its_parent_and_is_gone_with_it() {
        let mut command = Command::new("sh");
        // Nobody kills the grandchild: it goes by itself, and holds nothing until then.
        command.args(["-c", "sleep 30 >/dev/null 2>&1 & while :; do :; done"]);
        let process = Process::start("busy", command).await.unwrap();
        let roots = [("busy".to_owned(), process.pid())];
        let before = usage(&roots);
        let used = loop {
            let used = usage(&roots);
            if spent(&before, &used)[0].1 > Duration::from_millis(50) && used.len() == 2 {
                break used;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(used[1].0, "busy/sleep");
        assert!(resident(&used) > used[1].1.resident, "{used:?}");
        process.kill().await;
        drop(process);
        assert!(usage(&roots).is_empty());
    }

    #[test]
    fn a_new_process_counts_in_full() {
        let used = |ms| Used { cpu: Duration::from_millis(ms), resident: 1 };
        let (before, after) =
            (vec![("a".to_owned(), used(5))], vec![("a".to_owned(), used(7)), ("b".to_owned(), used(3))]);
        let spent: Vec<_> = spent(&before, &after).into_iter().map(|(_, cpu)| cpu.as_millis()).collect();
        assert_eq!(spent, [2, 3]);
    }
}
