//! What holds of a mesh on paper.

use std::collections::BTreeMap;

use super::*;
use crate::sim::engine::OVERHEAD;
use crate::sim::parts::{Proposal, without};
use crate::sim::report::{Case, Figures, POLICIES, Question, Wait, Who, markdown, oracles, trouble};
use crate::sim::text::Texts;
use crate::sim::trace::{NAMES, Weight};

fn all_policies() -> Vec<Who> {
    let named = POLICIES.map(|name| Who::of(name, Texts::Short).unwrap());
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
    let echo = Who::Echo(Texts::Short.into());
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
    let run =
        World::new(trace, Setup::new(1), Lack::Nothing, |_, _| Box::<Careless>::default()).run().unwrap();
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
    let error = World::new(trace, Setup::new(1), Lack::Nothing, |_, _| Box::new(Idle)).run().unwrap_err();
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
        for name in POLICIES {
            assert!(mean(Who::of(name, Texts::Short).unwrap()) >= best, "{name} on {trace}");
        }
    }
}

#[test]
fn by_counts_a_task_goes_at_once_to_a_free_node_or_waits_for_the_first_slot_in_order() {
    for orchestrators in [1, 3] {
        let setup = Setup { orchestrators, ..Setup::new(3) };
        let run = play("burst", Who::Counts, setup);
        let mut by_entry: Vec<_> = run.tickets.iter().collect();
        let Some(entered) = run.tickets.iter().map(entered).collect::<Option<Vec<_>>>() else {
            panic!("a task has not ended")
        };
        by_entry
            .sort_by(|a, b| entered[a.ask.id].total_cmp(&entered[b.ask.id]).then(a.ask.id.cmp(&b.ask.id)));
        let waited = run.tickets.iter().filter(|it| entered[it.ask.id] > it.arrived).count();
        assert!(waited > 0 && waited < run.tickets.len(), "{waited}");
        // One model, so one line for each orchestrator.
        for owner in 0..orchestrators {
            let order = by_entry.iter().filter(|it| it.owner == owner).map(|it| it.ask.id);
            assert!(order.is_sorted(), "{orchestrators} orchestrators");
        }
    }
}

fn entered(ticket: &Ticket) -> Option<f64> {
    match ticket.outcome {
        Outcome::Done { job, .. } => Some(job.entered),
        _ => None,
    }
}

#[test]
fn by_counts_a_loaded_model_is_thrown_out_for_a_free_slot_and_by_expectation_less_often() {
    let [counts, echo] = ["counts", "echo"].map(|name| {
        let who = Who::of(name, Texts::Whole).unwrap();
        let weight = Weight { load: None, count: Some(100) };
        Case { trace: "five", weight, setup: Setup::new(1), who }.play().unwrap()
    });
    assert!(2 * counts.loads > 3 * echo.loads, "{} and {}", counts.loads, echo.loads);
}

#[test]
fn without_any_part_some_tasks_go_elsewhere_and_the_same_ones_each_time() {
    let came = |(trace, count): (&str, usize), proposal| {
        let weight = Weight { load: None, count: Some(count) };
        let run = Case { trace, weight, setup: Setup::new(1), who: Who::Echo(proposal) }.play().unwrap();
        run.tickets.iter().map(|it| format!("{:?}", it.outcome)).collect::<Vec<_>>()
    };
    // The quickest to play first.
    let traces = [("five", 40), ("burst", 2), ("owner", 200), ("code", 10), ("flood", 20)];
    let whole = traces.map(|trace| came(trace, Proposal::default()));
    for (name, proposal) in without() {
        let mut without =
            traces.iter().zip(&whole).map(|(&trace, whole)| (trace, came(trace, proposal), whole));
        let Some((trace, came_without, _)) = without.find(|(_, came, whole)| came != *whole) else {
            panic!("{name} makes no difference")
        };
        assert_eq!(came(trace, proposal), came_without, "{name}");
    }
}

#[test]
fn who_asks_little_does_not_wait_for_who_floods() {
    let wait = |name: &str| {
        let run = play("flood", Who::of(name, Texts::Whole).unwrap(), Setup::new(1));
        ["polite", "flood"].map(|client| Wait::of(&run, client))
    };
    let ([polite, flood], [before, _]) = (wait("echo"), wait("no turns of clients"));
    assert!(polite.tasks >= 5.0 && flood.tasks > 190.0, "{polite:?}");
    assert!(polite.mean < 5.0 && polite.mean * 5.0 < before.mean, "{polite:?} after {before:?}");
}

#[test]
fn what_tasks_are_told_is_kept_with_what_came() {
    let run = play("burst", Who::Echo(Texts::Whole.into()), Setup::new(1));
    let told = |of: fn(&Ticket) -> Option<Guess>| run.tickets.iter().filter_map(of).collect::<Vec<_>>();
    let (waits, ends) = (told(|it| it.told.wait), told(|it| it.told.end));
    assert!(!waits.is_empty() && ends.len() > run.tickets.len() / 2, "{} {}", waits.len(), ends.len());
    for guess in waits.iter().chain(&ends) {
        assert!(guess.seconds >= 0.0 && guess.seconds < 600.0, "{guess:?}");
    }
    let figures = Figures::of(&run);
    assert!(figures.ends.p50 > 0.0 && figures.ends.of_it_p50 < 1.0, "{:?}", figures.ends);
}

#[test]
fn the_best_in_order_is_no_better_than_the_best_of_all() {
    let question = Question {
        trace: "two".to_owned(),
        weight: small("two"),
        seeds: vec![1, 2],
        orchestrators: 1,
        beat: 1.0,
        policies: vec![("lc".to_owned(), Who::LeastConnections)],
    };
    let sheet = question.answer(&question.reference(2).unwrap(), 2).unwrap();
    let row = |name: &str| sheet.rows.iter().find(|row| row.policy == name).unwrap();
    let [lc, in_order, best] = ["lc", "in order", "oracle"].map(row);
    assert!(best.figures.mean <= in_order.figures.mean && in_order.figures.mean < lc.figures.mean);
    assert_eq!((best.of_best.mean, in_order.of_in_order.mean), (1.0, 1.0));
    // With one model and single questions there is one way to keep the order.
    let fifo = sheet.oracles.iter().find(|(name, _)| name == "fifo").unwrap().1;
    assert_eq!(fifo, in_order.figures.mean);
    assert!(lc.of_in_order.mean <= lc.of_best.mean);
    let table = markdown(std::slice::from_ref(&sheet));
    assert_eq!(table.matches("| `two` |").count(), sheet.rows.len(), "{table}");
}
