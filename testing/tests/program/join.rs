//! `invite` and `join`: a machine comes into a mesh with nothing but a code.

use echo_testing::skip;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex};

use async_nats::ConnectOptions;
use echo_broker::trust::{OPERATOR, Trust};
use echo_bus::subject::Duty;
use echo_testing::client::Stream;
use echo_testing::mesh::logs::Logs;
use echo_testing::mesh::spawn::{Running, spawn};
use echo_testing::mesh::{Lan, Program, binaries, holds, soon, until};
use futures::StreamExt as _;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::task::AbortOnDropHandle;

use crate::terminal::Terminal;

/// A run of `echo-mesh`, and what it has said.
struct Run {
    running: Running,
    logs: Logs,
}

impl Run {
    /// `echo-mesh` with these arguments and a state of its own, in another network if one is named, on a machine of that
    /// name if one is.
    async fn start(place: &Path, host: Option<(&str, &str)>, args: &[&str]) -> Self {
        let program = binaries::program("echo-mesh");
        let mut command = match host {
            None => Command::new(program),
            Some((network, name)) => {
                let mut command = Command::new("ip");
                let named = ["unshare", "--uts", "sh", "-c", "hostname \"$0\" && exec \"$@\"", name];
                command.args(["netns", "exec", network]).args(named).arg(program);
                command
            }
        };
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ECHO_")) {
            command.env_remove(name);
        }
        command.args(args).env("ECHO_RUN_DIR", place).env("RUST_LOG", "info");
        let logs = Logs::default();
        let running = spawn(command, logs.clone()).await.expect("echo-mesh can be started");
        Self { running, logs }
    }

    /// The first line with this text.
    async fn says(&self, text: &str) -> String {
        let found = self.logs.line(0, |line| line.contains(text).then(|| line.to_owned()));
        tokio::select! {
            line = found => line,
            () = async { soon(&format!("{text:?}"), self.running.exit()).await; } => {
                let all = self.logs.all();
                let line = all.iter().find(|line| line.contains(text)).cloned();
                line.unwrap_or_else(|| panic!("it ended without {text:?}:\n{}", all.join("\n")))
            }
        }
    }

    /// How it ended, and all that it said.
    async fn end(&self) -> (ExitStatus, String) {
        let status = soon("echo-mesh to end", self.running.exit()).await;
        (status, self.logs.all().join("\n"))
    }

    /// The code that `invite` shows.
    async fn code(&self) -> String {
        let line = self.says("echo-mesh join ").await;
        line.trim().trim_start_matches("echo-mesh join ").to_owned()
    }

    /// The code, and the run that has to go on for it to be good.
    async fn code_kept(self) -> (Self, String) {
        let code = self.code().await;
        (self, code)
    }

    /// Asks it to end as Ctrl-C does.
    fn interrupt(&self) {
        self.running.signal(libc::SIGINT);
    }
}

fn program(binary: &'static str, network: Option<&str>, args: &[&str]) -> Program {
    let program = Program::new(binary, binary, args.iter().map(|arg| (*arg).to_owned()).collect());
    match network {
        Some(network) => program.on(network),
        None => program,
    }
}

/// The list of a mesh's keys, in a folder of its own.
fn trust(folder: &Path) -> Trust {
    Trust::open(&folder.join("trust")).unwrap()
}

/// What a part of the mesh is told to get in.
fn login(trust: &Trust, name: &str, duty: Duty) -> Vec<String> {
    let key = trust.own_key(name, duty, None).unwrap();
    let (key, authority) =
        (key.to_string_lossy().into_owned(), trust.authority().to_string_lossy().into_owned());
    vec!["--nkey".to_owned(), key, "--tls-ca".to_owned(), authority]
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn broker(network: Option<&str>, listen: &str, trust: &Trust, config: &Path) -> Program {
    // In before the broker starts, so that it need not be told.
    for (name, duty) in
        [("orchestrator", Duty::Orchestrator), ("edge", Duty::Edge), (OPERATOR, Duty::Operator)]
    {
        login(trust, name, duty);
    }
    let config = config.to_string_lossy();
    let folder = trust.authority().with_file_name("").to_string_lossy().into_owned();
    let args = ["--nats-conf", &config, "--listen", listen, "--monitor", "127.0.0.1:0", "--trust", &folder];
    program("broker", network, &args)
}

/// The private lines of the keys and of the authority below a folder, each with its file.
fn private(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                return private(&path);
            }
            if !path.extension().is_some_and(|end| end == "nk" || end == "key") {
                return Vec::new();
            }
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter(|line| line.len() >= 40 && !line.starts_with('-'));
            lines.map(|line| (path.clone(), line.to_owned())).collect()
        })
        .collect()
}

/// A mesh without a node, an engine that nobody has joined, and folders for machines.
struct Home {
    edge: Program,
    engine: Program,
    _orchestrator: Program,
    broker: Program,
    login: Vec<String>,
    folder: tempfile::TempDir,
}

impl Home {
    async fn start() -> Self {
        Self::with(|config| config).await
    }

    /// One whose server has another configuration than the project's.
    async fn with(change: impl FnOnce(String) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trust = trust(folder.path());
        let config = folder.path().join("nats.conf");
        fs::write(&config, change(fs::read_to_string(binaries::root().join("nats.conf")).unwrap())).unwrap();
        let broker = broker(None, "127.0.0.1:0", &trust, &config);
        broker.start().await;
        let nats = format!("nats://{}", broker.address());
        let login = |name, duty| login(&trust, name, duty);
        let (placing, front) = (login("orchestrator", Duty::Orchestrator), login("edge", Duty::Edge));
        let bus = ["--nats", nats.as_str()];
        let orchestrator = program("orchestrator", None, &[&bus[..], &strs(&placing)].concat());
        let edge = program("edge", None, &[&bus[..], &strs(&front), &["--listen", "127.0.0.1:0"]].concat());
        let login = login(OPERATOR, Duty::Operator);
        let engine = program("echo-scripted-engine", None, &["--api", "ollama", "--listen", "127.0.0.1:0"]);
        engine.launch().await;
        tokio::join!(orchestrator.start(), edge.start());
        Self { edge, engine, _orchestrator: orchestrator, broker, login, folder }
    }

    fn nats(&self) -> String {
        format!("nats://{}", self.broker.address())
    }

    fn place(&self, machine: &str) -> PathBuf {
        self.folder.path().join(machine)
    }

    /// The mesh's authority, as its broker keeps it.
    fn authority(&self) -> PathBuf {
        trust(self.folder.path()).authority()
    }

    /// A client by a password, over TLS as all are.
    async fn client(&self, user: &str, inbox: &str) -> async_nats::Client {
        let options = ConnectOptions::with_user_and_password(user.into(), String::new());
        let options = options.add_root_certificates(self.authority()).require_tls(true);
        options.custom_inbox_prefix(inbox).connect(self.nats()).await.unwrap()
    }

    /// What a command of the mesh's own people says, which ends well.
    async fn ordered(&self, args: &[&str]) -> String {
        let nats = self.nats();
        let args = [args, &["--nats", &nats], &strs(&self.login)].concat();
        self.on("inviter", &args, 0, "").await
    }

    async fn engine_url(&self) -> String {
        let line = self.engine.mentions("127.0.0.1:").await;
        let at = line.find("127.0.0.1:").unwrap();
        let address: String =
            line[at..].chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
        format!("http://{address}")
    }

    async fn invite(&self, more: &[&str]) -> Run {
        let nats = self.nats();
        let at: &[&str] = if more.contains(&"--advertise") { &[] } else { &["--advertise", "127.0.0.1"] };
        let args = [&["invite", "--nats", &nats, "--qr=no"], at, &strs(&self.login), more].concat();
        Run::start(&self.place("inviter"), None, &args).await
    }

    async fn join(&self, machine: &str, code: &str) -> Run {
        self.join_with(machine, code, &[]).await
    }

    async fn join_with(&self, machine: &str, code: &str, more: &[&str]) -> Run {
        let (url, listen) = (self.engine_url().await, free_address());
        let args = ["join", code, "--node", machine, "--engine-url", &url, "--agent-listen", &listen];
        Run::start(&self.place(machine), None, &[&args[..], more].concat()).await
    }

    /// Joins and is left running.
    async fn detached(&self, machine: &str, code: &str) {
        let (status, said) = self.join_with(machine, code, &["--detach"]).await.end().await;
        assert!(status.success() && said.contains(&format!("{machine} is in the mesh")), "{said}");
    }

    /// What a command on this machine says, which ends so and contains this.
    async fn on(&self, machine: &str, args: &[&str], exit: i32, text: &str) -> String {
        let (status, said) = Run::start(&self.place(machine), None, args).await.end().await;
        assert!(status.code() == Some(exit) && said.contains(text), "{args:?} {status}: {said}");
        said
    }

    fn record(&self, machine: &str) -> Value {
        record(&self.place(machine))
    }

    /// The process of its agent.
    fn agent(&self, machine: &str) -> i64 {
        self.record(machine)["parts"][0]["process"]["pid"].as_i64().unwrap_or_default()
    }

    /// Waits for an answer of this node.
    async fn answers(&self, node: &str) {
        until(&format!("an answer of {node}"), || async {
            let client = echo_testing::client::Client::new(self.edge.address());
            let answer = client.post("/task", &json!({"prompt": "[tokens=3]"})).send().await;
            let answer: Value = answer.map_err(|error| error.to_string())?.json().await;
            holds(answer["content"] == "t0 t1 t2 " && answer["routed_to"] == node, answer)
        })
        .await;
    }

    /// The nodes that the edge lists as able to work.
    async fn nodes(&self) -> Vec<String> {
        let client = echo_testing::client::Client::new(self.edge.address());
        let status: Value = client.get("/status").send().await.unwrap().json().await;
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().map(|node| node["node_id"].as_str().unwrap().to_owned()).collect()
    }
}

/// Where nobody listens, below the kernel's own ports.
fn free_address() -> String {
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = std::iter::repeat_with(|| rand::random_range(10_000..32_768)).find(free);
    format!("127.0.0.1:{}", port.unwrap())
}

/// What a machine has recorded of the mesh that runs there.
fn record(place: &Path) -> Value {
    let text = fs::read(place.join("mesh.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// The process that keeps its parts up.
fn supervisor(place: &Path) -> Option<i64> {
    record(place)["supervisor"]["pid"].as_i64()
}

/// Ends what a test has left running on its machines: a supervisor's parts end with it.
fn end_all(machines: &Path) {
    for machine in fs::read_dir(machines).into_iter().flatten().flatten() {
        if let Some(pid) = supervisor(&machine.path()) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        end_all(self.folder.path());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        end_all(self.folder.path());
    }
}

const LETTERS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn digits(code: &str) -> Vec<u32> {
    let letters = code.chars().filter(|letter| *letter != '-');
    letters.map(|letter| u32::try_from(LETTERS.find(letter).unwrap()).unwrap()).collect()
}

/// The code with another secret and a right checksum: a guess.
fn guess(code: &str, number: u32) -> String {
    let mut digits = digits(code);
    digits.truncate(digits.len() - 2);
    let at = digits.len() - 3;
    digits[at] = (digits[at] + number) % 32;
    let rest = digits.iter().fold(0, |rest, digit| (rest * 32 + digit) % 1021) * 1024 % 1021;
    let check = (1022 - rest) % 1021;
    digits.extend([check / 32, check % 32]);
    digits.iter().map(|digit| LETTERS.chars().nth(*digit as usize).unwrap()).collect()
}

/// The number of a code's invitation, which names its subject.
fn invitation(code: &str) -> String {
    let bits: String = digits(code).iter().map(|digit| format!("{digit:05b}")).collect();
    let behind = if &bits[4..5] == "1" { 5 + 32 + 16 } else { 5 + 32 };
    format!("{:04x}", u16::from_str_radix(&bits[behind..behind + 13], 2).unwrap())
}

/// No part of a mesh may hear everything. This account may, beside those that the project's configuration has.
fn overheard(config: String) -> String {
    let stranger = r#"accounts {
  LISTENER {
    imports: [ { stream: { account: ECHO, subject: ">" } } ]
    users: [ { user: listener, password: "" } ]
  }"#;
    let exported = config.replace(
        "accounts: [JOIN] }\n",
        "accounts: [JOIN] }\n      { stream: \">\", accounts: [LISTENER] }\n",
    );
    let changed = exported.replacen("accounts {", stranger, 1);
    assert!(exported != config && changed != exported);
    // What guests say is heard in their own account.
    let (before, guests) = changed.rsplit_once("users: [").unwrap();
    format!("{before}users: [ {{ user: ear, password: \"\" }}{guests}")
}

/// All that is said on the bus.
async fn everything(home: &Home) -> Arc<Mutex<String>> {
    let heard = Arc::new(Mutex::new(String::new()));
    for user in ["listener", "ear"] {
        let client = home.client(user, &format!("_INBOX.{user}")).await;
        let mut all = client.subscribe(">").await.unwrap();
        client.flush().await.unwrap();
        let hears = heard.clone();
        tokio::spawn(async move {
            let _client = client;
            while let Some(message) = all.next().await {
                let text = format!("{} {:?} {:?}\n", message.subject, message.headers, message.payload);
                hears.lock().unwrap().push_str(&text);
            }
        });
    }
    heard
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Files below a folder that hold this text.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                return holding(&path, text);
            }
            let held = fs::read(&path).unwrap_or_default();
            let found = held.windows(text.len()).any(|part| part == text.as_bytes());
            if found { vec![path] } else { Vec::new() }
        })
        .collect()
}

/// The arguments of all processes.
fn arguments() -> String {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " ") + "\n")
        .collect()
}

#[tokio::test]
async fn a_machine_joins_with_a_code_and_no_private_key_is_seen_anywhere() {
    let home = Home::with(overheard).await;
    let heard = everything(&home).await;
    let invite = home.invite(&[]).await;
    let code = invite.code().await;
    invite.says("good for 10 minutes and for one machine").await;

    let join = home.join("second", &code).await;
    let line = join.says("is in the mesh").await;
    assert!(line.starts_with("second is in the mesh: ") && line.contains("at a time"), "{line}");
    assert_eq!(home.nodes().await, ["second"]);
    let (status, said) = invite.end().await;
    assert!(status.success() && said.contains("second has joined"), "{said}");

    // It answers.
    let client = echo_testing::client::Client::new(home.edge.address());
    let answer: Value =
        client.post("/task", &json!({"prompt": "[tokens=3]"})).send().await.unwrap().json().await;
    assert_eq!(
        (answer["content"].as_str(), answer["routed_to"].as_str()),
        (Some("t0 t1 t2 "), Some("second"))
    );

    // Of the new machine's key and of the mesh's, each private half is in the one file that it was made in, closed to others.
    let secrets = private(home.folder.path());
    let joined = home.place("second").join("joined");
    assert!(secrets.iter().any(|(path, _)| path.starts_with(&joined)), "{joined:?}");
    assert!(secrets.iter().any(|(path, _)| path.ends_with("trust/ca.key")));
    for (path, secret) in &secrets {
        assert_eq!(holding(home.folder.path(), secret), std::slice::from_ref(path));
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(private(&home.place("second")).len(), 1);
    assert!(private(&home.place("inviter")).is_empty());
    let kept = fs::read_dir(&joined)
        .unwrap()
        .flatten()
        .find(|file| file.path().extension().is_some_and(|end| end == "pem"));
    assert_eq!(fs::read(kept.unwrap().path()).unwrap(), fs::read(home.authority()).unwrap());
    let seen = [said, join.logs.all().join("\n"), arguments()].concat();
    let agents = fs::read_to_string(home.place("second").join("logs/agent-second.log")).unwrap();
    let heard = heard.lock().unwrap().clone();
    assert!(heard.contains("_echo.join."), "nothing of the exchange was heard");
    assert!(agents.contains("ready"), "{agents}");
    for (what, text) in [("what people see", &seen), ("the agent's log", &agents), ("the bus", &heard)] {
        for (path, secret) in &secrets {
            let shown = text.contains(secret) || text.contains(&hex(secret));
            assert!(!shown, "what is in {} is in {what}", path.display());
        }
    }
    let bare = code.replace('-', "");
    assert!(!heard.contains(&bare) && !heard.contains(&hex(&bare)) && !heard.contains(&code));

    // Ctrl-C takes it out in order, and without a code it comes back.
    join.interrupt();
    assert!(join.end().await.0.success());
    let url = home.engine_url().await;
    until("the node to have left", || async { holds(home.nodes().await.is_empty(), "it is there") }).await;
    let again = Run::start(&home.place("second"), None, &["join", "--agent-listen", &free_address()]).await;
    again.says("This machine is in the mesh at ").await;
    again.says("second is in the mesh").await;
    // Killed, it takes its agent along.
    again.running.signal(libc::SIGKILL);
    until("the node to have left", || async { holds(home.nodes().await.is_empty(), "it is there") }).await;
    let again = Run::start(&home.place("second"), None, &["join", "--agent-listen", &free_address()]).await;
    again.says("second is in the mesh").await;

    // A namesake is told at once, and the code stays good.
    let invite = home.invite(&[]).await;
    let code = invite.code().await;
    let listen = free_address();
    let namesake = ["join", &code, "--node", "second", "--engine-url", &url, "--agent-listen", &listen];
    let namesake = Run::start(&home.place("third"), None, &namesake).await;
    let (status, said) = namesake.end().await;
    assert!(status.code() == Some(1) && said.contains("--node") && said.contains("still good"), "{said}");
    for kept in ["authority.pem", "mesh.json"] {
        assert!(!home.place("third").join("joined").join(kept).exists(), "{kept}");
    }
    home.join("third", &code).await.says("third is in the mesh").await;
}

#[tokio::test]
async fn whoever_has_no_good_code_hears_why() {
    let home = Home::start().await;
    let refused = async |code: &str| {
        let (status, said) = home.join("second", code).await.end().await;
        (status.code(), said)
    };
    let says = |(code, said): (Option<i32>, String), exit: i32, sentence: &str| {
        assert!(code == Some(exit) && said.contains(sentence), "{code:?}: {said}");
    };
    let invite = home.invite(&[]).await;
    let code = invite.code().await;
    // Mistyped: told without anybody being asked.
    let mut letters: Vec<char> = code.chars().collect();
    letters.swap(6, 7);
    if letters[6] == letters[7] {
        letters[6] = if letters[6] == 'A' { 'B' } else { 'A' };
    }
    says(refused(&letters.iter().collect::<String>()).await, 2, "typing error");
    says(refused("hello").await, 2, "this is no code");
    says(refused(&guess(&code, 1)).await, 1, "the code is wrong");
    // An engine that does not answer is told before the code is used.
    let args = ["join", &code, "--node", "second", "--engine-url", "http://127.0.0.1:1"];
    let (_, said) = Run::start(&home.place("second"), None, &args).await.end().await;
    assert!(said.contains("answers as Ollama") && said.contains("The code was not used"), "{said}");

    // Used.
    let join = home.join("other", &code.to_lowercase().replace('-', " ")).await;
    join.says("other is in the mesh").await;
    says(refused(&code).await, 1, "used, ");
    // Taken back.
    let invite = home.invite(&[]).await;
    let code = invite.code().await;
    invite.interrupt();
    let (status, said) = invite.end().await;
    assert!(status.success() && said.contains("taken back"), "{said}");
    says(refused(&code).await, 1, "used, taken back or older than");
    // Old.
    let invite = home.invite(&["--for", "1s"]).await;
    let code = invite.code().await;
    let (status, said) = invite.end().await;
    assert!(status.code() == Some(1) && said.contains("nobody has used the code in time"), "{said}");
    says(refused(&code).await, 1, "older than its 10 minutes");
    // Without a code, and without a terminal to ask on.
    let args = ["join", "--node", "second", "--engine-url", &home.engine_url().await];
    let (status, said) = Run::start(&home.place("second"), None, &args).await.end().await;
    assert!(status.code() == Some(2) && said.contains("echo-mesh join CODE"), "{said}");
}

#[tokio::test]
async fn a_code_outlives_strangers_who_guess() {
    let home = Home::start().await;
    let invite = home.invite(&[]).await;
    let code = invite.code().await;
    for number in 1..=6 {
        let (_, said) = home.join("stranger", &guess(&code, number)).await.end().await;
        assert!(said.contains("the code is wrong"), "guess {number}: {said}");
    }
    home.join("second", &code).await.says("second is in the mesh").await;
    invite.says("second has joined").await;
}

#[tokio::test]
async fn a_code_comes_on_stdin_and_is_in_no_list_of_processes() {
    let home = Home::start().await;
    for (place, argument) in [("second", Some("-")), ("third", None)] {
        let invite = home.invite(&[]).await;
        let code = invite.code().await;
        let file = home.place(place).with_extension("code");
        fs::write(&file, format!("{code}\n")).unwrap();
        let mut command = Command::new("sh");
        let line = "exec \"$0\" \"$@\" < \"$CODE_FILE\"";
        command.args(["-c", line]).arg(binaries::program("echo-mesh")).arg("join").args(argument);
        command.args(["--node", place, "--engine-url", &home.engine_url().await]);
        command.env("ECHO_RUN_DIR", home.place(place)).env("CODE_FILE", &file);
        let logs = Logs::default();
        let running = spawn(command, logs.clone()).await.unwrap();
        Run { running, logs }.says(&format!("{place} is in the mesh")).await;
    }
}

#[tokio::test]
async fn of_two_machines_with_one_code_exactly_one_gets_in() {
    let home = Home::start().await;
    for round in 0..3 {
        // Each with a name of its own: the mesh remembers whose key it let in.
        let names = [format!("a-{round}"), format!("b-{round}")];
        let invite = home.invite(&[]).await;
        let code = invite.code().await;
        let (a, b) = tokio::join!(home.join(&names[0], &code), home.join(&names[1], &code));
        let (winner, loser) = tokio::select! {
            _ = a.running.exit() => (&b, &a),
            _ = b.running.exit() => (&a, &b),
        };
        winner.says("is in the mesh").await;
        let (status, said) = loser.end().await;
        assert!(status.code() == Some(1) && said.contains("used"), "{said}");
        assert_eq!(home.nodes().await.len(), 1);
        winner.interrupt();
        assert!(winner.end().await.0.success());
        until("the node to have left", || async { holds(home.nodes().await.is_empty(), "it is there") })
            .await;
    }
}

#[tokio::test]
async fn no_bytes_of_a_stranger_harm_an_invitation() {
    let home = Home::start().await;
    let invite = home.invite(&[]).await;
    let code = invite.code().await;
    let subject = format!("_echo.join.{}", invitation(&code));
    let stranger = home.client("join", "_INBOX.join.x").await;
    let said: [&[u8]; 8] = [
        b"",
        b"{",
        b"\xff\x00",
        b"[]",
        br#"{"ask":"dance"}"#,
        br#"{"ask":"hello","pake":"00"}"#,
        br#"{"ask":"prove","exchange":"","proof":"","sealed":""}"#,
        &[b'['; 16_000],
    ];
    for bytes in said {
        let answer = stranger.request(subject.clone(), bytes.to_vec().into()).await.expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["answer"], "refused", "{answer}");
    }
    for _ in 0..500 {
        let length = rand::random_range(0..200);
        let bytes: Vec<u8> = (0..length).map(|_| rand::random()).collect();
        stranger.publish(subject.clone(), bytes.into()).await.unwrap();
    }
    stranger.flush().await.unwrap();
    home.join("second", &code).await.says("second is in the mesh").await;
    assert!(invite.end().await.0.success());
}

#[tokio::test]
async fn what_crashes_on_a_machine_that_has_joined_comes_back_and_down_leaves_nothing() {
    let home = Home::start().await;
    let invite = home.invite(&[]).await;
    let code = invite.code().await;
    home.detached("second", &code).await;
    assert_eq!(home.nodes().await, ["second"]);
    let before = home.agent("second");

    assert!(Command::new("kill").args(["-9", &before.to_string()]).status().unwrap().success());
    until("the agent to be started again", || async {
        let now = home.agent("second");
        holds(now != before && home.record("second")["parts"][0]["restarts"] == 1, now)
    })
    .await;
    home.answers("second").await;
    home.on("second", &["logs", "up"], 0, "agent-second ended unasked (signal: 9 (SIGKILL))").await;

    let status = home.on("second", &["status"], 0, &format!("In the mesh at {}", home.nats())).await;
    assert!(status.contains("agent-second  pid ") && status.contains("second  ready"), "{status}");
    let down = home.on("second", &["down"], 0, "agent-second: stopped").await;
    assert!(down.contains("Stopped."), "{down}");
    assert!(!arguments().contains(&*home.place("second").to_string_lossy()), "{}", arguments());
    let left = fs::read_dir(home.place("second")).unwrap().flatten().map(|file| file.file_name());
    let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["joined", "logs"], "what it has joined is kept, and what was said");
    until("the node to have left", || async { holds(home.nodes().await.is_empty(), "it is there") }).await;
    home.on("second", &["down"], 0, "Nothing to stop").await;
}

#[tokio::test]
async fn no_agent_outlives_the_supervisor_of_a_machine_that_has_joined() {
    let home = Home::start().await;
    let code = home.invite(&[]).await.code_kept().await;
    home.detached("second", &code.1).await;
    let supervisor = home.record("second")["supervisor"]["pid"].clone();
    let agent = home.agent("second");
    assert!(Command::new("kill").args(["-9", &supervisor.to_string()]).status().unwrap().success());
    until("the agent to be gone", || async { holds(!Path::new(&format!("/proc/{agent}")).exists(), agent) })
        .await;
    home.on("second", &["join", "--detach"], 0, "has lost its supervisor").await;
    home.answers("second").await;
    home.on("second", &["down"], 0, "Stopped.").await;
}

#[tokio::test]
async fn a_machine_that_is_in_a_mesh_is_brought_into_none_twice() {
    let home = Home::start().await;
    let code = home.invite(&[]).await.code_kept().await;
    home.detached("second", &code.1).await;
    let agent = home.agent("second");
    home.on("second", &["join"], 0, "This machine is in the mesh at").await;
    home.on("second", &["join", &code.1], 2, "the code was not used").await;
    home.on("second", &["up"], 2, "leave it with").await;
    assert_eq!(home.agent("second"), agent, "nothing was started again");
    // A machine that has joined lets nobody else in: its key is for its own node.
    home.on("second", &["invite", "--advertise", "127.0.0.1", "--qr=no"], 2, "its key lets nobody else in")
        .await;
    home.on("second", &["machines", "list"], 2, "no business of its key").await;
    assert_eq!(home.nodes().await, ["second"]);
    home.on("second", &["down"], 0, "Stopped.").await;
}

#[tokio::test]
async fn what_the_owner_decides_reaches_the_agent_and_a_mistake_is_told_before_the_code_is_used() {
    let home = Home::start().await;
    let code = home.invite(&[]).await.code_kept().await;
    let run = home.join_with("second", &code.1, &["--hours", "25:00-26:00"]).await;
    assert_eq!(run.end().await.0.code(), Some(2));
    let run = home.join_with("second", &code.1, &["--max-slots", "1", "--allow-model-management"]).await;
    run.says("is in the mesh").await;
    assert!(run.logs.all().iter().any(|line| line.contains("1 answer at a time")), "{:?}", run.logs.all());
    let agent = fs::read(format!("/proc/{}/cmdline", home.agent("second"))).unwrap();
    let agent = String::from_utf8_lossy(&agent).replace('\0', " ");
    assert!(agent.contains("--max-slots 1") && agent.contains("--allow-model-management"), "{agent}");
    run.interrupt();
    assert!(run.end().await.0.success());
}

#[tokio::test]
async fn a_broker_without_a_door_for_guests_is_told_by_both_sides() {
    let home = Home::start().await;
    let invite = home.invite(&[]).await;
    let code = invite.code().await;
    let config = fs::read_to_string(binaries::root().join("nats.conf")).unwrap();
    let closed = config.replace("user: join, password: \"\"", "user: nobody, password: \"0123456789abcdef\"");
    assert_ne!(config, closed);
    let path = home.folder.path().join("nats.conf");
    fs::write(&path, closed).unwrap();
    home.broker.set("--nats-conf", path.to_string_lossy());
    home.broker.restart().await;
    let (status, said) = home.join("second", &code).await.end().await;
    assert!(status.code() == Some(1) && said.contains("takes no invitations"), "{said}");
    let (status, said) = home.invite(&[]).await.end().await;
    assert!(status.code() == Some(2) && said.contains("takes no invitations"), "{said}");
}

#[tokio::test]
async fn on_a_terminal_the_code_is_asked_for_and_counted_down_and_a_picture_where_there_is_room() {
    let home = Home::start().await;
    let terminal = |machine: &str, rows, args: &[&str]| {
        Terminal::start((120, rows), args, &[("ECHO_RUN_DIR", home.place(machine).to_str().unwrap())])
    };
    let nats = home.nats();
    let args = ["invite", "--nats", &nats, "--advertise", "127.0.0.1"];
    let args = [&args[..], &strs(&home.login)].concat();
    let small = terminal("inviter", 24, &args);
    assert!(!small.shows(&["Ctrl-C takes the code back"]).await.contains('█'));
    let mut invite = terminal("inviter", 50, &args);
    let screen = invite.shows(&["Waiting for it, 9:5"]).await;
    assert!(screen.contains('█') && screen.contains("good for 10 minutes"), "{screen}");
    let code =
        screen.lines().find_map(|line| line.trim().strip_prefix("echo-mesh join ")).unwrap().to_owned();

    let url = home.engine_url().await;
    let listen = free_address();
    let args = ["join", "--node", "second", "--engine-url", &url, "--agent-listen", &listen];
    let mut join = terminal("second", 24, &args);
    join.shows(&["Code: "]).await;
    join.press("0R2M-0256-NW28-T5CY-4T5Q\r");
    join.shows(&["typing error"]).await;
    join.press(&format!("{}\r", code.to_lowercase()));
    join.shows(&["second is in the mesh"]).await;
    let screen = invite.shows(&["second has joined"]).await;
    assert!(!screen.contains("Waiting for it"), "{screen}");
    join.press("\x03");
    until("the node to have left", || async { holds(home.nodes().await.is_empty(), "it is there") }).await;
    // Nobody is asked any more once Ctrl-C was typed.
    let mut join = terminal("third", 24, &args);
    join.shows(&["Code: "]).await;
    join.press("\x03");
    join.exit().await;
    invite.press("\x03");
}

/// Three machines on one network. The first has the mesh, the others have an engine each.
struct Far {
    edge: Program,
    _engines: Vec<Program>,
    _orchestrator: Program,
    broker: Program,
    login: Vec<String>,
    folder: tempfile::TempDir,
    // Last: nothing may live in a network that is gone.
    lan: Lan,
}

impl Far {
    async fn start(test: &str) -> Option<Self> {
        let lan = match Lan::new(3) {
            Ok(lan) => lan,
            Err(why) => {
                skip::machine_lacks(&format!("{test}: no network namespaces: {why}"));
                return None;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let trust = trust(folder.path());
        let broker = broker(Some(lan.host(1)), "0.0.0.0:4222", &trust, &binaries::root().join("nats.conf"));
        broker.start().await;
        let login = |name, duty| login(&trust, name, duty);
        let (placing, front) = (login("orchestrator", Duty::Orchestrator), login("edge", Duty::Edge));
        let orchestrator = program("orchestrator", Some(lan.host(1)), &strs(&placing));
        let edge = program(
            "edge",
            Some(lan.host(1)),
            &[&strs(&front)[..], &["--listen", "127.0.0.1:8080"]].concat(),
        );
        let login = login(OPERATOR, Duty::Operator);
        tokio::join!(orchestrator.start(), edge.start());
        let args = ["--api", "ollama", "--listen", "127.0.0.1:11434"];
        let engines = [2, 3].map(|host| program("echo-scripted-engine", Some(lan.host(host)), &args));
        for engine in &engines {
            engine.launch().await;
            engine.mentions("127.0.0.1:11434").await;
        }
        let (engines, orchestrator) = (engines.into(), orchestrator);
        Some(Self { edge, _engines: engines, _orchestrator: orchestrator, broker, login, folder, lan })
    }

    async fn on(&self, host: usize, args: &[&str]) -> Run {
        let place = self.folder.path().join(format!("machine-{host}"));
        Run::start(&place, Some((self.lan.host(host), &format!("machine-{host}"))), args).await
    }

    /// Waits for an answer of this node to a prompt at the first machine's edge.
    async fn answers(&self, node: &str) {
        until(&format!("an answer of {node}"), || async {
            let answer = self.ask(&json!({"prompt": "[tokens=3]"}).to_string()).await?;
            holds(answer["content"] == "t0 t1 t2 " && answer["routed_to"] == node, answer)
        })
        .await;
    }

    async fn ask(&self, body: &str) -> Result<Value, String> {
        let request = format!(
            "POST /task HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let answer = self.lan.ask(1, self.edge.address(), &request).await?;
        serde_json::from_str(&answer).map_err(|error| format!("{error} in {answer:?}"))
    }
}

#[tokio::test]
async fn machines_join_a_mesh_with_nothing_but_a_code() {
    let Some(far) = Far::start("machines_join_a_mesh_with_nothing_but_a_code").await else { return };
    let invite = [&["invite"][..], &strs(&far.login)].concat();
    let first = far.on(1, &invite).await;
    let code = first.code().await;
    assert_eq!(code.len(), 24, "{code}");
    let second = far.on(2, &["join", &code]).await;
    second.says("machine-2 is in the mesh").await;
    assert!(first.end().await.0.success());
    far.answers("machine-2").await;

    // Without a code it says which mesh there is, and how to get one.
    let (status, said) = far.on(3, &["join"]).await.end().await;
    let there = format!("there is a mesh on this network, at {}:4222", far.lan.address(1));
    assert!(status.code() == Some(2) && said.contains(&there), "{said}");
    // An address that leads nowhere: the mesh is found by its announcement.
    let invite = [&invite[..], &["--advertise", "10.77.0.99"]].concat();
    let first = far.on(1, &invite).await;
    let third = far.on(3, &["join", &first.code().await]).await;
    third.says("machine-3 is in the mesh").await;

    second.interrupt();
    assert!(second.end().await.0.success());
    far.answers("machine-3").await;

    // With the broker gone, a code leads nowhere, and the sentence says what may be in the way.
    let first = far.on(1, &invite[..5]).await;
    let code = first.code().await;
    assert!(far.broker.stop().await.success());
    third.interrupt();
    third.end().await;
    let (status, said) = far.on(3, &["join", &code]).await.end().await;
    let unreachable = format!("no broker answers at {}:4222", far.lan.address(1));
    assert!(status.code() == Some(1) && said.contains(&unreachable), "{said}");
    assert!(said.contains("firewall") && said.contains("4222"), "{said}");
}

/// What it said on the machine of this number, which ended well.
async fn said_on(far: &Open, host: usize, args: &[&str]) -> String {
    let (status, said) = far.on(host, args).await.end().await;
    assert!(status.success(), "{args:?} {status}: {said}");
    said
}

/// Three machines with an engine each, and no mesh.
struct Open {
    _engines: Vec<Program>,
    folder: tempfile::TempDir,
    lan: Lan,
}

impl Open {
    async fn start(test: &str) -> Option<Self> {
        let lan = match Lan::new(3) {
            Ok(lan) => lan,
            Err(why) => {
                skip::machine_lacks(&format!("{test}: no network namespaces: {why}"));
                return None;
            }
        };
        let args = ["--api", "ollama", "--listen", "127.0.0.1:11434"];
        let engines = [1, 2, 3].map(|host| program("echo-scripted-engine", Some(lan.host(host)), &args));
        for engine in &engines {
            engine.launch().await;
            engine.mentions("127.0.0.1:11434").await;
        }
        Some(Self { _engines: engines.into(), folder: tempfile::tempdir().unwrap(), lan })
    }

    fn place(&self, host: usize) -> PathBuf {
        self.folder.path().join(format!("machine-{host}"))
    }

    async fn on(&self, host: usize, args: &[&str]) -> Run {
        Run::start(&self.place(host), Some((self.lan.host(host), &format!("machine-{host}"))), args).await
    }

    /// SIGKILL to what keeps the machine's parts up.
    fn kill_supervisor(&self, host: usize) {
        let pid = supervisor(&self.place(host)).expect("a supervisor").to_string();
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    }

    /// Waits until the log of the first machine's supervisor has this.
    async fn logs(&self, text: &str) {
        until(&format!("{text:?} in the log"), || async {
            let log = fs::read_to_string(self.place(1).join("logs/up.log")).unwrap_or_default();
            holds(log.contains(text), log)
        })
        .await;
    }
}

#[tokio::test]
async fn up_lan_lets_a_machine_in_with_nothing_but_the_code_which_is_kept_nowhere() {
    let test = "up_lan_lets_a_machine_in_with_nothing_but_the_code_which_is_kept_nowhere";
    let Some(far) = Open::start(test).await else { return };
    // Where nats-server is kept; nothing else of the test's own is known to the machines.
    let cache = std::env::var("ECHO_CACHE_DIR").unwrap_or_default();
    let up = if cache.is_empty() { vec![] } else { vec!["--cache-dir", &cache] };
    let said = said_on(&far, 1, &[&["up", "--lan", "--detach"][..], &up].concat()).await;
    assert!(said.contains("good for 10 minutes and for one machine"), "{said}");
    let code = said.lines().find_map(|line| line.trim().strip_prefix("echo-mesh join ")).expect("a code");
    let said = said_on(&far, 2, &["join", code, "--detach"]).await;
    assert!(said.contains("machine-2 is in the mesh"), "{said}");
    far.logs("machine-2 has joined.").await;
    far.logs("For another machine: ").await;
    let status = said_on(&far, 2, &["status"]).await;
    assert!(status.contains("machine-1") && status.contains("machine-2"), "{status}");
    let at = format!("In the mesh at nats://{}:4222, on this machine", far.lan.address(1));
    assert!(status.contains(&at), "{status}");

    // The code is nowhere, and each private key in the one file that it was made in.
    let bare = code.replace('-', "");
    for text in [code, &bare] {
        assert_eq!(holding(far.folder.path(), text), Vec::<PathBuf>::new(), "the code was kept");
        assert!(!arguments().contains(text));
    }
    let secrets = private(far.folder.path());
    for folder in [far.place(1).join("trust"), far.place(2).join("joined")] {
        assert!(secrets.iter().any(|(path, _)| path.starts_with(&folder)), "{folder:?} has no key");
    }
    for (path, secret) in &secrets {
        assert_eq!(holding(far.folder.path(), secret), std::slice::from_ref(path));
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
        assert!(!arguments().contains(secret), "{}", path.display());
    }

    // A supervisor that is killed takes its parts with it. The next one knows whom the mesh lets in, and nobody needs a code again.
    let list = far.place(1).join("trust/machines.json");
    let known = fs::read_to_string(&list).unwrap();
    far.kill_supervisor(1);
    said_on(&far, 1, &[&["up", "--lan", "--detach"][..], &up].concat()).await;
    assert_eq!(fs::read_to_string(&list).unwrap(), known);
    until("the second machine to be back", || async {
        let (_, status) = far.on(2, &["status"]).await.end().await;
        holds(status.contains("machine-1") && status.contains("machine-2  ready"), status)
    })
    .await;

    // Another code comes from whoever is in the mesh, which needs to be told nothing.
    let invite = far.on(1, &["invite"]).await;
    let said = said_on(&far, 3, &["join", &invite.code().await, "--detach"]).await;
    assert!(said.contains("machine-3 is in the mesh"), "{said}");
    for host in [3, 2, 1] {
        said_on(&far, host, &["down"]).await;
    }
}

#[tokio::test]
async fn a_mesh_that_only_its_own_machine_reaches_invites_nobody() {
    let Ok(lan) = Lan::new(1) else {
        return skip::machine_lacks("a_mesh_that_only_its_own_machine_reaches: no network namespaces");
    };
    let folder = tempfile::tempdir().unwrap();
    let config = binaries::root().join("nats.conf").to_string_lossy().into_owned();
    let broker = program("broker", Some(lan.host(1)), &["--nats-conf", &config]);
    broker.start().await;
    let invite = Run::start(folder.path(), Some((lan.host(1), "first")), &["invite"]).await;
    let (status, said) = invite.end().await;
    assert!(status.code() == Some(2) && said.contains("echo-mesh up --lan"), "{said}");
}

#[tokio::test]
async fn a_machine_that_is_revoked_in_mid_answer_is_out_for_good_and_the_answer_goes_on_elsewhere() {
    let home = Home::start().await;
    for machine in ["second", "third"] {
        let code = home.invite(&[]).await.code_kept().await;
        home.detached(machine, &code.1).await;
    }
    let client = echo_testing::client::Client::new(home.edge.address());
    let prompt = json!({ "prompt": "count [tokens=300] [delay=20]" });
    let mut stream = Stream::open(client.post("/task/stream", &prompt));
    stream.read_tokens(3).await;
    let worker = stream.node().await;
    let other = if worker == "second" { "third" } else { "second" };
    let agent = home.agent(&worker);
    home.ordered(&["machines", "revoke", &worker]).await;
    let answer = stream.rest().await;
    answer.assert_every_token_once(300);
    assert_eq!(answer.nodes(), [worker.as_str(), other]);
    assert_eq!(home.nodes().await, [other]);
    let listed = home.ordered(&["machines", "list"]).await;
    assert!(!listed.contains(&worker) && listed.contains(other), "{listed}");

    // It says why it is out, and is not started again for it.
    let unknown = "does not let this part in: it does not know its key, or no longer";
    let told = async || {
        until("the agent to say why it is out", || async {
            let log = fs::read_to_string(home.place(&worker).join(format!("logs/agent-{worker}.log")));
            let log = log.unwrap_or_default();
            holds(log.contains(unknown) && !log.contains("no broker answers there"), log)
        })
        .await;
    };
    told().await;
    let record = home.record(&worker);
    assert_eq!((home.agent(&worker), &record["parts"][0]["restarts"]), (agent, &json!(0)));

    // One that begins anew is told the same, and no node comes of it.
    assert!(Command::new("kill").args(["-9", &agent.to_string()]).status().unwrap().success());
    until("the agent to be started again", || async {
        let now = home.agent(&worker);
        holds(now != agent && home.record(&worker)["parts"][0]["restarts"] == 1, now)
    })
    .await;
    told().await;
    assert_eq!(home.record(&worker)["parts"][0]["restarts"], 1);
    assert_eq!(home.nodes().await, [other]);
    // Whoever looks there is not told that it is ready.
    home.on(&worker, &["join"], 1, "this machine was cut off there").await;
    // A new code brings it in again.
    home.on(&worker, &["down"], 0, "Stopped.").await;
    let code = home.invite(&[]).await.code_kept().await;
    home.detached(&worker, &code.1).await;
    home.answers(&worker).await;
}

/// Somebody on the way to the broker, who ends TLS with a certificate of his own, and so reads all that passes. What
/// guests say, who cannot know the broker yet, passes through him.
struct Stranger {
    address: SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

impl Stranger {
    async fn between(broker: SocketAddr) -> Self {
        let own =
            rcgen::generate_simple_self_signed(["broker.echo-mesh.internal".to_owned(), "127.0.0.1".into()]);
        let own = own.unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config =
            config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move { pass(client, broker, acceptor).await });
            }
        });
        Self { address, _accepting: AbortOnDropHandle::new(accepting) }
    }
}

/// The server's first line is in clear, and TLS begins behind it.
async fn pass(mut client: TcpStream, broker: SocketAddr, acceptor: TlsAcceptor) -> std::io::Result<()> {
    let mut server = TcpStream::connect(broker).await?;
    let mut first = Vec::new();
    while first.last() != Some(&b'\n') {
        first.push(server.read_u8().await?);
    }
    client.write_all(&first).await?;
    let mut client = acceptor.accept(client).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut server =
        TlsConnector::from(Arc::new(echo_bus::client::guest_config().unwrap())).connect(name, server).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

#[tokio::test]
async fn a_stranger_between_a_guest_and_the_broker_gets_neither_an_authority_nor_a_login() {
    let home = Home::start().await;
    let stranger = Stranger::between(home.broker.address()).await;
    let invite = home.invite(&["--advertise", &stranger.address.to_string()]).await;
    let code = invite.code().await;
    let join = home.join("second", &code).await;
    // The exchange passed through the stranger, and what it brought is the mesh's own.
    invite.says("second has joined").await;
    let kept = home.place("second").join("joined/authority.pem");
    until("the authority to be kept", || async {
        holds(fs::read(&kept).ok() == fs::read(home.authority()).ok(), kept.display())
    })
    .await;
    // So the way through the stranger is closed to everything else.
    let (status, said) = join.end().await;
    assert!(status.code() == Some(1) && said.contains("certificate"), "{status}: {said}");
    assert!(home.nodes().await.is_empty());
    // At the broker itself the same key and the same authority are good.
    let (nats, joined) = (home.nats(), home.place("second").join("joined"));
    let text = fs::read_to_string(joined.join("mesh.json")).unwrap();
    let own = text.replace(&stranger.address.to_string(), &home.broker.address().to_string());
    assert_ne!(own, text, "{nats}");
    fs::write(joined.join("mesh.json"), own).unwrap();
    let again = Run::start(&home.place("second"), None, &["join", "--agent-listen", &free_address()]).await;
    again.says("second is in the mesh").await;
}
