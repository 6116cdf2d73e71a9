//! What holds of a mesh on paper.

use std::collections::BTreeMap;

use super::*;
use crate::sim::engine::OVERHEAD;
use crate::sim::report::{Case, Figures, Who, oracles, trouble};
use crate::sim::text::Texts;
use crate::sim::trace::{NAMES, Weight};

fn all_policies() -> Vec<Who> {
    let named = ["rr", "lc", "echo"].map(|name| Who::of(name, Texts::Short).unwrap());
    named.into_iter().chain(oracles().into_iter().take(2).map(|(_, who)| who)).collect()
}

fn play(trace: &str, who: Who, setup: Setup) -> Run {
    Case { trace, weight: small(trace), setup, who }.play().unwrap()
}

fn small(trace: &str) -> Weight {
    Weight { load: None, count: Some(if trace == "burst" { 2 } else { 20 }) }
}

fn words(run: &Run) -> Vec<String> {
    run.tickets.iter().map(|ticket| format!("{ticket:?}")).collect()
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for who in all_policies() {
        for (trace, orchestrators) in [("mixed", 1), ("burst", 3)] {
            let setup = Setup { orchestrators, ..Setup::new(5) };
            let again = play(trace, who, setup);
            assert_eq!(words(&play(trace, who, setup)), words(&again), "{trace} {who:?}");
            let other = Setup { seed: 6, ..setup };
            assert_ne!(words(&play(trace, who, other)), words(&again), "{trace} {who:?}");
        }
    }
}

#[test]
fn every_task_ends_in_time_that_goes_forward() {
    for trace in NAMES {
        for who in all_policies() {
            let run = play(trace, who, Setup::new(1));
            assert_eq!(run.tickets.len(), Trace::of(trace, 1, small(trace)).unwrap().total());
            for ticket in &run.tickets {
                let Outcome::Done { job, .. } = ticket.outcome else { panic!("{trace} {who:?}: {ticket:?}") };
                assert_eq!(job.ask, ticket.ask);
                assert!(ticket.arrived <= job.entered && job.ended - ticket.arrived > OVERHEAD);
            }
        }
    }
}

#[test]
fn the_turns_of_a_script_come_one_after_the_other() {
    let run = play("chat", Who::LeastConnections, Setup::new(1));
    let mut ends: BTreeMap<usize, f64> = BTreeMap::new();
    for ticket in &run.tickets {
        let Outcome::Done { job, .. } = ticket.outcome else { panic!("{ticket:?}") };
        if let Some(before) = ends.insert(ticket.script, job.ended) {
            assert!(ticket.arrived >= before, "{ticket:?}");
        }
    }
}

#[test]
fn an_orchestrator_never_fills_a_node_beyond_its_slots_and_several_are_refused() {
    let echo = Who::Echo(Texts::Short);
    for orchestrators in [1, 5] {
        let setup = Setup { orchestrators, ..Setup::new(2) };
        let run = play("burst", echo, setup);
        let mut changes: Vec<_> = Vec::new();
        for ticket in &run.tickets {
            let Outcome::Done { node, job } = ticket.outcome else { panic!("{ticket:?}") };
            changes.extend([(job.ended, node, -1_i64), (job.entered, node, 1)]);
        }
        changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
        let (mut active, slots) = ([0_i64; 5], [1, 2, 2, 4, 4]);
        for (_, node, change) in changes {
            active[node] += change;
            assert!(active[node] <= slots[node]);
        }
        assert_eq!(run.refusals > 0, orchestrators > 1, "{}", run.refusals);
    }
}

/// Gives every second task up.
#[derive(Default)]
struct Careless(usize);

impl Policy for Careless {
    fn submit(&mut self, task: usize, mesh: &mut Mesh) {
        self.0 += 1;
        if self.0.is_multiple_of(2) { mesh.fail(task) } else { mesh.enter(task, 0) }
    }
}

#[test]
fn what_a_mesh_gives_up_is_counted_and_its_client_goes_on() {
    let trace = Trace::of("chat", 1, Weight { load: None, count: Some(5) }).unwrap();
    let total = trace.total();
    let run = World::new(trace, Setup::new(1), |_, _| Box::<Careless>::default()).run().unwrap();
    let figures = Figures::of(&run);
    assert_eq!((figures.tasks, figures.failed), (total as f64, (total / 2) as f64));
}

/// Takes every task and does nothing about it.
struct Idle;

impl Policy for Idle {
    fn submit(&mut self, _: usize, _: &mut Mesh) {}
}

#[test]
fn a_standstill_is_an_error_and_no_endless_loop() {
    let trace = Trace::of("two", 1, Weight { load: None, count: Some(3) }).unwrap();
    let error = World::new(trace, Setup::new(1), |_, _| Box::new(Idle)).run().unwrap_err();
    assert!(error.contains("nothing happens"), "{error}");
}

#[test]
fn a_node_that_becomes_slow_gets_less_and_then_its_share_again() {
    let knows = oracles().remove(0);
    let thirds = trouble(&[("knows".to_owned(), knows.1)], &[1, 2], 2).unwrap().remove(0);
    let ([before, during, after], [quick, slow, _]) = (thirds.share, thirds.mean);
    assert!(during < 0.6 * before && after > 0.8 * before, "{thirds:?}");
    assert!(slow > quick, "{thirds:?}");
}

#[test]
fn who_knows_everything_is_best() {
    for trace in ["two", "five", "burst"] {
        let mean = |who| Figures::of(&play(trace, who, Setup::new(4))).mean;
        let best = oracles().into_iter().map(|(_, who)| mean(who)).fold(f64::INFINITY, f64::min);
        for name in ["rr", "lc", "echo"] {
            assert!(mean(Who::of(name, Texts::Short).unwrap()) >= best, "{name} on {trace}");
        }
    }
}
