use std::time::Duration;

use super::*;

const GIB: u64 = 1 << 30;

/// 10 tokens and 100 prompt tokens a second, 2 s to load, no overhead; room for one model of two, `a` in it.
fn machine(slots: usize) -> Machine {
    let pace = Pace { decode: 10.0, prompt: 100.0, load: Duration::from_secs(2) };
    let hardware = Hardware {
        memory: 5 * GIB,
        overhead: Duration::ZERO,
        models: ["a", "b"].map(|model| (model.to_owned(), pace)).into(),
        loaded: vec!["a".to_owned()],
        ..Hardware::default()
    };
    let model = |name: &str| Model { size: 4 * GIB, ..Model::named(name) };
    Machine::new(&hardware, slots, &[model("a"), model("b")])
}

/// A prompt of so many tokens that only this number has.
fn text(number: u64, tokens: u64) -> Vec<u64> {
    (0..tokens).map(|place| number * 1_000_000 + place).collect()
}

fn enter(machine: &mut Machine, model: &str, prompt: Vec<u64>, answer: u64) -> u64 {
    machine.enter(model, prompt, text(9, answer)).unwrap()
}

/// When a request ends, if nothing else comes.
fn end(machine: &mut Machine, id: u64) -> f64 {
    while machine.job(id).unwrap().phase != Phase::Over {
        let next = machine.next_event().expect("something happens");
        machine.run_to(next);
    }
    machine.job(id).unwrap().ended
}

fn near(one: f64, other: f64) {
    assert!((one - other).abs() < 1e-3, "{one} is not {other}");
}

#[test]
fn an_answer_comes_after_its_prompt_at_its_own_pace_however_late_somebody_looks() {
    let mut machine = machine(1);
    let id = enter(&mut machine, "a", text(1, 200), 30);
    machine.run_to(1.9);
    assert_eq!(machine.job(id).unwrap().made(), 0);
    near(machine.due(id, 1).unwrap(), 2.0);
    machine.run_to(2.0);
    assert_eq!(machine.job(id).unwrap().made(), 1, "the first token comes with the end of the prompt");
    near(machine.due(id, 11).unwrap(), 3.0);
    machine.run_to(3.0);
    assert_eq!(machine.job(id).unwrap().made(), 11);
    machine.run_to(60.0);
    let job = machine.job(id).unwrap();
    assert_eq!(job.made(), 30);
    near(job.ended, 5.0);
    near(job.answer_seconds(), 3.0);
    near(machine.prompt_seconds(job), 2.0);
}

#[test]
fn two_at_once_share_a_little_more_than_the_speed_of_one() {
    let mut machine = machine(2);
    let ids = [1, 2].map(|number| enter(&mut machine, "a", text(number, 1), 100));
    // Together sqrt(2) times as fast as one.
    let ends = ids.map(|id| end(&mut machine, id));
    near(ends[1], 0.02 + 10.0 * 2.0_f64.sqrt());
}

#[test]
fn prompts_take_turns_and_running_answers_all_but_stand_still() {
    let mut machine = machine(3);
    let first = enter(&mut machine, "a", text(1, 1), 20);
    machine.run_to(1.01);
    let made = machine.job(first).unwrap().made();
    let second = enter(&mut machine, "a", text(2, 512), 1);
    let third = enter(&mut machine, "a", text(3, 100), 1);
    machine.run_to(1.01 + 5.12);
    assert!(machine.job(first).unwrap().made() - made <= 1, "one token for a batch of 512");
    assert_eq!(
        (machine.job(second).unwrap().phase, machine.job(third).unwrap().phase),
        (Phase::Answer, Phase::Prompt)
    );
    machine.run_to(1.01 + 6.13);
    assert_eq!(machine.job(third).unwrap().phase, Phase::Answer);
}

#[test]
fn a_slot_keeps_prompt_and_answer_and_the_next_turn_gets_it() {
    let mut machine = machine(2);
    let first = enter(&mut machine, "a", text(1, 100), 10);
    end(&mut machine, first);
    let other = enter(&mut machine, "a", text(2, 100), 10);
    end(&mut machine, other);
    let turn: Vec<u64> = text(1, 100).into_iter().chain(text(9, 10)).chain(text(3, 40)).collect();
    let second = enter(&mut machine, "a", turn.clone(), 1);
    assert_eq!(machine.job(second).unwrap().cached, 110);
    end(&mut machine, second);
    near(machine.prompt_seconds(machine.job(second).unwrap()), 0.4);
    // The whole of it again: one token is always worked off.
    let again = enter(&mut machine, "a", turn, 1);
    assert_eq!(machine.job(again).unwrap().cached, 149);
}

#[test]
fn a_tenth_in_common_is_not_enough_and_the_least_recently_used_slot_goes() {
    let mut machine = machine(2);
    for number in [1, 2] {
        let id = enter(&mut machine, "a", text(number, 100), 1);
        end(&mut machine, id);
    }
    // Ten of a hundred tokens are those of the second, which was used last.
    let alike: Vec<u64> = text(2, 10).into_iter().chain(text(3, 90)).collect();
    let id = enter(&mut machine, "a", alike, 1);
    assert_eq!(machine.job(id).unwrap().cached, 0);
    end(&mut machine, id);
    let id = enter(&mut machine, "a", text(2, 100), 1);
    assert_eq!(machine.job(id).unwrap().cached, 99, "the second is still there");
}

#[test]
fn what_was_given_up_leaves_what_it_has_worked_off_and_frees_its_slot() {
    let mut machine = machine(1);
    let first = enter(&mut machine, "a", text(1, 400), 10);
    let second = enter(&mut machine, "a", text(1, 400), 10);
    machine.run_to(1.0);
    assert_eq!(machine.job(second).unwrap().phase, Phase::Slot);
    machine.leave(first);
    let second = machine.job(second).unwrap();
    assert_eq!((second.phase, second.cached), (Phase::Prompt, 100));
}

#[test]
fn a_model_goes_only_when_those_who_use_it_have_ended_and_they_are_overtaken_meanwhile() {
    let mut machine = machine(3);
    let first = enter(&mut machine, "a", text(1, 1), 50);
    let cold = enter(&mut machine, "b", text(1, 100), 10);
    machine.run_to(4.0);
    assert_eq!(machine.in_memory(), ["a:latest"]);
    let late = enter(&mut machine, "a", text(2, 1), 1);
    end(&mut machine, late);
    assert_eq!((machine.job(cold).unwrap().phase, machine.loads), (Phase::Load, 0));
    let freed = end(&mut machine, first);
    assert_eq!((machine.in_memory(), machine.loads), (vec!["b:latest".to_owned()], 1));
    near(end(&mut machine, cold), freed + 2.0 + 1.0 + 1.0);
    near(machine.job(cold).unwrap().load_seconds(), freed + 2.0);
    // Its cache went with it.
    let again = enter(&mut machine, "a", text(1, 1), 50);
    end(&mut machine, again);
    assert_eq!((machine.job(again).unwrap().cached, machine.loads), (0, 2));
}

#[test]
fn a_model_is_loaded_without_a_prompt_and_unloaded_after_its_last_use() {
    let mut machine = machine(1);
    let load = machine.enter("b", Vec::new(), Vec::new()).unwrap();
    near(machine.next_event().unwrap(), 2.0);
    machine.run_to(2.0);
    assert_eq!(
        (machine.job(load).unwrap().phase, machine.in_memory()),
        (Phase::Over, vec!["b:latest".to_owned()])
    );
    machine.leave(load);
    let id = enter(&mut machine, "b", text(1, 100), 1);
    machine.unload("b");
    assert_eq!(machine.in_memory().len(), 1);
    end(&mut machine, id);
    assert_eq!(machine.in_memory().len(), 0);
    assert!(machine.enter("c", text(1, 1), Vec::new()).is_none());
}

#[test]
fn whatever_comes_and_goes_everything_ends_and_memory_is_whole() {
    for seed in 0..200_u64 {
        let mut machine = machine(2);
        let mut ids = Vec::new();
        let mut random = seed;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for _ in 0..60 {
            let model = if draw(3) == 0 { "b" } else { "a" };
            match draw(6) {
                0 if !ids.is_empty() => {
                    let at = draw(ids.len() as u64) as usize;
                    machine.leave(ids.swap_remove(at));
                }
                1 => machine.unload(model),
                _ => ids.push(enter(&mut machine, model, text(draw(4), draw(300)), draw(20))),
            }
            machine.run_to(machine.now + draw(30) as f64 / 10.0);
            assert!(machine.prompts.len() + machine.answers.len() <= 4, "two slots of two models");
        }
        for id in ids {
            end(&mut machine, id);
            machine.leave(id);
        }
        assert!(machine.jobs.is_empty() && machine.places.values().all(|place| place.wanted == 0), "{seed}");
        ["a", "b"].iter().for_each(|model| machine.unload(model));
        machine.run_to(machine.now + 10.0);
        assert_eq!((machine.free, machine.in_memory().len()), (5 * GIB, 0), "{seed}");
    }
}
