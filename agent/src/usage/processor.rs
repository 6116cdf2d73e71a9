//! The share of the processor that others use: what all use, less what the mesh's own processes do.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::own::{EnginePlace, Own};

/// How often all processes are looked at. In between only those are read that are known as ours.
const LOOK: Duration = Duration::from_secs(10);

/// Two readings that are closer say nothing: the kernel counts in hundredths of a second.
const APART: Duration = Duration::from_millis(200);

/// A process, and not one that has its number later.
type Start = (Pid, u64);

/// Measures from one reading to the next.
pub struct Processor {
    system: System,
    own: Own,
    looked: Option<Instant>,
    last: Option<Reading>,
}

struct Reading {
    at: Instant,
    /// Milliseconds of work so far.
    own: HashMap<Start, u64>,
}

impl Processor {
    pub fn new(engine: EnginePlace) -> Self {
        Self { system: System::new(), own: Own::new(engine), looked: None, last: None }
    }

    pub fn own(&self) -> &Own {
        &self.own
    }

    /// The share that others have used since the last reading; `None` at the first one.
    pub fn measure(&mut self) -> Option<f64> {
        let now = Instant::now();
        if self.last.as_ref().is_some_and(|last| now.duration_since(last.at) < APART) {
            return None;
        }
        self.look_around(now);
        self.system.refresh_cpu_usage();
        let reading = Reading { at: now, own: self.work() };
        let all = f64::from(self.system.global_cpu_usage()) / 100.0;
        let cores = self.system.cpus().len();
        let last = self.last.replace(reading)?;
        let this = self.last.as_ref()?;
        let time = now.duration_since(last.at).as_secs_f64() * 1e3 * cores as f64;
        let share = all - this.since(&last) / time;
        share.is_finite().then(|| share.clamp(0.0, 1.0))
    }

    fn look_around(&mut self, now: Instant) {
        if self.looked.is_some_and(|last| now.duration_since(last) < LOOK) {
            return;
        }
        self.looked = Some(now);
        let names = ProcessRefreshKind::nothing().without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::All, true, names);
        self.own.look(&self.system);
    }

    fn work(&mut self) -> HashMap<Start, u64> {
        let pids: Vec<_> = self.own.pids().iter().copied().collect();
        let kind = ProcessRefreshKind::nothing().without_tasks().with_cpu();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, kind);
        let processes = pids.iter().filter_map(|pid| self.system.process(*pid));
        processes.map(|it| ((it.pid(), it.start_time()), it.accumulated_cpu_time())).collect()
    }
}

impl Reading {
    /// Milliseconds of our own work since then. A process that is new here has done what it has since it began, or was not
    /// known as ours: then it counts from now on.
    fn since(&self, then: &Self) -> f64 {
        let since = |(start, now): (&Start, &u64)| then.own.get(start).map(|then| now.saturating_sub(*then));
        self.own.iter().filter_map(since).sum::<u64>() as f64
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    struct Busy(Child);

    impl Busy {
        fn begin() -> Self {
            let shell = Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn();
            Self(shell.expect("a shell"))
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            self.0.kill().expect("it runs");
            self.0.wait().expect("it has ended");
        }
    }

    /// Measures twice at once: with the busy process known as ours (it is our child), and as somebody else's.
    fn both(seconds: u64) -> (f64, f64) {
        let (mut with, mut without) =
            (Processor::new(EnginePlace::Elsewhere), Processor::new(EnginePlace::Elsewhere));
        with.measure();
        without.measure();
        without.own = Own::new(EnginePlace::Elsewhere);
        std::thread::sleep(Duration::from_secs(seconds));
        (with.measure().unwrap(), without.measure().unwrap())
    }

    /// Other builds may use this machine too, so only the difference says anything.
    #[test]
    fn what_our_own_processes_use_is_not_charged_to_others() {
        let busy = Busy::begin();
        let cores = std::thread::available_parallelism().unwrap().get() as f64;
        let (less, more) = both(2);
        drop(busy);
        assert!(more - less > 0.1 / cores, "{more} of it is used by all, {less} by others");
        assert!((0.0..=1.0).contains(&less) && (0.0..=1.0).contains(&more));
    }
}
