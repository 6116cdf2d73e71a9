//! Where and how a table came about.

use std::time::SystemTime;

use super::play::Plan;
use echo_scripted_engine::rfc3339;

/// Command, machine and date, as lines of Markdown.
pub fn machine(plan: &Plan) -> String {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let command = format!("scripts/faults.sh {}", arguments.join(" "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let system = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = rfc3339(SystemTime::now());
    format!(
        "- Command: `{}`, seed {}\n- Machine: {cores} cores, {} {}, {}\n- Date: {} UTC\n",
        command.trim_end(),
        plan.seed,
        std::env::consts::OS,
        system.trim(),
        std::env::consts::ARCH,
        &date[..10],
    )
}
