//! What is asked of each system.

pub mod failover;
pub mod memory;
mod name;
mod plain;
mod run;

pub use name::Workload;
pub use run::{Part, Run};

use crate::{engines::Engines, form::Form, system::System};

/// Runs one of the short workloads.
///
/// # Errors
/// When the benchmark itself fails; failures of the system are counted instead.
pub async fn run(
    workload: Workload,
    system: &System,
    engines: &Engines,
    form: &Form,
    repetition: usize,
) -> anyhow::Result<Run> {
    let before = system.usage();
    let load = plain::load(workload, form);
    let outcome = load.run(&system.targets, system.dialect()).await?;
    let after = system.usage();
    let parts = run::parts(&before, &after);
    let figures = plain::figures(workload, &outcome, &parts);
    // What a failing system has left behind must not burden the next workload.
    engines.free(std::time::Duration::from_secs(30)).await?;
    Ok(run::finished(system.kind, workload, repetition, figures, parts, outcome))
}
