use super::*;
use crate::up::engines::facts::{Store, Stores};

fn seat(port: u16, found: Found) -> Seat {
    let url = format!("http://127.0.0.1:{port}").parse().unwrap();
    Seat { node: "this machine".into(), name: "ECHO_ENGINE_URL".into(), url, found }
}

fn models(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn looked(seats: Vec<Seat>, named: bool) -> Looked {
    let (for_ollama, for_embedded) = (seat(11434, Found::Nothing), seat(11435, Found::Nothing));
    Looked { seats, named, for_ollama, for_embedded }
}

fn wish(mode: Mode) -> Wish {
    let mode_said = format!("ECHO_ENGINE_MODE={}", format!("{mode:?}").to_lowercase());
    Wish { mode, mode_said, ..Wish::default() }
}

fn wish_for(model: &str) -> Wish {
    Wish { model: Some(model.into()), model_said: format!("ECHO_MODEL={model}"), ..wish(Mode::Auto) }
}

fn with_ollama(names: &[&str]) -> Machine {
    let own = Store { path: "/own".into(), models: models(names) };
    Machine { ollama: true, stores: Stores { own, ..Stores::default() }, ..Machine::default() }
}

fn chosen(looked: &Looked, wish: &Wish, machine: &Machine) -> Result<Choice, String> {
    let typed =
        Typed { start: "START".into(), check: "CHECK".into(), stop: "STOP".into(), ..Typed::default() };
    choose(looked, wish, machine, &typed).map_err(|error| error.to_string())
}

fn urls_of(choice: &Choice) -> Vec<&str> {
    choice.engines.iter().map(|engine| shown(&engine.url)).collect()
}

#[test]
fn every_engine_that_answers_becomes_a_node_whatever_it_serves() {
    let looked = looked(
        vec![
            seat(11434, Found::Ollama(models(&["phi:latest"]))),
            seat(8080, Found::Other),
            seat(8081, Found::Edge),
            seat(1234, Found::Openai(models(&["a", "b", "c", "d"]))),
            seat(8000, Found::Openai(Vec::new())),
        ],
        false,
    );
    let choice = chosen(&looked, &wish(Mode::Auto), &with_ollama(&[])).unwrap();
    assert_eq!(urls_of(&choice), ["http://127.0.0.1:11434", "http://127.0.0.1:1234"]);
    assert_eq!((choice.model, choice.missing), (None, None));
    assert!(choice.engines.iter().all(|engine| engine.from == From::Found && engine.model.is_none()));
    assert_eq!(
        choice.why,
        "Engines that already answer: Ollama at http://127.0.0.1:11434 (phi:latest) and an OpenAI API at \
         http://127.0.0.1:1234 (a, b, c and 1 more)."
    );
}

#[test]
fn one_kind_of_engine_can_be_asked_for() {
    let looked = looked(
        vec![seat(11434, Found::Ollama(models(&["m"]))), seat(1234, Found::Openai(models(&["m"])))],
        false,
    );
    assert_eq!(
        urls_of(&chosen(&looked, &wish(Mode::Ollama), &Machine::default()).unwrap()),
        ["http://127.0.0.1:11434"]
    );
}

#[test]
fn an_empty_ollama_is_a_node_that_waits_for_its_first_model() {
    let looked = looked(vec![seat(11434, Found::Ollama(Vec::new()))], false);
    let choice = chosen(&looked, &wish(Mode::Auto), &Machine::default()).unwrap();
    assert_eq!(choice.missing, None);
    assert!(
        choice.why.contains("(no model yet)") && choice.why.contains("`ollama pull mistral`"),
        "{}",
        choice.why
    );
    let agreed = Wish { pull: Some(true), ..wish(Mode::Auto) };
    let choice = chosen(&looked, &agreed, &Machine::default()).unwrap();
    assert_eq!(choice.missing.unwrap().model, "mistral");
    assert_eq!(choice.engines[0].model.as_deref(), Some("mistral"));
}

#[test]
fn a_wished_model_is_served_or_pulled_or_refused() {
    let both = looked(
        vec![seat(11434, Found::Ollama(models(&["phi:latest"]))), seat(1234, Found::Openai(models(&["m"])))],
        false,
    );
    let served = chosen(&both, &wish_for("m"), &Machine::default()).unwrap();
    assert_eq!((served.model.as_deref(), served.missing), (Some("m"), None));
    let pulled = chosen(&both, &wish_for("mistral"), &Machine::default()).unwrap();
    assert_eq!(pulled.missing.unwrap().there, "this machine: phi:latest; this machine: m");
    assert_eq!(
        (pulled.engines[0].model.as_deref(), pulled.engines[1].model.as_deref()),
        (Some("mistral"), None)
    );
    let openai = looked(vec![seat(1234, Found::Openai(models(&["m"])))], false);
    assert_eq!(
        chosen(&openai, &wish_for("x"), &Machine::default()).unwrap_err(),
        "ECHO_MODEL=x is served by no engine here (http://127.0.0.1:1234: m)."
    );
}

#[test]
fn a_named_engine_has_to_answer() {
    let one = |found| looked(vec![seat(9, found)], true);
    for found in [Found::Nothing, Found::Other] {
        let refused = chosen(&one(found), &wish(Mode::Auto), &with_ollama(&[])).unwrap_err();
        assert!(
            refused.starts_with("nothing at ECHO_ENGINE_URL=http://127.0.0.1:9 answers as Ollama or"),
            "{refused}"
        );
    }
    let refused = chosen(&one(Found::Edge), &wish(Mode::Auto), &Machine::default()).unwrap_err();
    assert!(refused.contains("is an edge of a mesh, not an engine"), "{refused}");
    let empty = one(Found::Openai(Vec::new()));
    assert_eq!(chosen(&empty, &wish(Mode::Auto), &Machine::default()).unwrap().engines.len(), 1);
}

#[test]
fn where_nothing_answers_ollama_is_started_with_the_models_that_are_there() {
    let none = looked(vec![seat(11434, Found::Nothing), seat(8080, Found::Other)], false);
    let choice = chosen(&none, &wish(Mode::Auto), &with_ollama(&["phi:latest", "qwen:7b"])).unwrap();
    assert_eq!(choice.engines[0].from, From::Ollama { store: "/own".into() });
    assert_eq!((&choice.engines[0].model, &choice.model, &choice.missing), (&None, &None, &None));
    assert_eq!(
        choice.why,
        "Engine: Ollama with phi:latest, qwen:7b, started here at http://127.0.0.1:11434, because it is installed and no \
         engine answers."
    );
}

#[test]
fn an_ollama_without_any_model_needs_a_word_for_its_first() {
    let none = looked(Vec::new(), false);
    let missing = chosen(&none, &wish(Mode::Auto), &with_ollama(&[])).unwrap().missing.unwrap();
    assert_eq!((missing.model.as_str(), missing.there.as_str()), ("mistral", "this machine: none"));
    let wished = chosen(&none, &wish_for("phi"), &with_ollama(&["mistral:latest"])).unwrap().missing.unwrap();
    assert_eq!((wished.model.as_str(), wished.there.as_str()), ("phi", "this machine: mistral:latest"));
}

#[test]
fn without_engine_and_ollama_the_embedded_one_is_started() {
    let none = looked(Vec::new(), false);
    let choice = chosen(&none, &wish(Mode::Auto), &Machine::default()).unwrap();
    assert_eq!(
        (choice.engines[0].from.clone(), urls_of(&choice)[0]),
        (From::Embedded, "http://127.0.0.1:11435")
    );
    assert_eq!(choice.slots, [Some(2)]);
    for (wish, words) in [
        (wish_for("phi"), "ECHO_MODEL=phi needs Ollama, but none answers"),
        (
            wish(Mode::Ollama),
            "no Ollama answers at ECHO_ENGINE_URL=http://127.0.0.1:11434 and the ollama command",
        ),
        (wish(Mode::Openai), "answers GET /v1/models as an OpenAI API: start an engine first"),
    ] {
        let refused = chosen(&none, &wish, &Machine::default()).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn engines_can_be_started_where_the_user_says() {
    let named = looked(vec![seat(7001, Found::Nothing), seat(7002, Found::Nothing)], true);
    let embedded = chosen(&named, &wish(Mode::Embedded), &with_ollama(&[])).unwrap();
    assert_eq!(urls_of(&embedded), ["http://127.0.0.1:7001", "http://127.0.0.1:7002"]);
    let ollama = chosen(&named, &wish(Mode::Ollama), &with_ollama(&["phi:latest"])).unwrap();
    assert!(ollama.engines.iter().all(|engine| matches!(engine.from, From::Ollama { .. })));
}
