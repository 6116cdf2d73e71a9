//! Who gives tasks to nodes: the policies and the oracles, by name.

use crate::sim::counts::Counts;
use crate::sim::front::{LeastConnections, RoundRobin};
use crate::sim::lack::Lack;
use crate::sim::oracle::{Clairvoyant, Oracle};
use crate::sim::parts::{Proposal, without};
use crate::sim::product::Product;
use crate::sim::text::Texts;
use crate::sim::trace::Trace;
use crate::sim::world::{Mesh, Policy};

/// One policy.
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
