//! The order of everything: systems take turns within each repetition, so that a slow minute hits all of them alike.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    engines::Engines,
    form::Form,
    growth::{self, Growth},
    report::number::number,
    system::{Kind, System, foreign},
    workload::{self, Run, Workload},
};

/// What is to be done.
pub struct Plan {
    pub form: Form,
    pub systems: Vec<Kind>,
    pub workloads: Vec<Workload>,
    /// The programs of another state, to be compared with.
    pub before: Option<PathBuf>,
}

/// A system or a figure that could not be had, and why.
#[derive(Debug, Clone, Serialize)]
pub struct LeftOut {
    pub system: Kind,
    pub why: String,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    pub runs: Vec<Run>,
    pub left_out: Vec<LeftOut>,
    pub growth: Growth,
}

pub struct Runner {
    plan: Plan,
    engines: Engines,
    started: Instant,
    results: Results,
}

impl Runner {
    /// Starts the engines.
    ///
    /// # Errors
    /// When they do not come up.
    pub async fn new(plan: Plan) -> anyhow::Result<Self> {
        let engines = Engines::start(SLOTS).await?;
        Ok(Self { plan, engines, started: Instant::now(), results: Results::default() })
    }

    /// Does all of it.
    ///
    /// # Errors
    /// When the benchmark itself fails. A system that does not work is left out and listed.
    pub async fn run(mut self) -> anyhow::Result<Results> {
        self.leave_out_what_is_missing();
        for repetition in 1..=self.plan.form.repetitions {
            for kind in Kind::in_turns(&self.plan.systems, repetition) {
                if repetition <= self.plan.form.repetitions_of(kind) {
                    self.short(kind, repetition).await;
                }
            }
        }
        for repetition in 1..=self.plan.form.long_repetitions {
            for kind in self.plan.systems.clone() {
                self.long(kind, Workload::E, repetition).await;
            }
        }
        for repetition in 1..=self.plan.form.long_repetitions {
            for kind in self.plan.systems.clone() {
                self.long(kind, Workload::F, repetition).await;
            }
        }
        let wanted = self.plan.workloads.contains(&Workload::G) && self.plan.systems.contains(&Kind::Mesh);
        if wanted && let Err(error) = self.growth().await {
            self.leave_out(Kind::Mesh, format!("g: {error:#}"));
        }
        Ok(self.results)
    }

    fn leave_out_what_is_missing(&mut self) {
        for kind in self.plan.systems.clone() {
            if kind != Kind::Direct && !kind.is_mesh() && foreign::program(kind).is_none() {
                self.leave_out(kind, "not installed; scripts/bench.sh --install installs it");
            }
        }
    }

    fn leave_out(&mut self, system: Kind, why: impl Into<String>) {
        let why = why.into();
        self.say(&format!("{} is left out: {why}", system.name()));
        self.plan.systems.retain(|kind| *kind != system);
        self.results.left_out.push(LeftOut { system, why });
    }

    /// One repetition of the short workloads on one start of a system.
    async fn short(&mut self, kind: Kind, repetition: usize) {
        let workloads: Vec<_> =
            Workload::SHORT.into_iter().filter(|short| self.plan.workloads.contains(short)).collect();
        if workloads.is_empty() {
            return;
        }
        let Some(system) = self.start(kind, SLOTS).await else { return };
        for workload in workloads {
            let done = workload::run(workload, &system, &self.engines, &self.plan.form, repetition).await;
            match done {
                Ok(run) => self.keep(run),
                Err(error) => return self.leave_out(kind, format!("{}: {error:#}", workload.letter())),
            }
        }
        drop(system);
        self.settle().await;
    }

    /// One repetition of a workload that needs a fresh start of the system.
    async fn long(&mut self, kind: Kind, workload: Workload, repetition: usize) {
        if !self.plan.workloads.contains(&workload) {
            return;
        }
        let slots = if workload == Workload::F { workload::failover::CLIENTS } else { SLOTS };
        let Some(system) = self.start(kind, slots).await else { return };
        let form = &self.plan.form;
        let done = match workload {
            Workload::E => workload::memory::run(&system, &self.engines, form, repetition).await,
            _ => workload::failover::run(&system, &mut self.engines.engines[1], form, repetition).await,
        };
        drop(system);
        match done {
            Ok(run) => self.keep(run),
            Err(error) => self.leave_out(kind, format!("{}: {error:#}", workload.letter())),
        }
        self.settle().await;
    }

    async fn growth(&mut self) -> anyhow::Result<()> {
        let form = self.plan.form.clone();
        for nodes in form.nodes {
            let row = growth::nodes(*nodes, form.watch).await?;
            self.say(&format!("g {row:?}"));
            self.results.growth.nodes.push(row);
        }
        let mesh = Kind::Mesh.start(&self.engines, SLOTS, None).await?;
        for streams in form.in_flight {
            let row = growth::in_flight(&mesh, *streams, form.watch).await;
            self.say(&format!("g {row:?}"));
            self.results.growth.in_flight.push(row);
            self.engines.free(SETTLE).await?;
        }
        drop(mesh);
        self.results.growth.placement = crate::placement::placements(&form)?;
        for row in &self.results.growth.placement {
            self.say(&format!("g {row:?}"));
        }
        Ok(())
    }

    async fn start(&mut self, kind: Kind, slots: usize) -> Option<System> {
        match kind.start(&self.engines, slots, self.plan.before.as_deref()).await {
            Ok(system) => Some(system),
            Err(error) => {
                self.leave_out(kind, format!("{error:#}"));
                None
            }
        }
    }

    /// Waits until nothing of the last system burdens the next one.
    async fn settle(&self) {
        let settled = async {
            self.engines.free(SETTLE).await?;
            // One that was killed and is back has forgotten its model.
            self.engines.load().await
        };
        if let Err(error) = settled.await {
            self.say(&format!("{error:#}"));
        }
    }

    fn keep(&mut self, run: Run) {
        let all = crate::figure::FIGURES.iter().filter(|figure| figure.workload == run.workload);
        let figures: Vec<_> = all
            .filter_map(|figure| {
                let value = run.figures.get(figure.key)?;
                Some(format!("{} {} {}", figure.title, number(*value), figure.unit))
            })
            .collect();
        let (name, letter) = (run.system.name(), run.workload.letter());
        self.say(&format!("{letter} {name} {}: {}", run.repetition, figures.join(", ")));
        if !run.is_good() {
            let (faults, errors) = (run.faults, run.errors);
            self.say(&format!("  {errors} errors, {faults:?}: {}", run.messages.join("; ")));
        }
        self.results.runs.push(run);
    }

    fn say(&self, what: &str) {
        eprintln!("[{:4} s] {what}", self.started.elapsed().as_secs());
    }
}

/// Enough that no request of any workload waits for an engine.
const SLOTS: usize = 8_192;
const SETTLE: Duration = Duration::from_secs(30);
