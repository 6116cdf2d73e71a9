//! What is asked of each system.

pub mod failover;
pub mod memory;
mod plain;

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    check::Faults,
    engines::Engines,
    figure::Figures,
    form::Form,
    load::Outcome,
    system::{Kind, System},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Overhead: 1 client, 64 tokens without delay.
    A,
    /// Streaming: 200 clients, 64 tokens every 20 ms.
    B,
    /// Saturation: 64 clients, 128 tokens without delay.
    C,
    /// Whole answers: 64 clients, 1 token, not streamed.
    D,
    /// Memory: idle, 1,000 and 10,000 open streams, all clients leave.
    E,
    /// Failover: 64 clients, 64 tokens every 10 ms, one engine killed and back.
    F,
    /// Growth of the mesh: nodes by heartbeats, tasks in flight, placement.
    G,
}

impl Workload {
    pub const ALL: [Self; 7] = [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F, Self::G];
    /// Those that share one start of a system in each repetition.
    pub const SHORT: [Self; 4] = [Self::A, Self::B, Self::C, Self::D];

    pub fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
            Self::C => 'c',
            Self::D => 'd',
            Self::E => 'e',
            Self::F => 'f',
            Self::G => 'g',
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::A => "overhead: 1 client, 64 tokens, no delay",
            Self::B => "streaming: 200 clients, 64 tokens every 20 ms",
            Self::C => "saturation: 64 clients, 128 tokens, no delay",
            Self::D => "whole answers: 64 clients, 1 token, not streamed",
            Self::E => "memory: idle, then 1,000 and 10,000 open streams, then all clients leave",
            Self::F => "failover: 64 clients, 64 tokens every 10 ms, one engine killed, then back",
            Self::G => "growth of the mesh",
        }
    }
}

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
    let parts = parts(&before, &after);
    let figures = plain::figures(workload, &outcome, &parts);
    // What a failing system has left behind must not burden the next workload.
    engines.free(std::time::Duration::from_secs(30)).await?;
    Ok(finished(system.kind, workload, repetition, figures, parts, outcome))
}

fn finished(
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

fn parts(before: &crate::process::Usage, after: &crate::process::Usage) -> Vec<Part> {
    let spent = crate::process::spent(before, after);
    let resident = after.iter().map(|(_, used)| used.resident as f64 / f64::from(1 << 20));
    let parts = spent.into_iter().zip(resident);
    parts
        .map(|((name, cpu), resident_mib)| Part { name, cpu_ms: cpu.as_secs_f64() * 1e3, resident_mib })
        .collect()
}
