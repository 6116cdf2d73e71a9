//! What `top` knows, looks like and does, without a terminal.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;
use serde_json::{Map, Value, json};

use super::draw;
use super::event::Event;
use super::state::State;
use super::view::{self, Action, Dialog, View};
use crate::clean::Clean;

fn snapshot() -> Value {
    json!({"at": 100_000, "mesh": {"connected": true, "orchestrator": "o1"},
    "nodes": {
        "node-a": {"status": "idle", "active": 1, "slots": 4, "made": 10, "version": "0.1.0", "site": "home",
            "models": [{"name": "mistral:latest", "loaded": true, "can": []}],
            "engine": {"kind": "ollama", "version": "0.6.2"}, "memory": {"total": 100, "free": 25}},
        "node-b": {"status": "draining", "active": 0, "slots": 1, "made": 0, "models": []},
    },
    "tasks": {
        "0123456789abcdef": {"state": "running", "model": "mistral:latest", "node": "node-a", "nodes": ["node-a"],
            "attempt": 1, "began": 99_000, "tokens": 12, "client": "ada",
            "why": {"node": "node-a", "expected_ms": {"load": 0, "prompt": 200, "answer": 1_800, "whole": 2_000},
                "instead_of": [{"node": "node-b", "expected_ms": 5_100, "because": "the model is not in its memory"}]}},
        "fedcba9876543210": {"state": "waiting", "model": "mistral:latest", "nodes": [], "attempt": 1, "began": 97_500,
            "queued": 97_500, "position": 1, "expected_wait_ms": 4_000, "tokens": 0},
        "00000000ffffffff": {"state": "done", "nodes": ["node-a"], "attempt": 1, "began": 1, "tokens": 5},
    }})
}

fn begun(now: Instant) -> State {
    let mut state = State::default();
    state.apply(Event::Snapshot(snapshot()), now);
    state
}

/// The screen as text, a line each.
fn screen(state: &State, view: &View, (width, height): (u16, u16), now: Instant) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, state, view, "http://127.0.0.1:8080/", now)).unwrap();
    let buffer = terminal.backend().buffer();
    let cells = buffer.content.chunks(width.into());
    cells
        .map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
        .collect()
}

#[test]
fn nodes_tasks_and_why_are_on_a_screen_of_80_by_24() {
    let now = Instant::now();
    let mut view = View::default();
    let lines = screen(&begun(now), &view, (80, 24), now);
    let text = lines.join("\n");
    for shown in [
        "echo-mesh  2 nodes, 1 task running, 1 waiting  http://127.0.0.1:8080/",
        "node-a  answering  ██░░░░ 1/4",
        "█████░ 75%",
        "mistral",
        "node-b  drained    ░░░░░░ 0/1",
        "01234567  running  node-a",
        "fedcba98  waiting",
        "node-a at home: answering, ollama 0.6.2, version 0.1.0",
    ] {
        assert!(text.contains(shown), "{shown:?} is missing in\n{text}");
    }
    assert!(!text.contains("00000000"), "what has ended is not shown:\n{text}");
    view.press(KeyCode::Tab, &begun(now), now);
    let text = screen(&begun(now), &view, (80, 24), now).join("\n");
    let why = "why: expected 2.0 s here (prompt 200 ms, answer 1.8 s); not node-b (5.1 s):";
    assert!(text.contains(why), "{text}");
    assert!(text.contains("task 0123456789abcdef of ada on node-a, attempt 1, mistral"), "{text}");
    view.press(KeyCode::Char('j'), &begun(now), now);
    let text = screen(&begun(now), &view, (80, 24), now).join("\n");
    assert!(text.contains("why: about 1.5 s to go; came as number 1 in its line"), "{text}");
}

#[test]
fn a_screen_of_40_by_12_shows_one_list_and_the_keys() {
    let now = Instant::now();
    let mut view = View::default();
    let text = screen(&begun(now), &view, (40, 12), now).join("\n");
    assert!(text.contains("node-a") && text.contains("node-b") && !text.contains("TASKS"), "{text}");
    view.press(KeyCode::Tab, &begun(now), now);
    let text = screen(&begun(now), &view, (40, 12), now).join("\n");
    assert!(text.contains("TASKS (2)") && text.contains("running") && text.contains("q quit"), "{text}");
    view.press(KeyCode::Char('?'), &begun(now), now);
    let text = screen(&begun(now), &view, (40, 12), now).join("\n");
    assert!(text.contains("cancel the task") && text.contains("Any key goes back"), "{text}");
}

#[test]
fn what_is_old_is_said_and_what_is_new_takes_that_back() {
    let now = Instant::now();
    let later = |seconds| now + Duration::from_secs(seconds);
    let mut state = begun(now);
    assert_eq!(state.trouble(later(9)), None);
    assert!(state.trouble(later(12)).unwrap().contains("OLD: this is from 12 s ago"));
    state.apply(Event::Alive, later(12));
    assert_eq!(state.trouble(later(13)), None);
    state.apply(Event::Broken(Clean::of("it is gone")), later(14));
    assert_eq!(state.trouble(later(15)), None, "a short break is nobody's concern");
    state.apply(Event::Broken(Clean::of("it is gone")), later(20));
    assert_eq!(state.trouble(later(20)).unwrap(), "OLD: this is from 8 s ago; trying again: it is gone");
    let lines = screen(&state, &View::default(), (80, 24), later(20));
    assert!(lines[1].contains("OLD"), "{lines:?}");
    state.apply(Event::Snapshot(snapshot()), later(21));
    assert_eq!(state.trouble(later(21)), None);
    state.apply(Event::Change(json!({"mesh": {"orchestrator": ""}})), later(21));
    assert!(state.trouble(later(21)).unwrap().contains("no orchestrator"));
}

#[test]
fn an_edge_that_never_answered_is_named() {
    let now = Instant::now();
    let mut state = State::default();
    assert!(screen(&state, &View::default(), (80, 24), now)[1].contains("asking the edge"));
    state.apply(Event::Broken(Clean::of("no mesh answers at http://127.0.0.1:1/")), now);
    assert!(
        screen(&state, &View::default(), (80, 24), now)[1].contains("no mesh answers at http://127.0.0.1:1/")
    );
}

#[test]
fn changes_come_and_go_as_the_edge_says() {
    let now = Instant::now();
    let mut state = begun(now);
    let change = json!({
        "nodes": {"node-b": null, "node-a": {"active": 0, "status": "unavailable", "reason": "its engine died"}},
        "tasks": {"fedcba9876543210": {"state": "running", "node": "node-a", "nodes": ["node-a"], "position": null}},
    });
    state.apply(Event::Change(change), now + Duration::from_secs(1));
    assert_eq!(state.nodes.len(), 1);
    let task = &state.tasks["fedcba9876543210"];
    assert_eq!((task.is_running(), task.wait(0)), (true, "3.5 s".to_owned()));
    let text = screen(&state, &View::default(), (80, 24), now).join("\n");
    assert!(text.contains("its engine died"), "{text}");
}

#[test]
fn a_speed_is_what_came_lately_and_nothing_after_a_break() {
    let now = Instant::now();
    let mut state = begun(now);
    for second in 1..5_u64 {
        state.apply(
            Event::Change(json!({"nodes": {"node-a": {"made": 10 + second * 30}},
                "tasks": {"0123456789abcdef": {"tokens": 12 + second * 15}}})),
            now + Duration::from_secs(second),
        );
        state.tick(now + Duration::from_secs(second));
    }
    let node = view::nodes(&state)[0].1;
    assert_eq!((node.pace.now(), view::tasks(&state)[0].1.pace.now()), (Some(30.0), Some(15.0)));
    let mut other_edge = snapshot();
    other_edge["nodes"]["node-a"]["made"] = json!(90_000);
    state.apply(Event::Snapshot(other_edge), now + Duration::from_secs(5));
    state.tick(now + Duration::from_secs(5));
    assert_eq!(view::nodes(&state)[0].1.pace.now(), None, "another edge counts otherwise");
    state.tick(now + Duration::from_secs(60));
    state.apply(Event::Snapshot(snapshot()), now + Duration::from_secs(61));
    state.tick(now + Duration::from_secs(61));
    assert_eq!(view::nodes(&state)[0].1.pace.now(), None);
}

#[test]
fn keys_select_drain_resume_and_cancel_after_a_question() {
    let now = Instant::now();
    let state = begun(now);
    let mut view = View::default();
    let mut press = |key| view.press(key, &state, now);
    assert_eq!(press(KeyCode::Char('d')), Some(Action::Drain("node-a".parse().unwrap())));
    assert_eq!(press(KeyCode::Char('j')), None);
    assert_eq!(press(KeyCode::Char('r')), Some(Action::Resume("node-b".parse().unwrap())));
    assert_eq!(press(KeyCode::Char('c')), None, "no task is selected");
    assert_eq!(press(KeyCode::Tab), None);
    assert_eq!(press(KeyCode::Char('d')), None, "no node is selected");
    assert_eq!(press(KeyCode::Char('c')), None);
    assert_eq!(press(KeyCode::Char('n')), None, "not meant");
    assert_eq!(press(KeyCode::Char('c')), None);
    assert_eq!(press(KeyCode::Char('y')), Some(Action::Cancel("0123456789abcdef".into())));
    assert_eq!(press(KeyCode::Char('?')), None);
    assert_eq!(press(KeyCode::Char('q')), None, "it closes the help");
    assert_eq!(press(KeyCode::Char('q')), Some(Action::Quit));
}

#[test]
fn the_selection_stays_with_its_task_while_others_go() {
    let now = Instant::now();
    let mut state = begun(now);
    let mut view = View::default();
    view.press(KeyCode::Tab, &state, now);
    view.press(KeyCode::Down, &state, now);
    assert_eq!(view.task_at(&state), 1);
    state.apply(Event::Change(json!({"tasks": {"0123456789abcdef": {"state": "done"}}})), now);
    assert_eq!(view.task_at(&state), 0);
    view.press(KeyCode::Char('c'), &state, now);
    assert_eq!(view.dialog, Dialog::Cancel("fedcba9876543210".into()));
}

#[test]
fn what_an_edge_sends_without_end_is_not_kept_without_end() {
    let now = Instant::now();
    let mut state = State::default();
    let long = "x".repeat(2_000);
    for round in 0..10 {
        let entries = |name: &str| -> Map<String, Value> {
            let entry = json!({"state": long, "node": long, "nodes": vec!["n"; 70], "rubbish": long, "models": vec![1; 70]});
            (0..500).map(|at| (format!("{name}-{round}-{at}"), entry.clone())).collect()
        };
        state.apply(Event::Change(json!({"nodes": entries("n"), "tasks": entries("t")})), now);
    }
    assert!(
        state.nodes.len() <= 4_096 && state.tasks.len() <= 4_400,
        "{} {}",
        state.nodes.len(),
        state.tasks.len()
    );
    let task = state.tasks.values().next().unwrap();
    assert!(task.nodes.len() <= 8 && task.state.as_str().chars().count() < 400);
    assert!(state.nodes.values().next().unwrap().node.models.len() <= 64);
}

/// Any JSON, in the shape of what an edge sends or near it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec![
            "running",
            "waiting",
            "moving",
            "done",
            "idle",
            "draining",
            "\x1b[2J\u{202e}",
            "node-a"
        ])
        .prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "at",
        "mesh",
        "nodes",
        "tasks",
        "node-a",
        "t1",
        "state",
        "status",
        "node",
        "models",
        "name",
        "memory",
        "total",
        "free",
        "engine",
        "kind",
        "why",
        "expected_ms",
        "whole",
        "instead_of",
        "queued",
        "began",
        "tokens",
        "made",
        "active",
        "slots",
        "expected_wait_ms",
        "position",
        "connected",
        "orchestrator",
        "reason",
        "detail",
        "loaded",
        "attempt",
        "\x1b]0;x\x07",
    ]);
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..8)
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

/// The same where it is sure to arrive at a node and a task.
fn any_event() -> impl Strategy<Value = Event> {
    let placed = |value: &Value| json!({"at": value, "nodes": {"node-a": value}, "tasks": {"t1": value}, "mesh": value});
    prop_oneof![
        any_json().prop_map(Event::Snapshot),
        any_json().prop_map(move |value| Event::Snapshot(placed(&value))),
        any_json().prop_map(move |value| Event::Change(placed(&value))),
        any_json().prop_map(Event::Change),
        Just(Event::Alive),
        any::<String>().prop_map(|why| Event::Broken(Clean::of(&why))),
        (any::<String>(), any::<String>()).prop_map(|(name, data)| Event::read(&name, &data)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_events_in_any_order_are_drawn_on_any_screen(
        events in prop::collection::vec(any_event(), 0..12),
        keys in prop::collection::vec(prop::sample::select(vec![
            KeyCode::Tab, KeyCode::Up, KeyCode::Down, KeyCode::End, KeyCode::Char('d'), KeyCode::Char('c'),
            KeyCode::Char('y'), KeyCode::Char('?'), KeyCode::PageDown,
        ]), 12),
        size in (1_u16..120, 1_u16..40),
    ) {
        let now = Instant::now();
        let (mut state, mut view) = (State::default(), View::default());
        for (at, (event, key)) in events.into_iter().zip(keys).enumerate() {
            let now = now + Duration::from_secs(at as u64);
            state.apply(event, now);
            state.tick(now);
            view.press(key, &state, now);
            for line in screen(&state, &view, size, now) {
                let is_harmful = |found: char| found.is_control() || matches!(found, '\u{202a}'..='\u{202e}');
                prop_assert!(!line.chars().any(is_harmful), "{line:?}");
            }
        }
        prop_assert!(state.nodes.len() <= 40 && state.tasks.len() <= 40);
    }
}

#[test]
fn a_mesh_as_large_as_an_edge_shows_is_scrolled_to_what_is_selected() {
    let now = Instant::now();
    let mut state = State::default();
    let task = |at: u64| {
        json!({"state": "running", "node": "n1", "nodes": ["n1"], "attempt": 1, "began": at, "tokens": 1,
        "why": {"instead_of": [{"node": "n2", "because": "x".repeat(160)}]}})
    };
    let nodes: Map<String, Value> =
        (0..4_000).map(|at| (format!("n{at:04}"), json!({"status": "idle", "slots": 4}))).collect();
    let tasks: Map<String, Value> = (0..4_000).map(|at| (format!("{at:08x}ffffffff"), task(at))).collect();
    state.apply(Event::Snapshot(json!({"at": 1, "nodes": nodes, "tasks": tasks})), now);
    let mut view = View::default();
    view.press(KeyCode::End, &state, now);
    let text = screen(&state, &view, (120, 40), now).join("\n");
    assert!(text.contains("▶ NODES (4000)") && text.contains("n3999") && !text.contains("n0001"), "{text}");
    view.press(KeyCode::Tab, &state, now);
    view.press(KeyCode::End, &state, now);
    let text = screen(&state, &view, (120, 40), now).join("\n");
    assert!(text.contains("00000f9f  running") && !text.contains("00000000  running"), "{text}");
    assert!(text.contains("n3999"), "the other list stays where it was: {text}");
}

/// What has changed, as the edge says it: a merge patch.
fn between(old: &Value, new: &Value) -> Value {
    let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else { return new.clone() };
    let gone =
        before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let changed = changed.map(|(name, value)| {
        (name.clone(), before.get(name).map_or_else(|| value.clone(), |old| between(old, value)))
    });
    gone.chain(changed).collect()
}

/// A node and a task with some of their fields, as an edge tells them.
fn mesh() -> impl Strategy<Value = Value> {
    let entry = |fields: Vec<(&'static str, Vec<Value>)>| {
        let each = fields.into_iter().map(|(name, values)| {
            prop::option::of(prop::sample::select(values))
                .prop_map(move |value| value.map(|value| (name, value)))
        });
        each.collect::<Vec<_>>().prop_map(|fields| fields.into_iter().flatten().collect::<Value>())
    };
    let node = entry(vec![
        ("status", vec![json!("idle"), json!("draining"), json!("silent")]),
        ("reason", vec![json!("its engine died")]),
        ("active", vec![json!(0), json!(1)]),
        ("slots", vec![json!(1), json!(4)]),
        ("models", vec![json!([]), json!([{"name": "m", "loaded": true}])]),
        ("engine", vec![json!({"kind": "ollama"}), json!({"kind": "openai", "version": "1"})]),
        ("memory", vec![json!({"total": 10, "free": 5}), json!({"total": 10, "free": 1})]),
        ("version", vec![json!("1")]),
    ]);
    let task = entry(vec![
        ("state", vec![json!("running"), json!("moving"), json!("done")]),
        ("model", vec![json!("m"), json!("n:latest")]),
        ("node", vec![json!("a"), json!("b")]),
        ("nodes", vec![json!(["a"]), json!(["a", "b"])]),
        ("attempt", vec![json!(1), json!(2)]),
        ("tokens", vec![json!(1), json!(2)]),
        ("prompt", vec![json!(true)]),
        ("detail", vec![json!("lost")]),
        (
            "why",
            vec![json!({"expected_ms": {"load": 5, "whole": 9}}), json!({"instead_of": [{"node": "b"}]})],
        ),
    ]);
    (prop::option::of(node), prop::option::of(task)).prop_map(|(node, task)| {
        let mut mesh = json!({"at": 1_000, "nodes": {}, "tasks": {}, "mesh": {"connected": true}});
        node.into_iter().for_each(|node| mesh["nodes"]["node-a"] = node);
        task.into_iter().for_each(|task| mesh["tasks"]["t1"] = task);
        mesh
    })
}

proptest! {
    #[test]
    fn a_snapshot_and_changes_show_what_a_later_snapshot_shows(meshes in prop::collection::vec(mesh(), 2..5)) {
        let now = Instant::now();
        let mut state = State::default();
        state.apply(Event::Snapshot(meshes[0].clone()), now);
        for pair in meshes.windows(2) {
            state.apply(Event::Change(between(&pair[0], &pair[1])), now);
        }
        let mut fresh = State::default();
        fresh.apply(Event::Snapshot(meshes[meshes.len() - 1].clone()), now);
        let mut view = View::default();
        prop_assert_eq!(screen(&state, &view, (110, 24), now), screen(&fresh, &view, (110, 24), now));
        view.press(KeyCode::Tab, &state, now);
        prop_assert_eq!(screen(&state, &view, (110, 24), now), screen(&fresh, &view, (110, 24), now));
    }
}
