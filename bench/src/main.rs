//! `echo-bench`: reads what is wanted, runs it, writes the report.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::bail;
use clap::Parser;
use echo_bench::{
    form::Form,
    hostile,
    machine::Machine,
    report::{Report, table},
    runner::{Plan, Runner},
    system::{Kind, foreign},
    workload::Workload,
};
use echo_bus::process;

/// Measures what the mesh costs, side by side with other systems over the same engines.
#[derive(Debug, Parser)]
#[command(name = "echo-bench")]
struct Flags {
    /// More repetitions, each longer
    #[arg(long, conflicts_with = "smoke")]
    full: bool,

    /// A minute that proves that everything runs and no token is lost; its figures mean nothing
    #[arg(long)]
    smoke: bool,

    /// Only these systems (with commas); `direct` is always among them
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES")]
    systems: Vec<Kind>,

    /// Only these workloads (with commas)
    #[arg(long, value_enum, value_delimiter = ',', ignore_case = true, value_name = "LETTERS")]
    workloads: Vec<Workload>,

    /// Compare with another state of the project, whose programs are in this folder: both in turns, and a table of what
    /// changed
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,

    /// Repetitions of the workloads a to d
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    repetitions: Option<u8>,

    /// Clients of workload b, in place of its 200: they send five requests each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4_000))]
    clients: Option<u16>,

    /// Only so many rounds of honest streams, alone and beside clients that send half of what they owe, through the mesh
    /// or, in turns, through those of `--systems`
    #[arg(long, value_name = "ROUNDS", num_args = 0..=1, default_missing_value = "1", value_parser = clap::value_parser!(u8).range(1..=100))]
    hostile: Option<u8>,

    /// Only list the pinned packages from PyPI and the folders that they belong into
    #[arg(long)]
    packages: bool,

    /// The folder for bench.json, bench.md and bench.svg
    #[arg(long, value_name = "FOLDER", default_value = "target/bench", overrides_with = "out")]
    out: PathBuf,
}

impl Flags {
    fn plan(&self) -> Plan {
        let mut form = match (self.smoke, self.full) {
            (true, _) => Form::smoke(),
            (_, true) => Form::full(),
            _ => Form::short(),
        };
        if let Some(repetitions) = self.repetitions {
            form.repetitions = repetitions.into();
        }
        if let Some(clients) = self.clients.map(usize::from) {
            (form.streaming_clients, form.streaming_requests) = (clients, clients * 5);
        }
        let all: &[Kind] = if self.smoke {
            &[Kind::Direct, Kind::Mesh, Kind::MeshKeys, Kind::MeshOpenai, Kind::MeshBefore]
        } else {
            &Kind::ALL
        };
        let wanted =
            |kind: &Kind| self.systems.is_empty() || self.systems.contains(kind) || *kind == Kind::Direct;
        let before = |kind: &Kind| self.against.is_some() || *kind != Kind::MeshBefore;
        let compared = |kind: &Kind| self.against.is_some() && matches!(kind, Kind::Mesh | Kind::MeshBefore);
        let some = if self.systems.is_empty() { all } else { &Kind::ALL };
        let systems =
            some.iter().copied().filter(|kind| (wanted(kind) || compared(kind)) && before(kind)).collect();
        let workloads = Workload::ALL.into_iter();
        let workloads =
            workloads.filter(|it| self.workloads.is_empty() || self.workloads.contains(it)).collect();
        Plan { form, systems, workloads, before: self.against.clone() }
    }

    /// The meshes that honest and other clients share.
    fn meshes(&self) -> anyhow::Result<Vec<Kind>> {
        let mut meshes = self.systems.clone();
        if meshes.is_empty() {
            meshes.push(Kind::Mesh);
        }
        if self.against.is_some() && !meshes.contains(&Kind::MeshBefore) {
            meshes.push(Kind::MeshBefore);
        }
        match meshes.iter().find(|kind| !kind.is_mesh()) {
            Some(other) => bail!("--hostile is about meshes, and {} is none", other.name()),
            None => Ok(meshes),
        }
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if flags.packages {
        print!("{}", foreign::packages());
        return ExitCode::SUCCESS;
    }
    process::raise_open_files();
    // One thread: a generator that takes more takes it from the systems.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return process::ended(Err(error.into())),
    };
    process::ended(runtime.block_on(async {
        let shutdown = process::shutdown();
        // What is dropped on the way out ends its processes.
        match shutdown.run_until_cancelled(measure(flags)).await {
            Some(done) => done,
            None => bail!("interrupted; nothing was written"),
        }
    }))
}

async fn measure(flags: Flags) -> anyhow::Result<()> {
    if let Some(rounds) = flags.hostile {
        return hostile::run(rounds.into(), &flags.meshes()?, flags.against.as_deref()).await;
    }
    let (plan, begun) = (flags.plan(), Instant::now());
    let machine = Machine::look(&plan.systems);
    for (name, version) in &machine.versions {
        eprintln!("{name}: {version}");
    }
    let form = plan.form.name;
    let results = Runner::new(plan).await?.run().await?;
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let command = std::env::args().skip(1).fold("scripts/bench.sh".to_owned(), |all, arg| all + " " + &arg);
    let report = Report { form, command, time, seconds: begun.elapsed().as_secs(), machine, results };
    report.write(&flags.out)?;
    println!("{}", table::markdown(&report));
    eprintln!("The report is in {}.", flags.out.display());
    if flags.smoke { all_good(&report) } else { Ok(()) }
}

/// In the smoke form a fault is a failure. Without a system in between, the killed engine's answers are lost.
fn all_good(report: &Report) -> anyhow::Result<()> {
    let runs = report.results.runs.iter();
    let bad: Vec<_> = runs
        .filter(|run| !run.is_good() && (run.system.is_mesh() || run.workload != Workload::F))
        .map(|run| format!("{} on {}", run.workload.letter(), run.system.name()))
        .collect();
    let missing = report.results.left_out.iter().map(|it| format!("{} ({})", it.system.name(), it.why));
    let bad: Vec<_> = bad.into_iter().chain(missing).collect();
    if !bad.is_empty() {
        bail!("not as promised: {}", bad.join("; "));
    }
    Ok(())
}
