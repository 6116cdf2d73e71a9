//! What holds of an engine whatever comes to it.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SIZES: [f64; 3] = [5.0, 6.0, 9.0];

fn machine(slots: usize, memory: f64) -> Arc<Machine> {
    let pace = |(model, size): (usize, &f64)| {
        let slower = 1.0 + model as f64;
        Some(Pace { decode: 40.0 / slower, prompt: 800.0 / slower, load: 5.0 * slower, size: *size })
    };
    let models = SIZES.iter().enumerate().map(pace).collect();
    Arc::new(Machine { name: "a".to_owned(), slots, alpha: 0.4, memory, models })
}

fn ask(id: usize, model: usize, prompt: u32, answer: u32, session: u64) -> Ask {
    let (system, calls_tool) = (session % 2, false);
    let (prompt, answer) = (f64::from(prompt), f64::from(answer));
    Ask { id, model, prompt, answer, session, system, system_tokens: 50.0, calls_tool }
}

/// Lets an engine work until a moment, or until nothing is left.
fn play(engine: &mut Engine, until: f64) -> Vec<Job> {
    while let Some(next) = engine.next_event().filter(|next| *next <= until) {
        engine.step(next);
    }
    if until.is_finite() {
        engine.advance(until);
    }
    engine.take_ended()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6 * (1.0 + a.abs())
}

#[test]
fn a_request_alone_takes_its_prompt_its_answer_and_a_little() {
    let mut engine = Engine::new(machine(2, 5.0), &[0]);
    engine.enter(ask(0, 0, 400, 200, 0), 1.0);
    let ended = play(&mut engine, f64::INFINITY);
    assert!(close(ended[0].ended, 1.0 + 400.0 / 800.0 + OVERHEAD + 200.0 / 40.0), "{ended:?}");
    assert_eq!((engine.loads(), engine.active(), ended[0].cached), (0, 0, 0.0));
}

#[test]
fn answers_share_what_the_machine_gives_and_stand_still_while_a_prompt_is_worked_off() {
    let mut engine = Engine::new(machine(2, 5.0), &[0]);
    engine.enter(ask(0, 0, 10, 2_000, 0), 0.0);
    play(&mut engine, 10.0);
    engine.enter(ask(1, 0, 8_000, 2_000, 1), 10.0);
    play(&mut engine, 11.0);
    let stalled = engine.answers().next().map(|(_, rate, made)| (rate, made)).unwrap();
    play(&mut engine, 15.0);
    let (_, rate, made) = engine.answers().next().unwrap();
    assert_eq!((stalled.0, rate), (None, None), "nobody can see its speed now");
    assert!(close(made - stalled.1, 4.0 * 800.0 / BATCH), "a token for each batch");
    play(&mut engine, 30.0);
    let rates: Vec<_> = engine.answers().map(|(_, rate, _)| rate.unwrap()).collect();
    assert!(rates.len() == 2 && rates.iter().all(|&rate| close(2.0 * rate, 40.0 * 2_f64.powf(0.4))));
}

#[test]
fn the_next_turn_of_a_session_finds_its_prompt_and_a_stranger_the_system_text() {
    let mut engine = Engine::new(machine(2, 5.0), &[0]);
    engine.enter(ask(0, 0, 300, 100, 7), 0.0);
    play(&mut engine, 100.0);
    engine.enter(ask(1, 0, 500, 100, 7), 100.0);
    let next = play(&mut engine, 200.0);
    assert_eq!(next[0].cached, 400.0, "prompt and answer are kept");
    engine.enter(ask(2, 0, 300, 100, 9), 200.0);
    assert_eq!(play(&mut engine, 300.0)[0].cached, 50.0);
    engine.enter(ask(3, 0, 400, 10, 7), 300.0);
    assert_eq!(play(&mut engine, 400.0)[0].cached, 50.0, "the stranger has taken the slot");
    engine.enter(ask(4, 0, 900, 10, 9), 400.0);
    assert_eq!(play(&mut engine, 500.0)[0].cached, 0.0, "under a tenth in common is no reason for a slot");
}

#[test]
fn a_model_that_does_not_fit_waits_for_busy_ones_and_is_overtaken() {
    let mut engine = Engine::new(machine(2, 9.5), &[0]);
    engine.enter(ask(0, 0, 10, 400, 0), 0.0);
    engine.enter(ask(1, 2, 10, 10, 1), 0.1);
    assert_eq!(engine.loading(), None, "nothing idle can go");
    engine.enter(ask(2, 0, 10, 10, 2), 0.2);
    let order: Vec<_> = play(&mut engine, f64::INFINITY).iter().map(|job| job.ask.id).collect();
    assert_eq!(order, [2, 0, 1]);
    assert_eq!((engine.loads(), engine.last_used(0)), (1, None));
}

#[test]
fn the_least_recently_used_model_goes_first() {
    let mut engine = Engine::new(machine(2, 11.0), &[0, 1]);
    for (id, model) in [(0, 1), (1, 0)] {
        engine.enter(ask(id, model, 10, 10, 0), 10.0 * id as f64);
        play(&mut engine, 10.0 * id as f64 + 9.0);
    }
    assert_eq!(engine.victims(2), [1, 0]);
    engine.enter(ask(2, 2, 10, 10, 0), 30.0);
    assert_eq!(engine.loading(), Some((2, 45.0)));
}

#[derive(Debug, Clone)]
struct Arrival {
    pause: f64,
    ask: (usize, u32, u32, u64),
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let ask = (0..3_usize, 1..3_000_u32, 1..400_u32, 0..5_u64);
    vec((0.0..20.0, ask).prop_map(|(pause, ask)| Arrival { pause, ask }), 1..40)
}

/// Feeds an engine; what has ended and what is still in it, at the moment of the last arrival.
fn feed(engine: &mut Engine, arrivals: &[Arrival], mut look: impl FnMut(&mut Engine)) -> (Vec<Job>, f64) {
    let (mut ended, mut now) = (Vec::new(), 0.0);
    for (id, Arrival { pause, ask: (model, prompt, answer, session) }) in arrivals.iter().enumerate() {
        now += pause;
        ended.extend(play(engine, now));
        engine.enter(ask(id, *model, *prompt, *answer, *session), now);
        look(engine);
    }
    (ended, now)
}

/// What holds of an engine at any time.
fn check(engine: &mut Engine) {
    let machine = engine.machine().clone();
    assert!(engine.active() == 0 || engine.next_event().is_some(), "it has work and does nothing");
    let mut used = engine.loading().map_or(0.0, |(model, _)| machine.pace(model).size);
    for model in 0..SIZES.len() {
        let busy = engine.slots(model).iter().filter(|slot| slot.busy).count();
        assert!(busy <= machine.slots);
        used += if engine.last_used(model).is_some() { machine.pace(model).size } else { 0.0 };
    }
    assert!(engine.free() >= 0.0 && close(engine.free() + used, machine.memory), "memory is lost");
    assert_eq!(engine.jobs().count(), engine.active());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn work_is_conserved_and_no_time_is_negative(
        arrivals in arrivals(), slots in 1..5_usize, memory in 9.0..21.0_f64,
    ) {
        let mut engine = Engine::new(machine(slots, memory), &[0]);
        let (mut ended, _) = feed(&mut engine, &arrivals, check);
        ended.extend(play(&mut engine, f64::INFINITY));
        check(&mut engine);
        prop_assert_eq!((ended.len(), engine.active()), (arrivals.len(), 0));
        let (machine, mut prompts) = (engine.machine().clone(), 0.0);
        for job in &ended {
            let times = [0.0, job.entered, job.loaded, job.slotted, job.first, job.ended];
            prop_assert!(times.is_sorted(), "{job:?}");
            let pace = machine.pace(job.ask.model);
            let worked = job.ask.prompt - job.cached + OVERHEAD * pace.prompt;
            prop_assert!(job.cached >= 0.0 && job.cached < job.ask.prompt);
            prop_assert!(close(job.prompt_seconds * pace.prompt, worked), "{job:?}");
            prop_assert!(job.ended - job.first >= job.ask.answer / pace.decode - 1e-6, "faster than alone");
            prop_assert!(job.clear.tokens <= job.ask.answer + 1e-6);
            prop_assert!(job.clear.answers >= job.clear.seconds - 1e-6, "it runs itself");
            prompts += job.prompt_seconds;
        }
        prop_assert!(prompts <= engine.busy_seconds() + 1e-6, "two prompts at once");
    }

    #[test]
    fn a_what_if_is_what_happens_when_nothing_else_comes(arrivals in arrivals(), slots in 1..5_usize) {
        let mut engine = Engine::new(machine(slots, 12.0), &[0, 1]);
        let (_, now) = feed(&mut engine, &arrivals, |_| {});
        engine.next_event();
        let before = format!("{engine:?}");
        let mut foretold = engine.what_if(now).run_out();
        prop_assert_eq!(before, format!("{engine:?}"), "the copy has touched its original");
        let mut happened = play(&mut engine, f64::INFINITY);
        foretold.sort_by_key(|job| job.ask.id);
        happened.sort_by_key(|job| job.ask.id);
        prop_assert_eq!(foretold, happened);
    }
}
