//! Traces under policies, side by side: means over seeds, as multiples of the best schedule that knows everything.

mod errors;
mod figures;
mod markdown;
mod parts;
mod table;
mod trouble;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::beat::Lack;
use super::counts::Counts;
use super::front::{LeastConnections, RoundRobin};
use super::oracle::{Clairvoyant, Oracle};
use super::parts::{Proposal, without};
use super::product::Product;
use super::text::Texts;
use super::trace::{Trace, Weight};
use super::world::{Mesh, Policy, Run, Setup, World};

pub use errors::Errors;
pub use figures::Figures;
pub use markdown::markdown;
pub use parts::{Parts, parts};
pub use table::{Question, Reference, Row, Sheet};
pub use trouble::{Thirds, trouble};

/// Who gives tasks to nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Who {
    RoundRobin,
    LeastConnections,
    /// The rule that the product had before.
    Counts,
    /// The orchestrator of the product, as it is in this crate, or without a part.
    Echo(Proposal),
    Oracle(Oracle),
}

/// The policies by name, without the oracles.
pub const POLICIES: [&str; 4] = ["rr", "lc", "counts", "echo"];

impl Who {
    /// A policy by its name; `None` if there is none of that name.
    pub fn of(name: &str, texts: Texts) -> Option<Self> {
        let part = || {
            let part = name.strip_prefix("no ")?;
            without().into_iter().find(|(known, _)| *known == part).map(|(_, it)| Self::Echo(it))
        };
        Some(match name {
            "rr" => Self::RoundRobin,
            "lc" => Self::LeastConnections,
            "counts" => Self::Counts,
            "echo" => Self::Echo(texts.into()),
            _ => {
                return oracles()
                    .into_iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, who)| who)
                    .or_else(part);
            }
        })
    }

    /// It keeps the order of arrival, and knows everything.
    pub fn knows_in_order(self) -> bool {
        matches!(self, Self::Oracle(it) if !it.shortest_first)
    }

    /// What the agents do not tell.
    pub fn lack(self) -> Lack {
        match self {
            Self::Echo(proposal) => proposal.lack,
            _ => Lack::Nothing,
        }
    }

    /// As one orchestrator has it, the one of this number.
    pub fn policy(self, number: usize, mesh: &Mesh) -> Box<dyn Policy> {
        match self {
            Self::RoundRobin => Box::new(RoundRobin::default()),
            Self::LeastConnections => Box::new(LeastConnections::new(mesh.nodes())),
            Self::Counts => Box::<Counts>::default(),
            Self::Echo(proposal) => Box::new(Product::new(number, proposal, mesh)),
            Self::Oracle(how) => Box::new(Clairvoyant::from(how)),
        }
    }
}

/// Each knows every duration. What counts as the best is the best of them, seed by seed.
pub fn oracles() -> Vec<(&'static str, Who)> {
    let oracle = |shortest_first, evict, worth| Who::Oracle(Oracle { shortest_first, evict, worth });
    vec![
        ("fifo", oracle(false, 120.0, 8.0)),
        ("short", oracle(true, 120.0, 8.0)),
        ("fifo evict 0", oracle(false, 0.0, 8.0)),
        ("fifo evict 30", oracle(false, 30.0, 8.0)),
        ("fifo worth 2", oracle(false, 120.0, 2.0)),
        ("fifo worth 4", oracle(false, 120.0, 4.0)),
        ("fifo worth 16", oracle(false, 120.0, 16.0)),
        ("short worth 2", oracle(true, 120.0, 2.0)),
        ("short worth 16", oracle(true, 120.0, 16.0)),
    ]
}

/// Those of them that differ on this trace: with one model nothing is thrown out, and single questions are not continued.
pub fn oracles_of(trace: &Trace) -> Vec<(&'static str, Who)> {
    let models = trace.models.len() > 1;
    let sessions = trace.scripts.iter().any(|script| script.turns.len() > 1);
    let mut all = oracles();
    all.retain(|(name, _)| (models || !name.contains("evict")) && (sessions || !name.contains("worth")));
    all
}

/// One play of one trace.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    pub trace: &'a str,
    pub weight: Weight,
    pub setup: Setup,
    pub who: Who,
}

impl Case<'_> {
    /// Plays it.
    ///
    /// # Errors
    /// When there is no such trace, or when it comes to a standstill.
    pub fn play(&self) -> Result<Run, String> {
        let trace = known(self.trace, self.setup.seed, self.weight)?;
        let policy = |number, mesh: &Mesh| self.who.policy(number, mesh);
        World::new(trace, self.setup, self.who.lack(), policy).run()
    }
}

fn known(name: &str, seed: u64, weight: Weight) -> Result<Trace, String> {
    Trace::of(name, seed, weight).ok_or_else(|| format!("there is no trace {name:?}"))
}

/// Plays all cases on so many threads; what came of each, in their order.
///
/// # Errors
/// With the first error.
pub fn play_all<T: Send>(
    cases: &[Case<'_>],
    threads: usize,
    look: impl Fn(&Case<'_>, &Run) -> T + Sync,
) -> Result<Vec<T>, String> {
    let (next, seen) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(cases.len())));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some((number, case)) =
                    cases.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed))
                {
                    let came = case.play().map(|run| look(case, &run));
                    seen.lock().expect("nobody panics with it").push((number, came));
                }
            });
        }
    });
    let mut seen = seen.into_inner().expect("nobody panics with it");
    seen.sort_by_key(|(number, _)| *number);
    seen.into_iter().map(|(_, came)| came).collect()
}
