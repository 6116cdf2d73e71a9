use std::time::{Duration, Instant};

use echo_bus::id::AttemptId;
use echo_bus::message::{Engine, Held, Model, NodeStatus, Progress, Space, What, Why};
use proptest::prelude::*;

use super::*;

const NODE_A: &str = "node-a";
const NODE_B: &str = "node-b";

struct Bench {
    picture: Picture,
    now: Now,
    number: u64,
}

impl Bench {
    fn new() -> Self {
        let now = Now { at: Instant::now(), unix_ms: 1_000_000 };
        let mut bench = Self { picture: Picture::default(), now, number: 0 };
        bench.picture.apply(Heard::Link(true), now);
        bench
    }

    fn pass(&mut self, time: Duration) {
        self.now.at += time;
        self.now.unix_ms += u64::try_from(time.as_millis()).unwrap();
        self.picture.tick(self.now);
    }

    fn beat(&mut self, node: &str, active: &[(u128, u32, u64)]) {
        self.number += 1;
        let held = |&(task, attempt, _): &(u128, u32, u64)| Held {
            id: AttemptId { task: TaskId::from_u128(task), attempt },
            seq: None,
            ended: false,
        };
        let progress =
            |&(_, _, tokens): &(u128, u32, u64)| Progress { model: "m".into(), tokens, prompt: tokens == 0 };
        let beat = Heartbeat {
            active: active.iter().map(held).collect(),
            progress: active.iter().map(progress).collect(),
            ..self.heartbeat(node)
        };
        self.picture.apply(Heard::Beat(Box::new(beat)), self.now);
    }

    fn heartbeat(&self, node: &str) -> Heartbeat {
        Heartbeat {
            node: node.parse().unwrap(),
            boot: "b1".parse().unwrap(),
            number: self.number,
            status: NodeStatus::Idle,
            reason: String::new(),
            paused: None,
            limits: Vec::new(),
            active: Vec::new(),
            progress: Vec::new(),
            slots: 2,
            models: None,
            engine: Engine::default(),
            // Its last digits change all the time.
            memory: Space { total: 64 << 30, free: (32 << 30) + self.number * 1_000 },
            model_memory: 0,
            disk: Space::default(),
            agent_host: "h".into(),
            agent_port: 1,
            version: "1".into(),
            uptime_ms: 0,
            model_management: false,
            site: None,
        }
    }

    fn event(&mut self, what: What, task: u128, attempt: u32, node: Option<&str>) {
        let event = Event {
            task: Some(TaskId::from_u128(task)),
            attempt: Some(attempt),
            node: node.map(|node| node.parse().unwrap()),
            client: Some("ada".parse().unwrap()),
            why: node.map(|node| Why::at(node.parse().unwrap()).into()),
            ..Event::new(what, 1)
        };
        self.picture.apply(Heard::Event(Box::new(event)), self.now);
    }

    fn seen(&mut self) -> Value {
        self.picture.changes();
        self.picture.whole()
    }

    fn task(&mut self, task: u128) -> Value {
        self.seen()["tasks"][shown(TaskId::from_u128(task))].clone()
    }
}

#[test]
fn a_task_is_seen_to_wait_to_run_and_to_go_on_elsewhere() {
    let mut bench = Bench::new();
    bench.beat(NODE_A, &[]);
    bench.beat(NODE_B, &[]);
    bench.event(What::Queued, 7, 1, None);
    let seen = bench.task(7);
    assert_eq!((&seen["state"], &seen["client"]), (&"waiting".into(), &"ada".into()));
    bench.event(What::Placed, 7, 1, Some(NODE_A));
    bench.beat(NODE_A, &[(7, 1, 10)]);
    let seen = bench.task(7);
    assert_eq!(
        (&seen["state"], &seen["node"], &seen["tokens"]),
        (&"running".into(), &NODE_A.into(), &10.into())
    );
    bench.event(What::Lost, 7, 1, Some(NODE_A));
    // The node that was lost does not know it.
    bench.beat(NODE_A, &[(7, 1, 11)]);
    assert_eq!(bench.task(7)["state"], "moving");
    bench.event(What::Placed, 7, 2, Some(NODE_B));
    bench.beat(NODE_A, &[(7, 1, 12)]);
    bench.beat(NODE_B, &[(7, 2, 25)]);
    let seen = bench.task(7);
    assert_eq!(
        (&seen["node"], &seen["attempt"], &seen["nodes"]),
        (&NODE_B.into(), &2.into(), &json!([NODE_A, NODE_B]))
    );
    bench.event(What::Done, 7, 2, Some(NODE_B));
    bench.event(What::Placed, 7, 3, Some(NODE_A));
    assert_eq!(bench.task(7)["state"], "done", "an end is final");
    let nodes = bench.seen()["nodes"].clone();
    assert_eq!(
        (&nodes[NODE_A]["made"], &nodes[NODE_B]["made"]),
        (&10.into(), &15.into()),
        "each has made its part"
    );
}

#[test]
fn viewers_never_get_the_id_by_which_an_answer_is_read() {
    let mut bench = Bench::new();
    bench.event(What::Queued, 7, 1, None);
    let id = TaskId::from_u128(7);
    assert!(!bench.seen().to_string().contains(&id.to_string()));
    assert_eq!(bench.picture.task(&shown(id)), Some(id));
    assert_eq!(bench.picture.task("nothing"), None);
    // The page works it out by itself: its own test has the same pair.
    assert_eq!(shown(id), "0d25a51a47b7f482");
}

#[test]
fn a_silent_node_is_shown_as_silent_and_forgotten_later() {
    let mut bench = Bench::new();
    bench.beat(NODE_A, &[]);
    bench.pass(Duration::from_millis(2_900));
    assert_eq!(bench.seen()["nodes"][NODE_A]["status"], "idle");
    bench.pass(Duration::from_millis(100));
    let seen = bench.seen();
    assert_eq!(seen["nodes"][NODE_A]["status"], "silent");
    assert_eq!(seen["nodes"][NODE_A]["heard"], 1_000_000);
    bench.beat(NODE_A, &[]);
    assert_eq!(bench.seen()["nodes"][NODE_A], {
        let mut node = seen["nodes"][NODE_A].clone();
        node["status"] = "idle".into();
        node.as_object_mut().unwrap().remove("heard");
        node
    });
    bench.pass(super::super::node::FORGOTTEN);
    assert_eq!(bench.seen()["nodes"], json!({}));
}

#[test]
fn nobodys_silence_counts_while_we_are_cut_off() {
    let mut bench = Bench::new();
    bench.beat(NODE_A, &[(7, 1, 1)]);
    bench.picture.apply(Heard::Link(false), bench.now);
    bench.pass(Duration::from_secs(60));
    bench.picture.apply(Heard::Link(true), bench.now);
    bench.pass(Duration::from_secs(1));
    let seen = bench.seen();
    assert_eq!(seen["nodes"][NODE_A]["status"], "idle");
    assert_eq!(seen["tasks"].as_object().unwrap().len(), 1);
}

#[test]
fn a_task_whose_end_nobody_told_goes_and_ended_ones_are_bounded() {
    let mut bench = Bench::new();
    bench.beat(NODE_A, &[(7, 1, 1)]);
    bench.pass(Duration::from_secs(9));
    assert_eq!(bench.seen()["tasks"], json!({}));
    bench.event(What::Placed, 8, 1, Some(NODE_A));
    bench.event(What::Lost, 8, 1, Some(NODE_A));
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.task(8)["state"], "moving", "its edge looks for an orchestrator meanwhile");
    bench.pass(Duration::from_secs(31));
    assert_eq!(bench.seen()["tasks"], json!({}));
    for task in 0..ENDED as u128 + 50 {
        bench.event(What::Placed, task, 1, Some(NODE_A));
        bench.event(What::Done, task, 1, Some(NODE_A));
    }
    assert_eq!(bench.seen()["tasks"].as_object().unwrap().len(), ENDED);
    for task in 0..TASKS as u128 * 2 {
        bench.event(What::Placed, 1_000_000 + task, 1, Some(NODE_A));
    }
    assert_eq!(bench.seen()["tasks"].as_object().unwrap().len(), TASKS);
}

#[test]
fn an_ended_task_is_shown_and_cannot_be_ended_any_more() {
    let mut bench = Bench::new();
    bench.event(What::Placed, 7, 1, Some(NODE_A));
    bench.event(What::Done, 7, 1, Some(NODE_A));
    assert_eq!(bench.task(7)["state"], "done");
    assert_eq!(bench.picture.task(&shown(TaskId::from_u128(7))), None);
}

#[test]
fn texts_from_the_bus_are_cut_where_they_are_taken() {
    let mut bench = Bench::new();
    let long = "ä".repeat(100_000);
    for (what, id) in [(What::Queued, 7), (What::Failed, 8)] {
        let task = Some(TaskId::from_u128(id));
        let event = Event { task, model: long.clone(), detail: long.clone(), ..Event::new(what, 1) };
        bench.picture.apply(Heard::Event(Box::new(event)), bench.now);
    }
    let beat = Heartbeat {
        reason: long.clone(),
        agent_host: long.clone(),
        version: long.clone(),
        models: Some(vec![Model {
            name: long.clone(),
            unavailable: long.clone(),
            capabilities: vec![long.clone().into(); 1_000],
            ..Model::default()
        }]),
        engine: Engine { kind: long.clone(), version: long.clone() },
        progress: vec![Progress { model: long.clone(), tokens: 1, prompt: false }],
        active: vec![Held {
            id: AttemptId { task: TaskId::from_u128(9), attempt: 1 },
            seq: None,
            ended: false,
        }],
        ..bench.heartbeat(NODE_A)
    };
    bench.picture.apply(Heard::Beat(Box::new(beat)), bench.now);
    let seen = bench.seen().to_string();
    assert!(seen.contains("ää") && seen.len() < 20_000, "{} bytes are shown", seen.len());
}

#[test]
fn tasks_that_only_wait_make_room_for_others_and_those_that_run_do_not() {
    let mut bench = Bench::new();
    bench.event(What::Placed, 1, 1, Some(NODE_A));
    for task in 0..TASKS as u128 {
        bench.now.at += Duration::from_millis(1);
        bench.event(What::Queued, 1_000_000 + task, 1, None);
    }
    bench.event(What::Placed, 2, 1, Some(NODE_A));
    let seen = bench.seen();
    assert_eq!(seen["tasks"].as_object().unwrap().len(), TASKS);
    let is_shown = |task: u128| seen["tasks"][shown(TaskId::from_u128(task))].is_object();
    let last = 1_000_000 + TASKS as u128 - 1;
    assert_eq!([1, 2, 1_000_000, last].map(is_shown), [true, true, false, true]);
}

#[test]
fn one_lost_answer_or_a_lost_broker_is_no_lost_orchestrator() {
    let mut bench = Bench::new();
    let unanswered = |bench: &mut Bench| {
        bench.picture.apply(Heard::Status(None), bench.now);
        bench.seen()["mesh"]["orchestrator"].clone()
    };
    assert_eq!(unanswered(&mut bench), Value::Null);
    bench.picture.apply(Heard::Link(false), bench.now);
    for _ in 0..5 {
        assert_eq!(unanswered(&mut bench), Value::Null);
    }
    bench.picture.apply(Heard::Link(true), bench.now);
    assert_eq!(unanswered(&mut bench), "");
}

#[test]
fn nothing_is_said_of_the_broker_before_it_is_known() {
    let mut picture = Picture::default();
    picture.changes();
    assert_eq!(picture.whole()["mesh"], json!({}));
}

#[test]
fn more_tokens_than_can_be_counted_are_no_panic() {
    let mut bench = Bench::new();
    bench.beat(NODE_A, &[(1, 1, u64::MAX), (2, 1, u64::MAX)]);
    assert_eq!(bench.seen()["nodes"][NODE_A]["made"], u64::MAX);
}

#[test]
fn an_idle_mesh_says_nothing() {
    let mut bench = Bench::new();
    bench.beat(NODE_A, &[]);
    assert!(bench.picture.changes().is_some());
    for _ in 0..10 {
        bench.pass(Duration::from_secs(1));
        bench.beat(NODE_A, &[]);
        assert_eq!(bench.picture.changes(), None);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Event(What, u128, u32, bool),
    Beat(bool, Vec<(u128, u32, u64)>),
    Pass(u64),
    Link(bool),
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = prop::sample::select(vec![
        What::Queued,
        What::Placed,
        What::Released,
        What::Lost,
        What::Retried,
        What::Done,
        What::Failed,
        What::Cancelled,
        What::Unknown,
    ]);
    let step = prop_oneof![
        4 => (what, 0..4u128, 0..4u32, any::<bool>()).prop_map(|(what, task, attempt, a)| Step::Event(what, task, attempt, a)),
        3 => (any::<bool>(), prop::collection::vec((0..4u128, 1..4u32, 0..50u64), 0..3)).prop_map(|(a, held)| Step::Beat(a, held)),
        1 => (0..5_000u64).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Link),
        2 => Just(Step::Look),
    ];
    prop::collection::vec(step, 0..60)
}

/// As the page does it.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else { return *target = patch.clone() };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

proptest! {
    /// Whoever came early and took every change sees what one sees who comes now; and nobody sees a task in two minds.
    #[test]
    fn changes_add_up_to_the_whole_whatever_happens(steps in steps()) {
        let mut bench = Bench::new();
        let mut viewer = bench.picture.whole();
        for step in steps {
            match step {
                Step::Event(what, task, attempt, a) => bench.event(what, task, attempt, Some(if a { NODE_A } else { NODE_B })),
                Step::Beat(a, held) => bench.beat(if a { NODE_A } else { NODE_B }, &held),
                Step::Pass(ms) => bench.pass(Duration::from_millis(ms)),
                Step::Link(up) => bench.picture.apply(Heard::Link(up), bench.now),
                Step::Look => {
                    if let Some(change) = bench.picture.changes() {
                        merge(&mut viewer, &change);
                    }
                    prop_assert_eq!(&viewer, &bench.picture.whole());
                }
            }
            for task in bench.picture.tasks.values() {
                prop_assert!(task.state != super::super::task::State::Running || task.node.is_some());
            }
        }
    }
}

#[test]
fn a_node_that_lists_attempts_without_end_takes_no_more_of_the_picture_than_others() {
    let mut bench = Bench::new();
    let many: Vec<_> = (0..100_000).map(|task| (task, 1, 1)).collect();
    bench.beat(NODE_A, &many);
    assert_eq!(bench.picture.tasks.len(), ACTIVE);
}

/// What agents, orchestrators and edges say, a line for each.
#[test]
fn spoilt_words_of_others() {
    let beat = r#"{"node":"node-a","boot":"b1","number":9,"status":"draining","reason":"r","paused":"hours","active":[{"task":"00000000-0000-0000-0000-000000000007","attempt":2,"seq":4}],"progress":[{"model":"m","tokens":18446744073709551615}],"slots":4294967295,"models":[{"name":"m","size":4,"loaded":true,"capabilities":["tools","newer"],"tokens_per_second":12.5}],"engine":{"kind":"ollama","version":"v"},"memory":{"total":8,"free":3},"disk":{"total":80,"free":30},"agent_host":"h","agent_port":9001,"version":"0.1.0","uptime_ms":18446744073709551615}"#;
    let event = |what: &str| {
        format!(
            r#"{{"what":"{what}","at":1,"node":"node-a","task":"00000000-0000-0000-0000-000000000007","attempt":2,"model":"m","tokens":4,"latency_ms":5,"position":2,"expected_wait_ms":900,"detail":"gone","why":{{"node":"node-a"}}}}"#
        )
    };
    let seed =
        [beat, &event("queued"), &event("placed"), beat, &event("lost"), &event("done"), beat].join("\n");
    echo_fuzz::parser("picture of the mesh", &[seed], |bytes| {
        let (mut bench, mut heard) = (Bench::new(), 0);
        for line in bytes.split(|byte| *byte == b'\n').take(2_000) {
            let said = match (serde_json::from_slice(line), serde_json::from_slice(line)) {
                (Ok(beat), _) => Heard::Beat(beat),
                (_, Ok(event)) => Heard::Event(event),
                _ => continue,
            };
            heard += 1;
            bench.picture.apply(said, bench.now);
            bench.pass(Duration::from_millis(100));
        }
        bench.picture.changes();
        let told = bench.picture.whole().to_string();
        assert!(told.len() <= 6 * bytes.len() + 2_048, "{} of {}", told.len(), bytes.len());
        heard > 1
    });
}
