//! One play of one trace, and many of them at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::who::Who;
use crate::sim::trace::{Trace, Weight};
use crate::sim::world::{Mesh, Run, Setup, World};

/// What is played, and under whom.
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

pub(super) fn known(name: &str, seed: u64, weight: Weight) -> Result<Trace, String> {
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
