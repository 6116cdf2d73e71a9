//! What the runs of one row came to.

use std::{collections::BTreeMap, time::Duration};

use super::judge::Verdict;

/// Counts and measurements; those of several runs add up.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub runs: u64,
    pub tasks: u64,
    pub answered: u64,
    /// Documented errors by their code.
    pub honest: BTreeMap<String, u64>,
    /// Tasks whose client hung up, or whose edge was killed under it.
    pub gone: u64,
    /// Finished by engines more often than their clients heard of, through an unclear dispatch.
    pub again: u64,
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
    /// The longest time between two tokens of an answer that met the fault.
    pub gaps: Vec<Duration>,
    /// From the end of the fault until the mesh was whole again.
    pub wholes: Vec<Duration>,
    /// Promises that did not hold.
    pub broken: Vec<String>,
}

impl Tally {
    pub fn count(&mut self, task: &str, verdict: &Verdict) {
        self.tasks += 1;
        match verdict {
            Verdict::Answered => self.answered += 1,
            Verdict::Honest(code) => *self.honest.entry(code.clone()).or_default() += 1,
            Verdict::Lost(why) => self.lost.push(format!("task {task}: {why}")),
            Verdict::Doubled(why) => self.doubled.push(format!("task {task}: {why}")),
        }
    }

    /// A task whose client has gone; what it saw until then must have been a beginning of the answer.
    pub fn left(&mut self, task: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Answered => (self.tasks, self.gone) = (self.tasks + 1, self.gone + 1),
            other => self.count(task, other),
        }
    }

    pub fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.tasks += other.tasks;
        self.answered += other.answered;
        for (code, count) in other.honest {
            *self.honest.entry(code).or_default() += count;
        }
        self.gone += other.gone;
        self.again += other.again;
        self.lost.extend(other.lost);
        self.doubled.extend(other.doubled);
        self.gaps.extend(other.gaps);
        self.wholes.extend(other.wholes);
        self.broken.extend(other.broken);
    }

    /// Everything that must not be.
    pub fn faults(&self) -> impl Iterator<Item = String> {
        let named = |what: &'static str, all: &[String]| {
            all.iter().map(move |why| format!("{what}: {why}")).collect::<Vec<_>>()
        };
        let lost = named("lost", &self.lost);
        lost.into_iter().chain(named("doubled", &self.doubled)).chain(named("broken promise", &self.broken))
    }

    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.broken.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_counted_in_one_place() {
        let mut tally = Tally::default();
        let lost = Verdict::Lost("no end".to_owned());
        tally.count("1", &Verdict::Answered);
        tally.count("2", &Verdict::Honest("expired".to_owned()));
        tally.count("3", &lost);
        tally.count("4", &Verdict::Doubled("two ends".to_owned()));
        tally.left("5", &Verdict::Answered);
        tally.left("6", &lost);
        let counts = (tally.tasks, tally.answered, tally.honest["expired"], tally.gone);
        assert_eq!(counts, (6, 1, 1, 1));
        assert_eq!((tally.lost.len(), tally.doubled.len(), tally.is_clean()), (2, 1, false));
        let mut sum = Tally { runs: 1, ..Tally::default() };
        assert!(sum.is_clean());
        sum.add(tally.clone());
        sum.add(Tally { runs: 1, broken: vec!["slow".to_owned()], ..tally });
        assert_eq!((sum.runs, sum.tasks, sum.honest["expired"], sum.faults().count()), (2, 12, 2, 7));
    }
}
