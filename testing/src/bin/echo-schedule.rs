//! Plays the simulator's traces on real processes and prints what was measured beside what is simulated.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, anyhow, ensure};
use clap::Parser;
use echo_testing::schedule::{self, Plan};

/// A real broker, real programs, engines by script, and a trace of the simulator through the HTTP edge.
///
/// Engines, loads, arrivals and pauses are so many times faster than in the trace, and so they are for the simulator.
#[derive(Parser)]
#[command(name = "echo-schedule")]
struct Flags {
    /// Names of traces: two, five, chat, code, burst, mixed
    #[arg(long, default_value = "five", value_delimiter = ',', value_name = "NAMES")]
    traces: Vec<String>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What begins later in a trace is left out
    #[arg(long, default_value_t = 30.0, value_name = "MINUTES")]
    minutes: f64,
    #[arg(long, default_value_t = 10.0, value_name = "FACTOR")]
    compress: f64,
    /// Where the programs are, such as those of an older state; without it beside this one
    #[arg(long, value_name = "FOLDER")]
    bin_dir: Option<PathBuf>,
    /// The simulator's policy to compare with
    #[arg(long, default_value = "echo", value_name = "NAME")]
    policy: String,
    /// Only what the simulator says
    #[arg(long)]
    simulate: bool,
    /// Writes the figures to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    ensure!(flags.minutes > 0.0, "--minutes must be more than zero");
    ensure!((1.0..=1_000.0).contains(&flags.compress), "--compress must be from 1 to 1000");
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let mut sheets = Vec::new();
    for trace in &flags.traces {
        let plan = Plan {
            trace: trace.clone(),
            seed: flags.seed,
            minutes: flags.minutes,
            compress: flags.compress,
            policy: flags.policy.clone(),
            programs: flags.bin_dir.clone(),
        };
        if flags.simulate {
            let side = plan.simulate().map_err(|error| anyhow!(error))?;
            println!(
                "{trace}, {}: {} tasks of all plays, mean {:.3} s, p95 {:.3}, p99 {:.3}, first {:.3}, {} loads, by node {:?}",
                flags.seed,
                side.tasks(),
                side.mean(),
                side.quantile(0.95),
                side.quantile(0.99),
                side.first(),
                side.loads,
                side.shares
            );
            continue;
        }
        let sheet = runtime.block_on(schedule::play(&plan)).map_err(|error| anyhow!(error))?;
        eprintln!("by node: measured {:?}, simulated {:?}", sheet.measured.shares, sheet.simulated.shares);
        sheets.push(sheet);
    }
    if !sheets.is_empty() {
        println!("{}", schedule::markdown(&sheets));
    }
    if let Some(path) = &flags.json {
        let text = serde_json::to_string_pretty(&sheets)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let failed: u64 = sheets.iter().map(|sheet| sheet.measured.failed).sum();
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
