//! Members of the mesh that mean harm: their keys are valid, and they say whatever they like. What their duty does not need is
//! denied, and what it allows costs nobody else an answer, a process or much memory.

use std::time::Duration;

use async_nats::{ConnectOptions, Message, Subscriber};
use echo_broker::trust::Trust;
use echo_bus::id::{NodeId, TaskId};
use echo_bus::key::Seed;
use echo_bus::message::{MachinesAnswer, MachinesRequest, NewKey};
use echo_bus::subject::{self, Duty};
use echo_testing::client::Stream;
use echo_testing::mesh::{Mesh, PATIENCE, holds, until};
use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};

use super::permissions::{TOGETHER, Tried};
use super::trust::operator;

/// More than a few buffers: what is said is kept nowhere.
const GROWTH: u64 = 64 << 20;
/// Nobody else may read it.
const SECRET: &str = "marmalade-in-the-attic";

/// A member that means harm.
struct Hostile {
    tried: Tried,
    /// As it stands in subjects.
    id: String,
    barriers: usize,
}

impl Hostile {
    /// Lets a new key in by the operator's command, and connects with it under this name.
    async fn admitted(mesh: &Mesh, name: &str, duty: Duty) -> Self {
        let path = mesh.folder().join(format!("{name}.nk"));
        let key = Seed::read_or_create(&path).expect("a key").public().clone();
        let node = (duty == Duty::Agent).then(|| name.parse::<NodeId>().expect("an id"));
        let id = node.as_ref().map_or_else(|| key.process().to_string(), ToString::to_string);
        let new = NewKey { name: name.to_owned(), duty, node, key };
        let asks = operator(mesh).await;
        let admit = MachinesRequest::Admit { keys: vec![new] };
        match asks.call(&subject::machines(), &admit, PATIENCE).await {
            Ok(MachinesAnswer::Machines { .. }) => {}
            other => panic!("{other:?}"),
        }
        Self { tried: Self::connect(mesh, name, "whoever").await, id, barriers: 0 }
    }

    async fn connect(mesh: &Mesh, key: &str, name: &str) -> Tried {
        let seed = std::fs::read_to_string(mesh.folder().join(format!("{key}.nk"))).expect("a key");
        let options = secure(mesh, ConnectOptions::with_nkey(seed.trim().to_owned())).name(name);
        Tried::open(&mesh.broker.url(), options).await.expect("a valid key gets in")
    }

    async fn settle(&mut self) {
        self.barriers += 1;
        self.tried.settle(self.barriers).await;
    }

    async fn say(&self, subject: &str, payload: impl Into<Vec<u8>>) {
        self.tried.client.publish(subject.to_owned(), payload.into().into()).await.expect("sent");
    }

    /// Each of these is denied, whatever it would say.
    async fn may_not_say(&mut self, subjects: &[String]) {
        for some in subjects.chunks(TOGETHER) {
            for subject in some {
                self.say(subject, "{}").await;
            }
            self.settle().await;
        }
        let allowed: Vec<_> = subjects.iter().filter(|it| !self.tried.was_denied("Publish", it)).collect();
        assert!(allowed.is_empty(), "{} may say {allowed:?}", self.id);
    }

    /// Each of these is denied; the subscriptions, should one of them be in force.
    async fn may_not_hear(&mut self, subjects: &[String]) -> Vec<Subscriber> {
        let mut open = Vec::new();
        for some in subjects.chunks(TOGETHER) {
            for subject in some {
                open.push(self.tried.client.subscribe(subject.clone()).await.expect("sent"));
            }
            self.settle().await;
        }
        let denied = |it: &&String| !self.tried.was_denied("Subscription", it);
        let allowed: Vec<_> = subjects.iter().filter(denied).collect();
        assert!(allowed.is_empty(), "{} may hear {allowed:?}", self.id);
        open
    }
}

fn secure(mesh: &Mesh, options: ConnectOptions) -> ConnectOptions {
    let trust = Trust::open(&mesh.folder().join("trust")).expect("the mesh's keys");
    options.add_root_certificates(trust.authority()).require_tls(true)
}

fn texts<const N: usize>(subjects: [&str; N]) -> Vec<String> {
    subjects.map(str::to_owned).to_vec()
}

/// What does not change while others are hostile.
struct Before {
    pids: Vec<(String, i32, u64)>,
}

impl Before {
    fn of(mesh: &Mesh) -> Self {
        let of = |it: &echo_testing::mesh::Program| (it.name().to_owned(), it.pid(), it.resident());
        Self { pids: mesh.programs().map(of).collect() }
    }

    async fn still_holds(&self, mesh: &Mesh) {
        mesh.ask("count [tokens=20]").rest().await.assert_every_token_once(20);
        for (program, (name, pid, before)) in mesh.programs().zip(&self.pids) {
            assert!(program.runs(), "{name} runs");
            assert_eq!(program.pid(), *pid, "{name} is the same process");
            let grown = program.resident().saturating_sub(*before);
            println!("{name}: {} KiB more than before", grown >> 10);
            assert!(grown < GROWTH, "{name} has grown by {grown} bytes");
            if name != "broker" {
                let denied: Vec<_> =
                    program.logs().all().into_iter().filter(|line| line.contains("Violation")).collect();
                assert!(denied.is_empty(), "{name} was denied something: {denied:?}");
            }
        }
    }
}

async fn mesh() -> Mesh {
    Mesh::start().keys().nodes(1).slots(4).await
}

/// The id of the honest edge, which it has from its key.
fn edge_of(mesh: &Mesh) -> String {
    let trust = Trust::open(&mesh.folder().join("trust")).expect("the mesh's keys");
    let key = trust.own_key("edge-0", Duty::Edge, None).expect("its key");
    Seed::read(&key).expect("its key").public().process().to_string()
}

/// Answers that go on meanwhile, each at its third token.
async fn answers(mesh: &Mesh) -> Vec<Stream> {
    let prompt = format!("{SECRET} count [tokens=300] [delay=10]");
    let mut streams: Vec<_> = (0..2).map(|_| mesh.ask(&prompt)).collect();
    for stream in &mut streams {
        stream.read_tokens(3).await;
    }
    streams
}

async fn are_whole(streams: Vec<Stream>) {
    for stream in streams {
        let answer = stream.rest().await;
        answer.assert_every_token_once(300);
        assert_eq!((answer.attempts(), answer.nodes()), (1, vec!["node-a".to_owned()]));
    }
}

/// Everything that may be read, and nothing that has a meaning.
fn garbage(largest: usize) -> Vec<Vec<u8>> {
    let deep = |open: &str, count: usize| open.repeat(count).into_bytes();
    vec![
        Vec::new(),
        b"\x00\xff\xfe\x80".repeat(1_000),
        b"{".to_vec(),
        b"null".to_vec(),
        b"[1e999,-1e999,NaN,Infinity,-0.0,18446744073709551616]".to_vec(),
        deep("[", 100_000),
        deep("{\"a\":", 100_000),
        vec![b'x'; largest],
        format!("{{\"node\":\"{}\"}}", "n".repeat(1 << 20)).into_bytes(),
    ]
}

/// The task ids that events name.
async fn task_ids(events: &mut Subscriber, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let event = events.next().await.expect("an event");
        let id = event.subject.split('.').nth(3).expect("echo.event.task.<id>").to_owned();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

#[tokio::test]
async fn an_agent_that_means_harm_harms_no_answer_of_another() {
    let mesh = mesh().await;
    let watch = Hostile::admitted(&mesh, "looker", Duty::Watch).await;
    let mut beats = watch.tried.client.subscribe("echo.node.node-a.heartbeat").await.expect("sent");
    let mut events = watch.tried.client.subscribe("echo.event.task.*.*").await.expect("sent");
    let mut agent = Hostile::admitted(&mesh, "node-b", Duty::Agent).await;
    let edge = edge_of(&mesh);
    let before = Before::of(&mesh);
    let streams = answers(&mesh).await;
    let beat = beats.next().await.expect("a heartbeat").payload;
    let tasks = task_ids(&mut events, 2).await;

    let home = TaskId::home_of(&edge.parse().expect("an id"));
    let mut said = texts([
        "echo.node.node-a.heartbeat",
        "_echo.cache.node-a",
        "echo.node.node-a.task",
        "echo.task.submit",
        "echo.event.node.node-a.left",
        "_echo.order.node-a",
        "_echo.order.node-b",
        "_echo.machines",
        "_echo.gone",
        "_echo.ping.agent.node-a",
        "_INBOX.agent.node-a.reply.1",
    ]);
    said.extend([
        format!("_echo.pulse.{edge}.agent.node-a"),
        format!("_echo.answer.{home}"),
        format!("_INBOX.edge.{edge}.reply.1"),
        format!("echo.task.submit.{home}"),
        format!("echo.task.cancel.{home}"),
        format!("echo.node.node-a.cancel.{home}"),
        format!("echo.node.node-b.cancel.{home}"),
    ]);
    said.extend(tasks.iter().map(|task| format!("echo.event.task.{task}.done")));
    agent.may_not_say(&said).await;
    let mut heard = texts([
        ">",
        "echo.>",
        "_echo.>",
        "_INBOX.>",
        "echo.node.*.task",
        "echo.node.node-a.task",
        "echo.node.node-a.cancel.*",
        "echo.node.*.heartbeat",
        "echo.event.>",
        "echo.task.submit",
        "echo.task.submit.*",
        "_echo.order.node-a",
        "_echo.ping.agent.node-a",
        "_echo.gone",
    ]);
    heard.extend([format!("_INBOX.edge.{edge}.>"), format!("_echo.pulse.{edge}.*.*")]);
    agent.may_not_hear(&heard).await;

    rages(&agent, &edge, &tasks, &beat).await;
    agent.settle().await;
    are_whole(streams).await;
    before.still_holds(&mesh).await;
}

/// All that the permissions of an agent leave open.
async fn rages(agent: &Hostile, edge: &str, tasks: &[String], beat: &[u8]) {
    let largest = agent.tried.client.server_info().max_payload;
    let pulse = format!("_echo.pulse.{edge}.agent.node-b");
    let own = ["echo.node.node-b.heartbeat", "_echo.cache.node-b", "echo.mesh.status", &pulse];
    for payload in garbage(largest) {
        for subject in own {
            agent.say(subject, payload.clone()).await;
        }
        agent.say(&format!("_INBOX.edge.{edge}.guessed-1"), payload).await;
    }
    // Another's heartbeat under the own subject, later than all of its own, and drained.
    let mut forged: Value = serde_json::from_slice(beat).expect("a heartbeat");
    forged["number"] = json!(u64::MAX);
    forged["status"] = json!("draining");
    agent.say(own[0], forged.to_string()).await;
    forged["node"] = json!("node-b");
    forged["status"] = json!("unavailable");
    forged["slots"] = json!(u32::MAX);
    agent.say(own[0], forged.to_string()).await;
    // The attempts of node-a, said to be held here and to have ended, and in another start of node-a.
    let holds: Vec<Value> =
        tasks.iter().map(|task| json!({"task": task, "attempt": 1, "seq": 9, "ended": true})).collect();
    for holder in ["node-a", "node-b"] {
        let claim = json!({"holder": {"role": "agent", "id": holder}, "boot": "b", "held": holds});
        agent.say(&pulse, claim.to_string()).await;
    }
    let end = json!({"frame": "failed", "verdict": "give_up", "code": "harmful", "message": "no"});
    for number in 0..20_000 {
        agent.say(&format!("_INBOX.edge.{edge}.{number:016x}-1"), end.to_string()).await;
    }
}

#[tokio::test]
async fn a_connection_that_ends_under_anothers_name_costs_that_node_a_round_trip() {
    let mesh = mesh().await;
    let watch = Hostile::admitted(&mesh, "looker", Duty::Watch).await;
    let mut beats = watch.tried.client.subscribe("echo.node.node-a.heartbeat").await.expect("sent");
    let mut events = watch.tried.client.subscribe("echo.event.node.node-a.*").await.expect("sent");
    let _agent = Hostile::admitted(&mesh, "node-b", Duty::Agent).await;
    let streams = answers(&mesh).await;
    let beat: Value =
        serde_json::from_slice(&beats.next().await.expect("a heartbeat").payload).expect("a heartbeat");
    let name = format!("agent.node-a.{}", beat["boot"].as_str().expect("a boot"));
    let mut took: Vec<u64> = Vec::new();
    for _ in 0..5 {
        drop(Hostile::connect(&mesh, "node-b", &name).await);
        let mut next = async |what: &str| loop {
            let event = events.next().await.expect("an event");
            if event.subject.ends_with(what) {
                break serde_json::from_slice::<Value>(&event.payload).expect("an event")["at"].as_u64();
            }
        };
        let (suspect, back) = (next("suspect").await, next("changed").await);
        took.push(back.expect("a time") - suspect.expect("a time"));
    }
    println!("node-a was held back for {took:?} ms");
    took.sort_unstable();
    // Its heartbeats come once a second.
    assert!(took[2] < 100, "{took:?} ms");
    are_whole(streams).await;
}

#[tokio::test]
async fn an_edge_that_means_harm_reads_no_answer_of_another_and_decides_nothing() {
    let mesh = mesh().await;
    let mut hostile = Hostile::admitted(&mesh, "other-edge", Duty::Edge).await;
    let edge = edge_of(&mesh);
    let before = Before::of(&mesh);
    let mut events = hostile.tried.client.subscribe("echo.event.task.*.*").await.expect("sent");
    hostile.settle().await;
    let streams = answers(&mesh).await;
    let tasks = task_ids(&mut events, 2).await;
    let home_of = |id: &str| TaskId::home_of(&id.parse().expect("an id"));
    let (home, own) = (home_of(&edge), home_of(&hostile.id));
    let mut heard = texts([
        ">",
        "_INBOX.>",
        "_INBOX.edge.>",
        "_echo.answer.*",
        "_echo.pulse.>",
        "echo.node.*.task",
        "echo.task.submit",
        "echo.task.submit.*",
        "_echo.cache.*",
        "_echo.order.*",
    ]);
    heard.extend([
        format!("_INBOX.edge.{edge}.*"),
        format!("_INBOX.edge.{edge}.reply.*"),
        format!("_echo.answer.{home}"),
        format!("_echo.pulse.{edge}.*.*"),
        format!("_echo.ping.edge.{edge}"),
    ]);
    let mut open = hostile.may_not_hear(&heard).await;
    let mut said = texts([
        "echo.node.node-a.task",
        "echo.node.node-a.heartbeat",
        "echo.task.submit",
        "_echo.cache.node-a",
        "echo.event.node.node-a.left",
        "_echo.gone",
        "_echo.machines",
        "_INBOX.agent.node-a.reply.1",
    ]);
    said.extend([
        format!("_echo.pulse.{edge}.agent.node-a"),
        format!("_echo.pulse.{edge}.orchestrator.o"),
        format!("_INBOX.edge.{edge}.guessed-1"),
        format!("_INBOX.edge.{edge}.reply.1"),
        format!("echo.task.submit.{home}"),
        format!("echo.task.cancel.{home}"),
        format!("echo.node.node-a.cancel.{home}"),
    ]);
    hostile.may_not_say(&said).await;
    for task in tasks {
        let cancel = json!({"task": task, "attempt": 9}).to_string();
        let next = json!({"task": task, "attempt": 2, "inbox": format!("_INBOX.edge.{}.k", hostile.id),
            "request": {"kind": "generate", "prompt": "count [tokens=3]"}});
        hostile.say(&format!("echo.task.cancel.{own}"), cancel.clone()).await;
        hostile.say(&format!("echo.node.node-a.cancel.{own}"), cancel).await;
        hostile.say(&format!("echo.task.submit.{own}"), next.to_string()).await;
    }
    let largest = hostile.tried.client.server_info().max_payload;
    for payload in garbage(largest) {
        hostile.say(&format!("echo.task.submit.{own}"), payload.clone()).await;
        hostile.say(&format!("echo.task.cancel.{own}"), payload.clone()).await;
        hostile.say(&format!("_echo.answer.{home}"), payload.clone()).await;
        hostile.say(&format!("echo.node.node-a.cancel.{own}"), payload.clone()).await;
        hostile.say("_echo.order.node-a", payload).await;
    }
    hostile.settle().await;
    are_whole(streams).await;
    for one in &mut open {
        assert!(one.next().now_or_never().flatten().is_none(), "it heard nothing");
    }
    before.still_holds(&mesh).await;
}

#[tokio::test]
async fn who_watches_sees_no_text_and_changes_nothing() {
    let mesh = mesh().await;
    let mut watch = Hostile::admitted(&mesh, "looker", Duty::Watch).await;
    let before = Before::of(&mesh);
    let mut open = Vec::new();
    for subject in ["echo.node.*.heartbeat", "echo.event.node.*.*", "echo.event.task.*.*"] {
        open.push(watch.tried.client.subscribe(subject).await.expect("sent"));
    }
    let edge = edge_of(&mesh);
    let heard =
        [">", "*.>", "echo.>", "_echo.>", "_INBOX.>", "echo.task.>", "echo.node.>", "echo.node.*.task"];
    let mut heard = texts(heard);
    heard.extend([format!("_INBOX.edge.{edge}.>"), format!("_echo.pulse.{edge}.>"), "_echo.answer.*".into()]);
    open.extend(watch.may_not_hear(&heard).await);
    let streams = answers(&mesh).await;
    let said = texts([
        "echo.task.submit",
        "echo.node.node-a.heartbeat",
        "echo.node.node-a.task",
        "echo.node.node-a.cancel.000000000000",
        "echo.task.cancel.000000000000",
        "_echo.order.node-a",
        "_echo.machines",
        "_echo.ping.agent.node-a",
        "echo.event.node.node-a.left",
        "_echo.gone",
    ]);
    watch.may_not_say(&said).await;
    are_whole(streams).await;
    let status = watch.tried.client.request("echo.mesh.status", "{}".into()).await;
    drop(status);
    let mut seen: Vec<Message> = Vec::new();
    until("the end of a task to be seen", || {
        for one in &mut open {
            while let Some(Some(message)) = one.next().now_or_never() {
                seen.push(message);
            }
        }
        let ended = seen.iter().filter(|it| it.subject.ends_with(".done")).count();
        std::future::ready(holds(ended >= 2, ended))
    })
    .await;
    println!("{} messages seen", seen.len());
    for message in &seen {
        let text = String::from_utf8_lossy(&message.payload);
        assert!(!text.contains(SECRET) && !text.contains("t17 "), "{}: {text}", message.subject);
    }
    before.still_holds(&mesh).await;
}

#[tokio::test]
async fn without_a_key_that_was_let_in_nobody_gets_in() {
    let mesh = mesh().await;
    let strange = Seed::read_or_create(&mesh.folder().join("strange.nk")).expect("a key");
    drop(strange);
    let strange = std::fs::read_to_string(mesh.folder().join("strange.nk")).expect("a key");
    let ways = [
        ("no login", ConnectOptions::new()),
        ("the old login", ConnectOptions::with_user_and_password("mesh".into(), String::new())),
        ("a strange key", ConnectOptions::with_nkey(strange.trim().to_owned())),
        ("a token", ConnectOptions::with_token("mesh".into())),
    ];
    for (what, options) in ways {
        let tried = tokio::time::timeout(Duration::from_secs(10), async {
            Tried::open(&mesh.broker.url(), secure(&mesh, options)).await.err().map(|error| error.to_string())
        });
        let error = tried.await.expect("an answer in time").unwrap_or_else(|| panic!("{what} gets in"));
        println!("{what}: {error}");
    }
    mesh.ask("count [tokens=20]").rest().await.assert_every_token_once(20);
}
