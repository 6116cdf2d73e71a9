//! What each part may say and hear, tried on the real server by the real client: the table is written by hand, so that a slip
//! in the contract shows here, and a subject without a row fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectOptions, Event, Subject};
use echo_bus::id::TaskId;
use echo_bus::permission::Part;
use echo_bus::subject::CONTRACT;
use echo_testing::mesh::{Program, holds, until};
use futures::StreamExt as _;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::nats::{KeyFile, NatsServer};

/// For each duty: may it say, may it hear? `x`: whatever stands in the braces. `o`: only what names itself. `.`: never.
#[rustfmt::skip]
const WANTED: &[(&str, [&str; 7])] = &[
    //                agent orchestrator edge broker operator watch guest
    ("HEARTBEAT",    ["oo", ".x",       ".x", "..",  ".x",    ".x", ".."]),
    ("SUBMIT",       ["..", ".x",       "..", "..",  "..",    "..", ".."]),
    ("SUBMIT_FROM",  ["..", ".x",       "o.", "..",  "..",    "..", ".."]),
    ("TASK",         [".o", "x.",       "..", "..",  "..",    "..", ".."]),
    ("CANCEL_AT",    [".o", "x.",       "o.", "..",  "..",    "..", ".."]),
    ("CANCEL_TASK",  ["..", ".x",       "o.", "..",  "..",    "..", ".."]),
    ("FRAMES",       ["x.", "x.",       ".o", "..",  "..",    "..", ".."]),
    ("ANSWER",       ["..", "..",       "xo", "..",  "..",    "..", ".."]),
    ("PULSE",        ["o.", "o.",       ".o", "..",  "..",    "..", ".."]),
    ("PING",         ["oo", "xo",       "xo", "oo",  "xx",    "..", ".."]),
    ("CACHE",        ["o.", ".x",       "..", "..",  "..",    "..", ".."]),
    ("GONE",         ["..", ".x",       ".x", "..",  "..",    "..", ".."]),
    ("STATUS",       ["x.", ".x",       "x.", "..",  "x.",    "x.", ".."]),
    ("NODE_EVENT",   ["..", "x.",       ".x", "..",  ".x",    ".x", ".."]),
    ("TASK_EVENT",   ["..", "x.",       "xx", "..",  ".x",    ".x", ".."]),
    ("ORDER",        [".o", "..",       "x.", "..",  "x.",    "..", ".."]),
    ("JOIN",         ["..", "..",       "..", "..",  ".x",    "..", "x."]),
    ("MACHINES",     ["..", "..",       "..", ".x",  "x.",    "..", ".."]),
    // The broker's part says any: the server forgets at a reload who may answer what, and that part reloads before it answers.
    ("REPLY",        ["oo", "oo",       "oo", "xo",  "oo",    "oo", ".."]),
    ("CLIENT_REPLY", ["..", "..",       "..", "..",  ".o",    ".o", ".."]),
    ("JOINER_REPLY", ["..", "..",       "..", "..",  "..",    "..", ".x"]),
];

const DUTIES: [&str; 7] = ["agent", "orchestrator", "edge", "broker", "operator", "watch", "guest"];

/// Nobody hears these: they are more than one part needs.
const TOO_WIDE: [&str; 9] = [
    ">",
    "*.>",
    "echo.>",
    "_echo.>",
    "_INBOX.>",
    "_INBOX.edge.>",
    "echo.node.*.task",
    "_echo.ping.>",
    "$SRV.>",
];

/// One who tries: its name, its duty, and its login.
struct Party {
    name: &'static str,
    duty: usize,
    part: Part,
    key: Option<KeyFile>,
    /// As it stands in subjects.
    id: String,
}

struct Parties {
    all: Vec<Party>,
    _folder: TempDir,
}

impl Parties {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let keyed = |name: &'static str, duty: usize, part: &dyn Fn(&KeyFile) -> Part| {
            let key = KeyFile::new(folder.path(), name);
            let part = part(&key);
            let id = part.peer().map(|peer| peer.id.to_string()).unwrap_or_default();
            Party { name, duty, part, key: Some(key), id }
        };
        let node = |name: &str| Part::Agent(name.parse().expect("an id"));
        let all = vec![
            keyed("node-a", 0, &|_| node("node-a")),
            keyed("node-b", 0, &|_| node("node-b")),
            keyed("orchestrator", 1, &|key| Part::Orchestrator(key.public.process())),
            keyed("edge", 2, &|key| Part::Edge(key.public.process())),
            keyed("other-edge", 2, &|key| Part::Edge(key.public.process())),
            keyed("broker", 3, &|key| Part::Broker(key.public.process())),
            keyed("operator", 4, &|key| Part::Operator(key.public.process())),
            keyed("watch", 5, &|key| Part::Watch(key.public.process())),
            Party { name: "guest", duty: 6, part: Part::Guest, key: None, id: String::new() },
        ];
        Self { all, _folder: folder }
    }

    fn named(&self, name: &str) -> &Party {
        self.all.iter().find(|party| party.name == name).expect("a party of that name")
    }

    /// The accounts of nats.conf, with these users.
    fn config(&self) -> String {
        let user = |party: &Party| {
            let who = match &party.key {
                Some(key) => format!("nkey: {}", key.public),
                None => "user: join, password: \"\"".to_owned(),
            };
            format!("{{ {who}\n{}\n}}\n", party.part.permissions().to_conf(2))
        };
        let (guests, members): (Vec<&Party>, Vec<&Party>) =
            self.all.iter().partition(|party| party.key.is_none());
        let users = |parties: &[&Party]| parties.iter().map(|party| user(party)).collect::<String>();
        format!(
            r#"
            max_payload: 8MB
            system_account: SYS
            accounts {{
              SYS {{ exports: [ {{ stream: "$SYS.ACCOUNT.ECHO.DISCONNECT" }} ] }}
              ECHO {{
                exports: [ {{ service: "_echo.join.*", accounts: [JOIN] }} ]
                imports: [ {{ stream: {{ account: SYS, subject: "$SYS.ACCOUNT.ECHO.DISCONNECT" }}, to: "_echo.gone" }} ]
                users: [ {} ]
              }}
              JOIN {{
                imports: [ {{ service: {{ account: ECHO, subject: "_echo.join.*" }} }} ]
                users: [ {} ]
              }}
            }}
            "#,
            users(&members),
            users(&guests)
        )
    }

    /// Subjects of each shape, each with the parties that it names.
    fn subjects(&self) -> BTreeMap<&'static str, Vec<(String, Vec<&'static str>)>> {
        let id = |name: &str| self.named(name).id.clone();
        let task = TaskId::from_u128(7);
        let home = |name: &str| TaskId::home_of(&id(name).parse().expect("an id"));
        let nodes =
            |shape: &str| ["node-a", "node-b"].map(|node| (shape.replace("{}", node), vec![node])).to_vec();
        let peers = |shape: &str| {
            let roles = [
                ("node-a", "agent"),
                ("node-b", "agent"),
                ("orchestrator", "orchestrator"),
                ("edge", "edge"),
                ("other-edge", "edge"),
                ("broker", "broker"),
                ("operator", "other"),
                ("watch", "other"),
            ];
            roles
                .map(|(name, role)| (shape.replace("{}", &format!("{role}.{}", id(name))), vec![name]))
                .to_vec()
        };
        let edges = |shape: &str| {
            ["edge", "other-edge"].map(|name| (shape.replace("{}", &id(name)), vec![name])).to_vec()
        };
        let homes = |shape: &str| {
            ["edge", "other-edge"].map(|name| (shape.replace("{}", &home(name)), vec![name])).to_vec()
        };
        let one = |subject: String| vec![(subject, Vec::new())];
        let (edge, other) = (id("edge"), id("other-edge"));
        BTreeMap::from([
            ("HEARTBEAT", nodes("echo.node.{}.heartbeat")),
            ("SUBMIT", one("echo.task.submit".into())),
            ("SUBMIT_FROM", homes("echo.task.submit.{}")),
            ("TASK", nodes("echo.node.{}.task")),
            (
                "CANCEL_AT",
                vec![
                    (format!("echo.node.node-a.cancel.{}", home("edge")), vec!["node-a", "edge"]),
                    (format!("echo.node.node-a.cancel.{}", home("other-edge")), vec!["node-a", "other-edge"]),
                    (format!("echo.node.node-b.cancel.{}", home("edge")), vec!["node-b", "edge"]),
                ],
            ),
            ("CANCEL_TASK", homes("echo.task.cancel.{}")),
            ("FRAMES", edges("_INBOX.edge.{}.0123456789abcdef-1")),
            ("ANSWER", homes("_echo.answer.{}")),
            (
                "PULSE",
                vec![
                    (format!("_echo.pulse.{edge}.agent.node-a"), vec!["node-a", "edge"]),
                    (format!("_echo.pulse.{other}.agent.node-a"), vec!["node-a", "other-edge"]),
                    (format!("_echo.pulse.{edge}.agent.node-b"), vec!["node-b", "edge"]),
                    (
                        format!("_echo.pulse.{edge}.orchestrator.{}", id("orchestrator")),
                        vec!["orchestrator", "edge"],
                    ),
                    (format!("_echo.pulse.{edge}.edge.{edge}"), vec!["edge"]),
                ],
            ),
            ("PING", peers("_echo.ping.{}")),
            ("CACHE", nodes("_echo.cache.{}")),
            ("GONE", one("_echo.gone".into())),
            ("STATUS", one("echo.mesh.status".into())),
            ("NODE_EVENT", nodes("echo.event.node.{}.joined")),
            ("TASK_EVENT", one(format!("echo.event.task.{task}.placed"))),
            ("ORDER", nodes("_echo.order.{}")),
            ("JOIN", one("_echo.join.001a".into())),
            ("MACHINES", one("_echo.machines".into())),
            ("REPLY", peers("_INBOX.{}.reply.7")),
            ("CLIENT_REPLY", peers("_INBOX.{}.client.abc.7")),
            ("JOINER_REPLY", one("_INBOX.join.k.abc.7".into())),
        ])
    }
}

/// A connection of the real client that takes down what it was denied.
pub(super) struct Tried {
    pub client: Client,
    denied: Arc<(Mutex<BTreeSet<String>>, Notify)>,
}

/// Denied actions come as events, of which the client holds 128.
pub(super) const TOGETHER: usize = 50;

impl Tried {
    async fn connect(url: &str, party: &Party) -> Self {
        let options = match &party.key {
            Some(key) => ConnectOptions::with_nkey(key.seed()),
            None => ConnectOptions::with_user_and_password("join".into(), String::new()),
        };
        Self::open(url, options).await.unwrap_or_else(|error| panic!("{} gets in: {error}", party.name))
    }

    pub(super) async fn open(url: &str, options: ConnectOptions) -> Result<Self, ConnectError> {
        let denied: Arc<(Mutex<BTreeSet<String>>, Notify)> = Arc::default();
        let told = denied.clone();
        let client = options
            .custom_inbox_prefix("_INBOX.join.k")
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    told.0.lock().expect("not poisoned").insert(error.to_string());
                    told.1.notify_one();
                }
                std::future::ready(())
            })
            .connect(url)
            .await?;
        Ok(Self { client, denied })
    }

    /// What nobody may say is denied behind all that came before it: the server works in order.
    pub(super) async fn settle(&self, number: usize) {
        let barrier = format!("\"nobody.says.this.{number}\"");
        self.client.publish(barrier.trim_matches('"').to_owned(), "".into()).await.expect("it is sent");
        let seen = async {
            while !self.was_denied("Publish", barrier.trim_matches('"')) {
                self.denied.1.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), seen).await.expect("the barrier is denied");
    }

    pub(super) fn was_denied(&self, what: &str, subject: &str) -> bool {
        let said = format!("Permissions Violation for {what} to \"{subject}\"").to_lowercase();
        self.denied.0.lock().expect("not poisoned").iter().any(|denied| denied.to_lowercase().contains(&said))
    }
}

#[tokio::test]
async fn each_part_may_say_and_hear_what_its_duty_needs_and_nothing_else() {
    let (parties, mut wrong, mut cases) = (Parties::new(), Vec::new(), 0);
    let subjects = parties.subjects();
    let rows: BTreeSet<&str> = WANTED.iter().map(|(name, _)| *name).collect();
    let contract: BTreeSet<&str> = CONTRACT.iter().map(|(name, _)| *name).collect();
    assert_eq!(rows, contract, "each subject of the contract has a row");
    let server = NatsServer::start(&parties.config()).await;
    for party in &parties.all {
        let tried = Tried::connect(&server.url(), party).await;
        let mut wanted: Vec<(&str, String, bool)> = Vec::new();
        for (shape, row) in WANTED {
            for (subject, named) in &subjects[shape] {
                for (action, rule) in ["Publish", "Subscription"].into_iter().zip(row[party.duty].chars()) {
                    let may = rule == 'x' || rule == 'o' && named.contains(&party.name);
                    wanted.push((action, subject.clone(), may));
                }
            }
        }
        wanted.extend(TOO_WIDE.map(|subject| ("Subscription", subject.to_owned(), false)));
        let mut open = Vec::new();
        for (number, some) in wanted.chunks(TOGETHER).enumerate() {
            for (action, subject, _) in some {
                match *action {
                    "Publish" => tried.client.publish(subject.clone(), "{}".into()).await.expect("sent"),
                    _ => open.push(tried.client.subscribe(subject.clone()).await.expect("sent")),
                }
            }
            tried.settle(number).await;
        }
        for (action, subject, may) in &wanted {
            // Subscriptions to what the operator may hear of each peer cover others' too.
            if tried.was_denied(action, subject) == *may {
                wrong.push(format!(
                    "{} ({}): {action} {subject} wanted {may}",
                    party.name, DUTIES[party.duty]
                ));
            }
        }
        cases += wanted.len();
    }
    println!("{cases} cases tried on the real server");
    assert!(wrong.is_empty(), "{} of {cases} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_echo_mesh_permissions_prints_is_good_for_the_server() {
    let parties = Parties::new();
    let server = NatsServer::start(&parties.config()).await;
    for party in &parties.all {
        let (Some(key), Some(duty)) = (&party.key, DUTIES.get(party.duty)) else { continue };
        let mut command = std::process::Command::new(echo_testing::mesh::binaries::program("echo-mesh"));
        command.args(["permissions", "--duty", duty, "--key"]).arg(&key.path).env("ECHO_CONFIG", "/dev/null");
        if party.duty == 0 {
            command.args(["--node", party.name]);
        }
        let printed = command.output().expect("it runs");
        let text = String::from_utf8(printed.stdout).expect("text");
        assert!(text.contains(key.public.as_str()), "{text}{}", String::from_utf8_lossy(&printed.stderr));
        assert!(!text.contains(&key.seed()), "no private half");
        let checked = server.check(&format!("authorization {{ users: [\n{text}\n] }}"));
        assert_eq!(checked, Ok(()), "{duty}: {text}");
    }
}

#[tokio::test]
async fn an_answer_is_allowed_once_and_only_where_something_was_asked() {
    let parties = Parties::new();
    let server = NatsServer::start(&parties.config()).await;
    let (agent, edge) = (parties.named("node-a"), parties.named("edge"));
    let (asks, answers) =
        (Tried::connect(&server.url(), edge).await, Tried::connect(&server.url(), agent).await);
    let reply = format!("_INBOX.edge.{}.reply.1", edge.id);
    let mut inbox = asks.client.subscribe(format!("_INBOX.edge.{}.reply.*", edge.id)).await.expect("sent");
    let mut pings = answers.client.subscribe("_echo.ping.agent.node-a").await.expect("sent");
    asks.settle(0).await;
    answers.settle(0).await;

    answers.client.publish(reply.clone(), "unasked".into()).await.expect("sent");
    answers.settle(1).await;
    assert!(answers.was_denied("Publish", &reply), "unasked");
    answers.denied.0.lock().expect("not poisoned").clear();

    asks.client
        .publish_with_reply("_echo.ping.agent.node-a", reply.clone(), "{}".into())
        .await
        .expect("sent");
    let ping = pings.next().await.expect("a ping");
    let to: Subject = ping.reply.expect("it wants an answer");
    answers.client.publish(to.clone(), "first".into()).await.expect("sent");
    answers.settle(2).await;
    assert!(!answers.was_denied("Publish", &reply), "the answer");
    answers.client.publish(to, "second".into()).await.expect("sent");
    answers.settle(3).await;
    assert!(answers.was_denied("Publish", &reply), "a second answer");
    assert_eq!(inbox.next().await.expect("the answer").payload, "first");
}

#[tokio::test]
async fn a_guest_is_answered_by_the_operator_and_meets_nobody_else() {
    let parties = Parties::new();
    let server = NatsServer::start(&parties.config()).await;
    let guest = Tried::connect(&server.url(), parties.named("guest")).await;
    let operator = Tried::connect(&server.url(), parties.named("operator")).await;
    let mut joins = operator.client.subscribe("_echo.join.*").await.expect("sent");
    operator.settle(0).await;
    let answering = async {
        let asked = joins.next().await.expect("a question");
        operator.client.publish(asked.reply.expect("a reply"), "welcome".into()).await.expect("sent");
        operator.settle(1).await;
    };
    let (answer, ()) = tokio::join!(guest.client.request("_echo.join.001a", "hello".into()), answering);
    assert_eq!(answer.expect("an answer").payload, "welcome");
    guest.settle(2).await;
    for tried in [&guest, &operator] {
        let denied = tried.denied.0.lock().expect("not poisoned").clone();
        assert!(denied.iter().all(|denied| denied.contains("nobody.says.this")), "{denied:?}");
    }
}

#[tokio::test]
async fn a_mesh_of_keys_works_and_nobody_tries_what_is_denied() {
    let parties = Parties::new();
    let server = NatsServer::start(&parties.config()).await;
    let engine = echo_scripted_engine::Engine::start(echo_scripted_engine::Script::default()).await;
    let part = |name: &str, binary: &'static str, args: &[&str]| {
        let key = parties.named(name).key.as_ref().expect("a key").path.to_string_lossy().into_owned();
        let common = ["--nats", &server.url(), "--nkey", &key].map(str::to_owned);
        let args = common.into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect();
        Program::new(name, binary, args)
    };
    let orchestrator = part("orchestrator", "orchestrator", &[]);
    let edge = part("edge", "edge", &["--listen", "127.0.0.1:0"]);
    let engine_url = engine.url();
    let agent = part(
        "node-a",
        "agent",
        &["--listen", "127.0.0.1:0", "--node", "node-a", "--engine", "ollama", "--engine-url", &engine_url],
    );
    tokio::join!(orchestrator.start(), edge.start(), agent.start());
    let client = echo_testing::client::Client::new(edge.address());
    until("a task to be answered", || async {
        let body = serde_json::json!({ "prompt": "[tokens=40]", "keep": 5 });
        let reply = client.post("/task", &body).send().await.map_err(|error| error.to_string())?;
        holds(reply.status() == 200, reply.text().await)
    })
    .await;
    let status = client.get("/status").send().await.expect("an answer").json().await;
    assert_eq!(status["nodes"][0]["node_id"], "node-a", "{status}");
    // Who has the key of one that runs is told so; who comes after it was killed is not.
    for (name, binary, args) in
        [("edge", "edge", &["--listen", "127.0.0.1:0"][..]), ("orchestrator", "orchestrator", &[])]
    {
        let twin = part(name, binary, args);
        twin.launch().await;
        let status = twin.exit().await;
        let said = twin.logs().since(1).join("\n");
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("another {name} runs with this key")), "{said}");
    }
    edge.restart().await;
    orchestrator.restart().await;
    for program in [&orchestrator, &edge, &agent] {
        assert!(program.stop().await.success());
        let denied: Vec<String> = program
            .logs()
            .all()
            .into_iter()
            .filter(|line| line.contains("Violation") || line.contains("denied"))
            .collect();
        assert!(denied.is_empty(), "{}: {denied:?}", program.name());
    }
}
