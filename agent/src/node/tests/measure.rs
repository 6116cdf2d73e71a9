//! What a node tells for the scheduler.

use echo_bus::message::{CacheDigest, Done, Reason, Timings};

use super::*;
use crate::facts::About;

impl Bench {
    /// A node that is calibrated when it is quiet.
    fn calibrating(models: &[&str], loaded: bool) -> Self {
        let mut bench = Self::new(2);
        bench.node.calibration = Calibration::new(true, bench.now.at);
        bench.probed(models, loaded);
        bench
    }

    fn probed(&mut self, models: &[&str], loaded: bool) {
        let mut probe = probe(models);
        probe.models.iter_mut().for_each(|found| found.model.loaded = loaded);
        self.apply(Event::Probed(Ok(probe)));
    }

    fn digests(&mut self) -> Vec<CacheDigest> {
        let digest = |action: &Action| match action {
            Action::Caches(digest) => Some((**digest).clone()),
            _ => None,
        };
        let digests = self.out.iter().filter_map(digest).collect();
        self.out.clear();
        digests
    }

    fn calibrations(&mut self) -> usize {
        let count = self.out.iter().filter(|action| matches!(action, Action::Calibrate(_))).count();
        self.out.clear();
        count
    }

    /// Something changes in the caches.
    fn prompt(&mut self, key: Option<AttemptId>) -> crate::facts::Run {
        let request = Request::Generate(Generate { prompt: "x".repeat(5000), ..Generate::default() });
        let about = About { key, model: "m:latest", request: &request, so_far: None, loaded: true };
        self.node.facts.begin(about, self.now.at)
    }
}

#[test]
fn caches_are_told_when_they_change_and_now_and_then_and_not_in_a_flood() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.digests().len(), 1);
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.digests().len(), 2);
    for _ in 0..20 {
        drop(bench.prompt(None));
        bench.pass(ms(50));
    }
    assert_eq!(bench.digests().len(), 20, "each end at once");
    let _runs = [bench.prompt(None), bench.prompt(None)];
    bench.pass(ms(150));
    assert_eq!(bench.digests().len(), 0);
    bench.pass(ms(150));
    let told = bench.digests().pop().unwrap();
    assert!(told.models[0].slots.iter().any(|slot| slot.busy && slot.blocks.len() == 4));
}

/// Whoever hears that a slot is free has to know whether its prompt comes back.
#[test]
fn what_an_ended_attempt_has_left_is_told_before_its_slot_is_free() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.dispatch(bench.task(1, 1)), None);
    let run = bench.prompt(Some(key(1, 1)));
    bench.pass(ms(300));
    bench.jump(ms(30));
    bench.out.clear();
    let request = Request::Generate(Generate { prompt: "x".repeat(5000), ..Generate::default() });
    let done = Done { reason: Reason::ToolCalls, ..Done::default() };
    run.done(&request, &done, bench.now.at);
    bench.end(1, 1, End::Done);
    let order = bench.out.iter().filter_map(|action| match action {
        Action::Caches(digest) => Some((digest.models[0].slots[0].tool, digest.models[0].slots[0].attempt)),
        Action::Beat(beat) => Some((beat.status == NodeStatus::Busy, None)),
        _ => None,
    });
    assert_eq!(order.collect::<Vec<_>>(), [(true, Some(held(1, 1))), (false, None)]);
}

#[test]
fn a_hundred_short_answers_a_second_do_not_make_a_hundred_digests_and_long_ones_fewer() {
    let count = |bytes: usize| {
        let mut bench = Bench::new(4);
        bench.digests();
        let mut told = Vec::new();
        for number in 0..100 {
            let prompt = format!("{number:06}{}", "x".repeat(bytes));
            let request = Request::Generate(Generate { prompt, ..Generate::default() });
            let about = About { key: None, model: "m:latest", request: &request, so_far: None, loaded: true };
            let run = bench.node.facts.begin(about, bench.now.at);
            bench.jump(ms(10));
            run.done(&request, &Done::default(), bench.now.at);
            bench.apply(Event::Freed);
            told.extend(bench.digests());
        }
        let bytes: usize = told.iter().map(|digest| serde_json::to_vec(digest).unwrap().len()).sum();
        println!("a hundred ends in a second: {} digests of {bytes} bytes together", told.len());
        (told.len(), bytes)
    };
    let (short, long, longest) = (count(500), count(20_000), count(200_000));
    assert!((45..=51).contains(&short.0) && short.1 < 40_000, "{short:?}");
    assert!(long.0 < 51 && long.1 < 300_000, "{long:?}");
    assert!(longest.0 < long.0 && longest.1 < 300_000, "{longest:?}");
}

#[test]
fn a_busy_node_tells_its_models_no_more_often_than_a_quiet_one() {
    let mut bench = Bench::new(1);
    bench.pass(ms(2500));
    bench.beats();
    for task in 1..=100 {
        assert_eq!(bench.code(bench.task(task, 1)), None);
        bench.jump(ms(10));
        bench.end(task, 1, End::Done);
        bench.jump(ms(10));
    }
    let mut beats = Vec::new();
    for task in 101..=300 {
        bench.apply(Event::Task { message: Ok(Box::new(bench.task(task, 1))), reply: None });
        bench.jump(ms(10));
        bench.end(task, 1, End::Done);
        bench.jump(ms(10));
        beats.extend(bench.beats());
    }
    let told = beats.iter().filter(|beat| beat.models.is_some()).count();
    assert!(beats.len() > 100 && (2..=4).contains(&told), "{told} of {}", beats.len());
}

#[test]
fn what_is_measured_for_the_first_time_does_not_wait() {
    let mut bench = Bench::new(1);
    bench.pass(ms(500));
    bench.beats();
    let mut run = bench.prompt(None);
    run.heard(&[Piece::text("a")], bench.now.at);
    bench.jump(ms(100));
    run.heard(&vec![Piece::text("a"); 20], bench.now.at);
    let request = Request::Generate(Generate::default());
    run.done(&request, &Done { reason: Reason::Stop, ..Done::default() }, bench.now.at);
    bench.node.schedule.changed(false, bench.now.at);
    bench.apply(Event::Tick);
    let beat = bench.beats().pop().unwrap();
    assert!(beat.models.is_some_and(|models| models[0].speeds.len() == 1));
}

#[test]
fn caches_are_told_to_nobody_while_disconnected_and_at_once_after_it() {
    let mut bench = Bench::new(2);
    bench.digests();
    bench.apply(Event::Link(Link { up: false, epoch: 1, closed: false }));
    let _run = bench.prompt(None);
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.digests().len(), 0);
    bench.apply(Event::Link(Link { up: true, epoch: 2, closed: false }));
    assert_eq!(bench.digests().len(), 1);
}

#[test]
fn the_caches_of_an_engine_that_is_down_or_has_unloaded_are_empty() {
    let down = Down { reason: "gone".into(), slow: false };
    type Step = fn(&mut Bench, Down);
    let steps: [Step; 2] =
        [|bench, down| bench.apply(Event::Probed(Err(down))), |bench, _| bench.probed(&["m"], false)];
    for step in steps {
        let mut bench = Bench::new(2);
        drop(bench.prompt(None));
        bench.pass(ms(300));
        assert_eq!(bench.digests().pop().unwrap().models.len(), 1);
        step(&mut bench, down.clone());
        bench.pass(ms(300));
        assert_eq!(bench.digests().pop().unwrap().models.len(), 0);
    }
}

#[test]
fn progress_stands_beside_each_active_attempt() {
    let mut bench = Bench::new(3);
    for task in [3, 1, 2] {
        assert_eq!(bench.dispatch(bench.task(task, 1)), None);
    }
    let mut run = bench.prompt(Some(key(1, 1)));
    run.heard(&[Piece { tokens: Some(7), ..Piece::text("a") }], bench.now.at);
    bench.pass(ms(100));
    let beat = bench.beats().pop().unwrap();
    let order: Vec<_> = beat.active.iter().map(|held| held.id.task).collect();
    assert_eq!(order, [id(1), id(2), id(3)]);
    let told: Vec<_> = beat.progress.iter().map(|it| (it.model.as_str(), it.tokens, it.prompt)).collect();
    assert_eq!(told, [("m:latest", 7, false), ("m:latest", 0, true), ("m:latest", 0, true)]);
}

#[test]
fn a_quiet_node_is_calibrated_once_for_each_start_of_its_engine() {
    let mut bench = Bench::calibrating(&["m"], true);
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.calibrations(), 1);
    bench.apply(Event::Calibrated { failed: false });
    bench.pass(Duration::from_secs(20));
    assert_eq!(bench.calibrations(), 0);
    bench.apply(Event::Probed(Err(Down { reason: "gone".into(), slow: false })));
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.calibrations(), 0, "not while it is down");
    bench.probed(&["m"], true);
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.calibrations(), 1);
}

#[test]
fn only_a_model_in_memory_is_calibrated_and_none_is_loaded_for_that() {
    let mut bench = Bench::calibrating(&["m", "n"], false);
    bench.pass(Duration::from_secs(20));
    assert_eq!(bench.calibrations(), 0);
    bench.probed(&["m", "n"], true);
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.calibrations(), 1);
}

#[test]
fn a_task_ends_a_calibration_and_a_node_in_use_is_not_calibrated() {
    let mut bench = Bench::calibrating(&["m"], true);
    assert_eq!(bench.dispatch(bench.task(1, 1)), None);
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.calibrations(), 0);
    bench.end(1, 1, End::Done);
    bench.pass(Duration::from_secs(3));
    let halt = bench.out.iter().find_map(|action| match action {
        Action::Calibrate(calibrate) => Some(calibrate.halt()),
        _ => None,
    });
    let halt = halt.expect("a calibration");
    assert!(!halt.is_cancelled());
    assert_eq!(bench.dispatch(bench.task(2, 1)), None);
    assert!(halt.is_cancelled());
}

/// The most that measurements can add, on a large node.
#[test]
fn a_heartbeat_of_fifty_models_and_sixteen_slots_stays_small() {
    let mut bench = Bench::new(16);
    let rest = (1..50).map(|number| format!("model-{number}:7b-instruct-q4_K_M"));
    let names: Vec<String> = std::iter::once("m:latest".to_owned()).chain(rest).collect();
    bench.probed(&names.iter().map(String::as_str).collect::<Vec<_>>(), true);
    let empty = serde_json::to_vec(&bench.node.models(bench.now.at)).unwrap().len();
    for name in &names {
        for length in 0..200 {
            let request = Request::Generate(Generate { prompt: "x".repeat(500), ..Generate::default() });
            let about = |task| About {
                key: Some(key(task, 1)),
                model: name,
                request: &request,
                so_far: None,
                loaded: true,
            };
            let mut runs: Vec<_> =
                (0..1 + length % 16).map(|n| bench.node.facts.begin(about(n), bench.now.at)).collect();
            runs.iter_mut().for_each(|run| run.heard(&[Piece::text("a")], bench.now.at));
            bench.jump(ms(310));
            runs.iter_mut().for_each(|run| run.heard(&vec![Piece::text("a"); 16], bench.now.at));
            for run in runs {
                let timings = Timings { prompt_ns: 300_000_000, ..Timings::default() };
                let tokens = Some(1 << (length % 15));
                let done = Done { prompt_tokens: Some(130), tokens, timings, ..Done::default() };
                run.done(&request, &done, bench.now.at);
            }
        }
    }
    (0..16).for_each(|task| assert_eq!(bench.dispatch(bench.task(task, 1)).map(|it| it.code), None));
    let models = serde_json::to_vec(&bench.node.models(bench.now.at)).unwrap().len();
    bench.node.told.models_changed = true;
    bench.pass(ms(100));
    let beat = serde_json::to_vec(&bench.beats().pop().unwrap()).unwrap().len();
    let digest = bench.node.facts.caches(&"n".parse().unwrap(), &"b".parse().unwrap(), bench.now.at);
    let digest = serde_json::to_vec(&digest).unwrap().len();
    bench.probed(&names.iter().map(String::as_str).collect::<Vec<_>>(), false);
    bench.jump(Duration::from_secs(700));
    let quiet = serde_json::to_vec(&bench.node.models(bench.now.at)).unwrap().len();
    println!(
        "bytes: models {empty} before, {models} measured, {quiet} unused, heartbeat {beat}, digest {digest}"
    );
    assert!(beat < 40_000 && quiet < 15_000 && digest < 80_000);
}

/// An engine that says it will unload a model may still have it when it is asked at once.
#[test]
fn after_an_unload_the_engine_is_asked_at_once_and_again() {
    let mut bench = Bench::new(1);
    bench.pass(ms(100));
    bench.probed(&["m"], true);
    let named = Named { model: "m".into(), ..Named::default() };
    assert_eq!(bench.code(Task { request: Request::Unload(named), ..bench.task(1, 1) }), None);
    let it = bench.running.remove(0);
    let report = Report { moves: true, generates: false, ..Report::of(&it) };
    bench.apply(Event::Ended(Box::new(report)));
    let probes = |bench: &mut Bench, time: Duration| {
        bench.out.clear();
        bench.pass(time);
        bench.out.iter().filter(|action| matches!(action, Action::Probe)).count()
    };
    assert_eq!(probes(&mut bench, ms(50)), 1);
    bench.probed(&["m"], true);
    assert_eq!(probes(&mut bench, ms(900)), 0);
    assert_eq!(probes(&mut bench, ms(100)), 1);
    bench.probed(&["m"], false);
    assert!(bench.beats().pop().is_none_or(|beat| beat.models.is_none_or(|models| !models[0].loaded)));
    assert_eq!(probes(&mut bench, ms(3_000)), 0);
}
