//! Makes every fault about which users are promised something, and prints what clients saw of it as a table.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use echo_scripted_engine::Api;
use echo_testing::{
    chats::{self, Chats},
    faults::{self, Outcome, Plan},
    mistakes,
};

/// Makes faults on real processes and shows, row by row, whether the mesh keeps its promises.
///
/// Exits 1 if a task was lost or doubled, or if a promise did not hold.
#[derive(Parser)]
#[command(name = "echo-faults")]
struct Flags {
    /// Runs of each row; 3, and 50 with --full. What promises a median is played 3 times at least
    #[arg(long)]
    runs: Option<u64>,
    /// Tasks of the soak, 0 for none; 1000, and 20000 with --full
    #[arg(long, value_name = "TASKS")]
    soak: Option<u64>,
    /// Seconds of chaos, 0 for none; 30, and 300 with --full
    #[arg(long, value_name = "SECONDS")]
    chaos: Option<u64>,
    /// Only rows whose names begin so (several with commas)
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    rows: Vec<String>,
    /// Where the random choices come from; chosen and printed if absent
    #[arg(long)]
    seed: Option<u64>,
    /// The long form, by hand, on a quiet machine
    #[arg(long)]
    full: bool,
    /// Writes everything as JSON, with what went wrong in words
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes what went wrong, in words
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
    /// A folder for all logs of failed runs
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
    /// In place of the rows: each mistake of a client, repeated by ten for so many seconds beside good tasks
    #[arg(long, value_name = "SECONDS")]
    mistakes: Option<u64>,
    /// In place of the rows: chats of six people on two real llama.cpp engines, so many times
    #[arg(long, value_name = "RUNS")]
    chats: Option<u64>,
    /// Questions of each of the six
    #[arg(long, value_name = "COUNT", default_value_t = 10, requires = "chats")]
    turns: usize,
    /// Names the rows and what they check, and plays none
    #[arg(long)]
    list: bool,
}

impl Flags {
    fn plan(&self) -> Plan {
        let (runs, soak, chaos) = if self.full { (50, 20_000, 300) } else { (3, 1_000, 30) };
        Plan {
            runs: self.runs.unwrap_or(runs),
            soak: self.soak.unwrap_or(soak),
            chaos: Duration::from_secs(self.chaos.unwrap_or(chaos)),
            rows: self.rows.clone(),
            seed: self.seed.unwrap_or_else(|| rand::random_range(0..1_000_000)),
            logs: self.logs.clone(),
        }
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(&flags) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Plays every mistake and prints what each did to the others.
fn mistakes(time: Duration) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let mut all = Vec::new();
    runtime.block_on(async {
        for api in [Api::Ollama, Api::Openai] {
            let mesh = mistakes::mesh(api).await;
            for mistake in mistakes::all().iter().filter(|mistake| mistake.api == api) {
                let damage = mistakes::suffer(&mesh, mistake, time).await;
                eprintln!("{} at {}: {} broken promises", mistake.name, mistake.path, damage.broken().len());
                all.push(damage);
            }
        }
    });
    println!("{}", mistakes::markdown(&all));
    let broken: Vec<_> = all.iter().flat_map(mistakes::Damage::broken).collect();
    broken.iter().for_each(|why| eprintln!("{why}"));
    Ok(broken.is_empty())
}

/// Plays the chats, with another seed each time, and prints what came of them.
fn chats(runs: u64, turns: usize, seed: u64) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    println!("{}", Chats::HEAD);
    for run in 0..runs {
        let chats = runtime.block_on(chats::play(seed + run, turns)).map_err(anyhow::Error::msg)?;
        println!("{}", chats.row());
    }
    Ok(true)
}

/// Whether every promise held.
fn run(flags: &Flags) -> anyhow::Result<bool> {
    if let Some(seconds) = flags.mistakes {
        return mistakes(Duration::from_secs(seconds));
    }
    if let Some(runs) = flags.chats {
        return chats(runs, flags.turns, flags.seed.unwrap_or(1));
    }
    let plan = flags.plan();
    anyhow::ensure!(!plan.chosen().is_empty(), "no row has such a name: --list names them");
    if flags.list {
        for row in plan.chosen() {
            println!("{:22} {}: {}", row.name, row.fault, row.promise);
        }
        return Ok(true);
    }
    if let Some(folder) = &flags.logs {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    eprintln!("seed {}", plan.seed);
    let began = std::time::Instant::now();
    let results = runtime.block_on(faults::play(&plan));
    eprintln!("{} s", began.elapsed().as_secs());
    println!("{}", faults::machine(&plan));
    println!("{}", faults::markdown(&results));
    if let Some(file) = &flags.json {
        std::fs::write(file, faults::json(&results).to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let failures = failures(&results);
    eprint!("{failures}");
    if let Some(file) = &flags.failures {
        std::fs::write(file, failures).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(passed(&results))
}

fn failures(results: &[Outcome]) -> String {
    let named = |result: &Outcome| {
        let name = result.row.name;
        result.tally.faults().map(move |fault| format!("{name}: {fault}\n")).collect::<String>()
    };
    results.iter().map(named).collect()
}

fn passed(results: &[Outcome]) -> bool {
    let failed = results.iter().filter(|result| !result.tally.is_clean()).count();
    eprintln!("{} rows passed, {failed} failed", results.len() - failed);
    failed == 0
}
