//! What one run of a workload on a system comes to.

use serde::Serialize;

use super::name::Workload;
use crate::{
    check::Faults,
    figure::Figures,
    load::Outcome,
    process::{Usage, spent},
    system::Kind,
};

/// One process and what it used.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    pub name: String,
    pub cpu_ms: f64,
    pub resident_mib: f64,
}

/// One run of one workload on one system.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub system: Kind,
    pub workload: Workload,
    pub repetition: usize,
    pub figures: Figures,
    pub parts: Vec<Part>,
    #[serde(flatten)]
    pub faults: Faults,
    pub errors: u64,
    pub messages: Vec<String>,
}

impl Run {
    /// Whether every answer was whole.
    pub fn is_good(&self) -> bool {
        self.errors == 0 && self.faults.none()
    }
}

pub fn finished(
    system: Kind,
    workload: Workload,
    repetition: usize,
    figures: Figures,
    parts: Vec<Part>,
    outcome: Outcome,
) -> Run {
    let Outcome { faults, errors, messages, .. } = outcome;
    Run { system, workload, repetition, figures, parts, faults, errors, messages }
}

pub fn parts(before: &Usage, after: &Usage) -> Vec<Part> {
    let spent = spent(before, after);
    let resident = after.iter().map(|(_, used)| used.resident as f64 / f64::from(1 << 20));
    let parts = spent.into_iter().zip(resident);
    parts
        .map(|((name, cpu), resident_mib)| Part { name, cpu_ms: cpu.as_secs_f64() * 1e3, resident_mib })
        .collect()
}
