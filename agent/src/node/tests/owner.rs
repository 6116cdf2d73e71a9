use super::*;
use crate::owner::{OwnerArgs, Usage};

#[derive(Debug, clap::Parser)]
struct Command {
    #[command(flatten)]
    owner: OwnerArgs,
}

fn rules(args: &[&str]) -> Rules {
    let args = ["agent"].iter().chain(args);
    let command = <Command as clap::Parser>::try_parse_from(args).unwrap();
    command.owner.check().unwrap()
}

impl Bench {
    fn status(&mut self) -> (NodeStatus, String, Option<Paused>) {
        self.out.clear();
        self.pass(ms(1100));
        let beat = self.beats().pop().expect("one a second");
        (beat.status, beat.reason, beat.paused)
    }

    /// The clock on the wall is set to this time of the day, in universal time.
    fn set_clock(&mut self, hour: u64, minute: u64) {
        const DAY: u64 = 86_400_000;
        self.now.unix_ms = self.now.unix_ms / DAY * DAY + DAY + (hour * 60 + minute) * 60_000;
    }
}

#[test]
fn outside_of_its_hours_a_node_finishes_what_it_has_and_says_when_it_works_again() {
    let mut bench = Bench::of(2, rules(&["--hours", "22:00-07:00"]));
    bench.set_clock(23, 0);
    assert_eq!(bench.status().0, NodeStatus::Idle);
    assert_eq!(bench.code(bench.task(1, 1)), None);
    bench.set_clock(7, 0);
    assert_eq!(bench.code(bench.task(2, 1)), Some(Code::Draining), "before any tick");
    let refusal = bench.dispatch(bench.task(3, 1)).unwrap();
    assert!(refusal.message.ends_with("outside of its hours (22:00-07:00), again at 22:00"), "{refusal:?}");
    let reason = "outside of its hours (22:00-07:00), again at 22:00".to_owned();
    assert_eq!(bench.status(), (NodeStatus::Draining, reason, Some(Paused::Hours)));
    assert!(!bench.is_stopped(1, 1));
    bench.end(1, 1, End::Done);
    bench.set_clock(22, 0);
    assert_eq!(bench.status(), (NodeStatus::Idle, String::new(), None));
    assert_eq!(bench.code(bench.task(4, 1)), None);
}

#[test]
fn hours_that_begin_are_told_at_once() {
    let mut bench = Bench::of(1, rules(&["--hours", "22:00-07:00"]));
    bench.set_clock(21, 59);
    assert_eq!(bench.status().0, NodeStatus::Draining);
    bench.set_clock(22, 0);
    bench.out.clear();
    bench.pass(ms(50));
    assert_eq!(bench.beats()[0].status, NodeStatus::Idle);
}

#[test]
fn an_order_wins_over_the_hours_and_says_so() {
    let mut bench = Bench::of(1, rules(&["--hours", "22:00-07:00"]));
    bench.set_clock(12, 0);
    bench.apply(Event::Tick);
    bench.out.clear();
    bench.apply(Event::Ordered { wish: Some(Wish::Resume), reply: None });
    let works = |it: &Action| matches!(it, Action::Ordered { now, .. } if !now.draining);
    assert!(bench.out.iter().any(works));
    assert_eq!(bench.status().0, NodeStatus::Idle);
    bench.apply(Event::Drain);
    assert_eq!(bench.status(), (NodeStatus::Draining, "drained by its owner".into(), Some(Paused::Owner)));
    bench.jump(ms(50));
    bench.out.clear();
    bench.apply(Event::Stop);
    let (beat, stopping) = (bench.beats().remove(0), Some(Paused::Stopping));
    assert_eq!((beat.reason.as_str(), beat.paused), ("its agent is stopping", stopping));
}

#[test]
fn no_more_slots_are_offered_than_the_owner_says_whatever_the_engine_has() {
    let mut bench = Bench::of(4, rules(&["--max-slots", "2"]));
    assert_eq!(bench.code(bench.task(1, 1)), None);
    assert_eq!(bench.code(bench.task(2, 1)), None);
    assert_eq!(bench.code(bench.task(3, 1)), Some(Code::Full));
    bench.out.clear();
    bench.pass(ms(50));
    let beat = bench.beats().remove(0);
    assert_eq!((beat.slots, beat.limits), (2, vec!["offers 2 of 4 slots".to_owned()]));
    bench.node.identity.slots = None;
    let mut asked = |slots| {
        bench.apply(Event::Probed(Ok(Probe { slots: Some(slots), ..probe(&["m"]) })));
        bench.out.clear();
        bench.pass(ms(1100));
        let beat = bench.beats().remove(0);
        (beat.slots, beat.limits.len())
    };
    assert_eq!([asked(1), asked(2), asked(16)], [(1, 0), (2, 0), (2, 1)]);
}

#[test]
fn models_that_are_not_offered_are_not_told_not_run_and_not_managed() {
    let mut bench = Bench::of(1, rules(&["--models", "llama3*,m"]));
    bench.node.identity.model_management = true;
    bench.apply(Event::Probed(Ok(probe(&["secret", "m", "llama3.1:70b"]))));
    bench.out.clear();
    bench.pass(ms(1100));
    let beat = bench.beats().remove(0);
    let told: Vec<_> = beat.models.unwrap().into_iter().map(|model| model.name).collect();
    assert_eq!(told, ["llama3.1:70b", "m:latest"]);
    assert_eq!(beat.limits, ["offers only the models llama3*, m"]);
    let named = |model: &str| Named { model: model.into(), ..Named::default() };
    let mut code = |number, request| {
        let mut task = bench.task(number, 1);
        task.request = request;
        bench.dispatch(task).map(|failure| (failure.code, failure.served))
    };
    let generate =
        |model: &str| Request::Generate(Generate { model: Some(model.into()), ..Generate::default() });
    let refused = Some((Code::NotAllowed, vec![]));
    assert_eq!(code(1, generate("secret")), refused);
    assert_eq!(code(2, Request::Show(named("secret:latest"))), refused);
    assert_eq!(code(3, Request::Pull(named("secret2"))), refused);
    assert_eq!(code(4, Request::Delete(named("secret"))), refused);
    assert_eq!(code(5, Request::Pull(named("llama3:8b"))), None);
    assert_eq!(code(6, generate("m")), None);
}

#[test]
fn while_others_need_the_machine_the_node_drains_and_then_goes_on_by_itself() {
    let mut bench = Bench::of(1, rules(&["--pause-on-load", "0.5"]));
    let usage = |processor| Usage { processor: Some(processor), ..Usage::default() };
    let measured = |bench: &mut Bench, usage: Usage, seconds| {
        for _ in 0..seconds {
            bench.pass(ms(1000));
            bench.apply(Event::Usage { usage: Some(usage), zone: TimeZone::UTC });
        }
    };
    measured(&mut bench, usage(0.9), 5);
    assert_eq!(bench.code(bench.task(1, 1)), None);
    let hidden = Usage { engine_is_hidden: true, ..usage(0.9) };
    measured(&mut bench, hidden, 20);
    assert_eq!(bench.status().0, NodeStatus::Busy, "it may be our own work");
    measured(&mut bench, usage(0.9), 11);
    let why = "the machine is busy: 0.90 of the processor is used by others".to_owned();
    assert_eq!(bench.status(), (NodeStatus::Draining, why, Some(Paused::Load)));
    bench.end(1, 1, End::Done);
    assert_eq!(bench.code(bench.task(2, 1)), Some(Code::Draining));
    measured(&mut bench, usage(0.1), 40);
    assert_eq!(bench.status().0, NodeStatus::Idle);
}
