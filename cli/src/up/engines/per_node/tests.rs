use super::*;
use crate::up::engines::facts::{Store, Stores};

fn seat(letter: char, port: u16, found: Found) -> Seat {
    Seat {
        node: format!("node-{letter}"),
        name: format!("ECHO_ENGINE_{}_URL", letter.to_ascii_uppercase()),
        url: format!("http://127.0.0.1:{port}").parse().unwrap(),
        found,
    }
}

fn two(a: Found, b: Found) -> Vec<Seat> {
    vec![seat('a', 11434, a), seat('b', 11435, b)]
}

fn ollama(models: &[&str]) -> Found {
    Found::Ollama(models.iter().map(ToString::to_string).collect())
}

fn openai(models: &[&str]) -> Found {
    Found::Openai(models.iter().map(ToString::to_string).collect())
}

fn wish(mode: Mode, model: Option<&str>) -> Wish {
    let mode_said =
        format!("ECHO_ENGINE_MODE={mode:?}").to_lowercase().replace("echo_engine_mode", "ECHO_ENGINE_MODE");
    let model_said = model.map(|model| format!("ECHO_MODEL={model}")).unwrap_or_default();
    Wish { mode, mode_said, model: model.map(str::to_owned), model_said, ..Wish::default() }
}

fn with_ollama(models: &[&str]) -> Machine {
    let own = Store {
        path: "/home/.ollama/models".into(),
        models: models.iter().map(ToString::to_string).collect(),
    };
    Machine { ollama: true, stores: Stores { own, ..Stores::default() }, ..Machine::default() }
}

fn chosen(seats: &[Seat], wish: &Wish, machine: &Machine) -> Result<Choice, String> {
    let typed =
        Typed { start: "START".into(), check: "CHECK".into(), stop: "STOP".into(), ..Typed::default() };
    choose(seats, wish, machine, &typed).map_err(|error| error.to_string())
}

fn refused(seats: &[Seat], wish: &Wish, machine: &Machine) -> String {
    chosen(seats, wish, machine).unwrap_err()
}

#[test]
fn engines_that_answer_are_taken_with_the_first_model_that_both_have() {
    let seats = two(openai(&["a", "m:latest", "z"]), openai(&["z", "m:latest"]));
    let choice = chosen(&seats, &wish(Mode::Auto, None), &Machine::default()).unwrap();
    assert_eq!(choice.model.as_deref(), Some("m:latest"));
    assert!(choice.engines.iter().all(|engine| engine.from == From::Found && engine.api == Api::Openai));
    assert_eq!((choice.slots, choice.missing), (vec![None, None], None));
    assert_eq!(
        choice.why,
        "Engines: those that already answer at http://127.0.0.1:11434 and http://127.0.0.1:11435 (openai, openai), with \
         m:latest. For mistral: install Ollama (https://ollama.com/download), STOP, then ECHO_PULL=1 START"
    );
    let installed = chosen(&seats, &wish(Mode::Auto, None), &with_ollama(&[])).unwrap().why;
    assert!(
        installed.ends_with("For mistral: STOP, then ECHO_ENGINE_MODE=ollama ECHO_PULL=1 START"),
        "{installed}"
    );
}

#[test]
fn a_wished_model_has_to_be_served_by_all() {
    let seats = two(openai(&["a", "m"]), openai(&["m"]));
    assert_eq!(
        chosen(&seats, &wish(Mode::Auto, Some("m")), &Machine::default()).unwrap().model.as_deref(),
        Some("m")
    );
    assert_eq!(
        refused(&seats, &wish(Mode::Auto, Some("a")), &Machine::default()),
        "ECHO_MODEL=a is not served at http://127.0.0.1:11435, which has: m."
    );
    assert_eq!(
        refused(&two(openai(&["a"]), openai(&[])), &wish(Mode::Auto, None), &Machine::default()),
        "the two engines have no model in common (node-a: a; node-b: none): load the same model in both."
    );
}

#[test]
fn two_ollamas_are_asked_for_mistral_and_what_lacks_it_pulls() {
    let seats = two(ollama(&["mistral:latest"]), ollama(&["phi:latest"]));
    let choice = chosen(&seats, &wish(Mode::Auto, None), &Machine::default()).unwrap();
    assert_eq!(choice.model.as_deref(), Some("mistral"));
    assert!(choice.why.contains("the Ollama servers that already answer at"), "{}", choice.why);
    let missing = choice.missing.unwrap();
    assert_eq!((missing.model.as_str(), missing.nodes), ("mistral", vec!["node-b".to_owned()]));
    assert_eq!(missing.there, "node-a: mistral:latest; node-b: phi:latest");
}

#[test]
fn one_openai_engine_is_too_few_for_two_nodes() {
    let refused = refused(&two(Found::Nothing, openai(&["m"])), &wish(Mode::Auto, None), &with_ollama(&[]));
    assert_eq!(
        refused,
        "only one engine answers (node-b: http://127.0.0.1:11435), and the mesh has two nodes: start a second one, or let \
         both nodes share it (ECHO_ENGINE_A_URL=http://127.0.0.1:11435 ECHO_ENGINE_B_URL=http://127.0.0.1:11435), or stop \
         it and start again."
    );
    let mut three = two(openai(&["m"]), openai(&["m"]));
    three.push(seat('c', 11436, Found::Other));
    let more = self::refused(&three, &wish(Mode::Auto, None), &Machine::default());
    assert!(more.starts_with("only two engines answer (node-a: "), "{more}");
    assert!(more.contains("has three nodes: start a further one, or let all nodes share it"), "{more}");
}

#[test]
fn ollama_is_started_where_it_is_installed_and_a_node_has_none() {
    let seats = two(ollama(&["mistral:latest"]), Found::Nothing);
    let machine = Machine { ollama_slots: Some(3), ..with_ollama(&["mistral:latest"]) };
    let choice = chosen(&seats, &wish(Mode::Auto, None), &machine).unwrap();
    assert_eq!(choice.engines[0].from, From::Found);
    assert_eq!(choice.engines[1].from, From::Ollama { store: "/home/.ollama/models".into() });
    assert_eq!(choice.slots, [None, Some(3)], "what runs already has its own slots");
    assert_eq!(choice.missing, None);
    assert_eq!(
        choice.why,
        "Engines: Ollama with mistral, already running at http://127.0.0.1:11434 and started here at \
         http://127.0.0.1:11435, because it is installed."
    );
}

#[test]
fn what_an_ollama_lacks_is_said_with_what_it_has() {
    let choice = chosen(
        &two(Found::Nothing, Found::Nothing),
        &wish(Mode::Auto, None),
        &with_ollama(&["tiny:1b", "me/own:latest"]),
    );
    let missing = choice.unwrap().missing.unwrap();
    assert_eq!(missing.nodes, ["node-a", "node-b"]);
    assert_eq!(missing.there, "node-a: tiny:1b me/own:latest; node-b: tiny:1b me/own:latest");
    assert_eq!(missing.at, Some("/home/.ollama/models".into()));
}

#[test]
fn the_systems_models_are_taken_where_they_have_the_model_and_a_hidden_folder_is_told_of() {
    let mut machine = with_ollama(&["tiny:1b"]);
    machine.stores.system = Some(Store { path: "/system".into(), models: vec!["mistral:latest".into()] });
    let seats = two(Found::Nothing, Found::Nothing);
    let choice = chosen(&seats, &wish(Mode::Auto, None), &machine).unwrap();
    assert_eq!(choice.engines[0].from, From::Ollama { store: "/system".into() });
    assert_eq!(choice.missing, None);
    machine.stores = Stores { system: None, hidden: Some("/system".into()), ..machine.stores };
    let why = chosen(&seats, &wish(Mode::Auto, None), &machine).unwrap().why;
    assert!(
        why.starts_with("Ollama's system service keeps its models in /system, which this user cannot read"),
        "{why}"
    );
}

#[test]
fn an_ollama_without_its_command_cannot_have_a_second_one_started() {
    let refused = refused(&two(ollama(&[]), Found::Nothing), &wish(Mode::Auto, None), &Machine::default());
    for words in [
        "Ollama answers at http://127.0.0.1:11434, but the ollama command is not on the PATH",
        "let both nodes share it (ECHO_ENGINE_A_URL=http://127.0.0.1:11434 ECHO_ENGINE_B_URL=http://127.0.0.1:11434)",
        "two free ports as ECHO_ENGINE_A_URL and ECHO_ENGINE_B_URL",
    ] {
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn where_there_is_nothing_the_embedded_engine_serves_both() {
    let seats = two(Found::Nothing, Found::Other);
    let choice = chosen(&seats, &wish(Mode::Auto, None), &Machine::default()).unwrap();
    assert!(choice.engines.iter().all(|engine| engine.from == From::Embedded && engine.api == Api::Openai));
    assert_eq!((choice.model.as_deref(), choice.slots), (Some("smollm2"), vec![Some(2), Some(2)]));
    assert!(
        choice.why.contains("because no engine answers and the ollama command is not on the PATH."),
        "{}",
        choice.why
    );
    let refused = refused(&seats, &wish(Mode::Auto, Some("mistral")), &Machine::default());
    assert!(refused.starts_with("ECHO_MODEL=mistral needs Ollama, but none answers"), "{refused}");
    assert!(refused.contains("https://ollama.com/download"), "{refused}");
}

#[test]
fn what_was_asked_for_is_the_reason_or_is_refused() {
    let seats = two(Found::Nothing, openai(&["m"]));
    let embedded = chosen(&seats, &wish(Mode::Embedded, None), &with_ollama(&[])).unwrap();
    assert!(embedded.why.contains("because ECHO_ENGINE_MODE=embedded asks for it."), "{}", embedded.why);
    let other = refused(&seats, &wish(Mode::Embedded, Some("phi")), &Machine::default());
    assert!(other.starts_with("ECHO_MODEL=phi: the embedded engine serves smollm2 only"), "{other}");
    let openai = refused(&seats, &wish(Mode::Openai, None), &Machine::default());
    assert!(
        openai
            .starts_with("ECHO_ENGINE_MODE=openai, but nothing at ECHO_ENGINE_A_URL=http://127.0.0.1:11434 "),
        "{openai}"
    );
    let ollama = refused(&seats, &wish(Mode::Ollama, None), &Machine::default());
    assert_eq!(
        ollama,
        "no Ollama answers at ECHO_ENGINE_A_URL=http://127.0.0.1:11434 and the ollama command is not on the PATH: install \
         it from https://ollama.com/download."
    );
    let wrong = refused(&seats, &wish(Mode::Ollama, None), &with_ollama(&[]));
    assert!(
        wrong.contains("ECHO_ENGINE_B_URL=http://127.0.0.1:11435 is an OpenAI server, not Ollama"),
        "{wrong}"
    );
}

#[test]
fn an_engine_is_started_on_this_machine_only() {
    let mut seats = two(Found::Nothing, Found::Nothing);
    seats[1].url = "http://10.0.0.9:11434".parse().unwrap();
    for (mode, machine) in [(Mode::Auto, with_ollama(&[])), (Mode::Embedded, Machine::default())] {
        let refused = refused(&seats, &wish(mode, None), &machine);
        assert!(
            refused.contains("no engine answers at ECHO_ENGINE_B_URL=http://10.0.0.9:11434"),
            "{refused}"
        );
        assert!(refused.contains("or choose http://127.0.0.1:PORT."), "{refused}");
    }
}

#[test]
fn slots_that_are_set_hold_for_every_engine() {
    let wish = Wish { slots: Some(7), ..wish(Mode::Auto, None) };
    for seats in [two(openai(&["m"]), openai(&["m"])), two(Found::Nothing, Found::Nothing)] {
        assert_eq!(chosen(&seats, &wish, &Machine::default()).unwrap().slots, [Some(7), Some(7)]);
    }
}

#[test]
fn an_edge_of_a_mesh_is_no_engine() {
    let refused = refused(&two(openai(&["m"]), Found::Edge), &wish(Mode::Auto, None), &Machine::default());
    assert_eq!(refused, "ECHO_ENGINE_B_URL=http://127.0.0.1:11435 is an edge of a mesh, not an engine.");
}
