//! Plays traces under policies and prints tables, in simulated time:
//!
//! ```text
//! cargo run --release -p echo-orchestrator --features sim --example simulate -- table --traces two,chat --seeds 3
//! ```
//!
//! `rr` and `lc` stand in front of the engines, which queue; `counts` is the rule that the orchestrator had before, and
//! `echo` is the orchestrator of this crate. "Of best" is the mean as a multiple of the best schedule that knows how long
//! each answer becomes, "of in order" as one of the best that keeps the order of arrival.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::{Args, Parser, Subcommand};
use echo_orchestrator::sim::report::{
    POLICIES, Question, Reference, Sheet, Who, clients, markdown, parts, trouble,
};
use echo_orchestrator::sim::text::Texts;
use echo_orchestrator::sim::trace::{NAMES, Weight};
use serde_json::{Value, json};

#[derive(Debug, Parser)]
#[command(about = "A mesh of uneven engines on paper")]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Policies on each trace
    Table(Common),
    /// From light to heavy
    Loads(Common),
    /// One, three and five orchestrators, with a heartbeat every second and every five
    Several(Common),
    /// A node that becomes slow and recovers
    Trouble(Common),
    /// One client that floods and one that does not
    Clients(Common),
    /// The orchestrator without each part of its policy, as a multiple of all of it
    Parts(Common),
}

#[derive(Debug, Args)]
struct Common {
    /// Names of traces, or `all`
    #[arg(long, default_value = "all", value_delimiter = ',', value_name = "NAMES")]
    traces: Vec<String>,
    /// Names of policies: rr, lc, counts, echo, those of the oracles, and `no …` with the name of a part
    #[arg(long, value_delimiter = ',', default_values_t = POLICIES.map(str::to_owned), value_name = "NAMES")]
    policies: Vec<String>,
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    first: u64,
    /// Arrivals as a share of what all nodes together can do at best
    #[arg(long)]
    load: Option<f64>,
    /// Scripts of a trace, or bursts
    #[arg(long)]
    count: Option<usize>,
    /// A word for each prompt: faster, but then no orchestrator can see what caches hold
    #[arg(long)]
    short: bool,
    /// Print tables for documents
    #[arg(long)]
    markdown: bool,
    /// Write the figures to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[arg(long, default_value_t = cores())]
    threads: usize,
}

fn main() -> Result<()> {
    let began = Instant::now();
    let what = Command::parse().what;
    let (What::Table(common)
    | What::Loads(common)
    | What::Several(common)
    | What::Trouble(common)
    | What::Clients(common)
    | What::Parts(common)) = &what;
    common.check()?;
    let figures = match &what {
        What::Table(_) => common.answer(common.traces()?.into_iter().map(|trace| common.question(trace)))?,
        What::Loads(_) => common.answer(common.loads()?)?,
        What::Several(_) => common.answer(common.several()?)?,
        What::Trouble(_) => common.trouble()?,
        What::Clients(_) => common.clients()?,
        What::Parts(_) => common.parts()?,
    };
    if let Some(path) = &common.json {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    eprintln!("({:.1} s)", began.elapsed().as_secs_f64());
    Ok(())
}

impl Common {
    fn traces(&self) -> Result<Vec<&str>> {
        let mut traces = Vec::new();
        for name in &self.traces {
            match NAMES.iter().position(|known| known == name) {
                Some(index) => traces.push(NAMES[index]),
                None if name == "all" => traces.extend(NAMES),
                None => return Err(anyhow!("there is no trace {name:?}; there are {}", NAMES.join(", "))),
            }
        }
        Ok(traces)
    }

    fn policies(&self) -> Result<Vec<(String, Who)>> {
        let texts = if self.short { Texts::Short } else { Texts::Whole };
        let known = |name: &String| {
            let who = Who::of(name, texts).ok_or_else(|| anyhow!("there is no policy {name:?}"))?;
            Ok((name.clone(), who))
        };
        self.policies.iter().map(known).collect()
    }

    fn seeds(&self) -> Vec<u64> {
        (self.first..self.first.saturating_add(self.seeds)).collect()
    }

    fn question(&self, trace: &str) -> Question {
        Question {
            trace: trace.to_owned(),
            weight: Weight { load: self.load, count: self.count },
            seeds: self.seeds(),
            orchestrators: 1,
            beat: 1.0,
            policies: Vec::new(),
        }
    }

    fn loads(&self) -> Result<Vec<Question>> {
        let mut questions = Vec::new();
        for trace in self.traces()? {
            for load in loads_of(trace) {
                let question = self.question(trace);
                questions
                    .push(Question { weight: Weight { load: Some(*load), ..question.weight }, ..question });
            }
        }
        Ok(questions)
    }

    fn several(&self) -> Result<Vec<Question>> {
        let mut questions = Vec::new();
        for trace in self.traces()? {
            for beat in [1.0, 5.0] {
                let with = |orchestrators| Question { orchestrators, beat, ..self.question(trace) };
                questions.extend([1, 3, 5].map(with));
            }
        }
        Ok(questions)
    }

    fn answer(&self, questions: impl IntoIterator<Item = Question>) -> Result<Value> {
        let mut sheets: Vec<Sheet> = Vec::new();
        // Neither heartbeats nor orchestrators make a difference to who knows everything.
        let mut known: Option<((String, Weight), Reference)> = None;
        for question in questions {
            let question = Question { policies: self.policies()?, ..question };
            let about = (question.trace.clone(), question.weight);
            let reference = match known.take() {
                Some((same, reference)) if same == about => reference,
                _ => question.reference(self.threads).map_err(|error| anyhow!(error))?,
            };
            let sheet = question.answer(&reference, self.threads).map_err(|error| anyhow!(error))?;
            known = Some((about, reference));
            if !self.markdown {
                println!("{sheet}");
            }
            sheets.push(sheet);
        }
        if self.markdown {
            print!("{}", markdown(&sheets));
        }
        Ok(json!(sheets))
    }

    fn trouble(&self) -> Result<Value> {
        let all = trouble(&self.policies()?, &self.seeds(), self.threads).map_err(|error| anyhow!(error))?;
        all.iter().for_each(|thirds| println!("{thirds}"));
        Ok(json!(all))
    }

    fn clients(&self) -> Result<Value> {
        let all = clients(&self.policies()?, &self.seeds(), self.threads).map_err(|error| anyhow!(error))?;
        all.iter().for_each(|waits| println!("{waits}"));
        Ok(json!(all))
    }

    fn parts(&self) -> Result<Value> {
        let weight = Weight { load: self.load, count: self.count };
        let parts = parts(&self.traces()?, weight, &self.seeds(), self.threads);
        let parts = parts.map_err(|error| anyhow!(error))?;
        print!("{parts}");
        Ok(json!(parts))
    }

    fn check(&self) -> Result<()> {
        ensure!(self.seeds > 0, "--seeds must be at least 1");
        ensure!(self.count != Some(0), "--count must be at least 1");
        ensure!(self.load.is_none_or(|load| load > 0.0), "--load must be more than zero");
        Ok(())
    }
}

/// From light to as heavy as the best schedule can bear.
fn loads_of(trace: &str) -> &'static [f64] {
    match trace {
        "two" => &[0.15, 0.3, 0.45, 0.6, 0.75],
        "five" => &[0.2, 0.3, 0.4, 0.5],
        "chat" => &[0.3, 0.45, 0.55, 0.7],
        "code" => &[0.25, 0.5, 0.75, 1.0],
        "burst" => &[0.2, 0.35, 0.5, 0.65],
        "owner" => &[0.2, 0.4, 0.55],
        "fifty" => &[0.15, 0.25, 0.35],
        _ => &[0.25, 0.5, 0.65],
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
