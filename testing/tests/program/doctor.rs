//! `doctor` and `config`: set-ups that are really broken, and what is said of each; nothing is said of a good one.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::Json;
use axum::http::header;
use axum::routing::get;
use echo_bus::subject::Duty;
use echo_scripted_engine::{Api, Engine, Script};
use echo_testing::client::Client;
use echo_testing::mesh::{Keys, Lan, Mesh, Program, binaries, soon, until};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio_util::task::AbortOnDropHandle;

/// What came of one call of `echo-mesh`.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// This check has found this, with this cure, and no check has found anything else.
    #[track_caller]
    fn only(&self, check: &str, what: &[&str], mend: &str) {
        let json = self.json();
        let found = json["findings"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{json:#}");
        let text = |name: &str| found[0][name].as_str().unwrap().to_owned();
        assert_eq!((text("check").as_str(), text("severity").as_str()), (check, "wrong"), "{json:#}");
        for word in what {
            assert!(text("what").contains(word), "{word:?} is not in {json:#}");
        }
        assert!(text("mend").contains(mend), "{mend:?} is not in {json:#}");
        assert_eq!((self.code, &json["well"]), (1, &json!(false)), "{json:#}");
    }

    #[track_caller]
    fn nothing(&self) {
        let json = self.json();
        assert_eq!((self.code, &json["findings"], &json["well"]), (0, &json!([]), &json!(true)), "{json:#}");
    }
}

/// A person's home folder and engine, and nothing of the machine that the tests run on.
struct Home(TempDir, Engine);

impl Home {
    async fn new() -> Self {
        let engine = Engine::start(Script { api: Api::Ollama, ..Script::default() }).await;
        Self(tempfile::tempdir().unwrap(), engine)
    }

    fn path(&self, below: &str) -> String {
        self.0.path().join(below).to_string_lossy().into_owned()
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A command in which neither the mesh's nor the machine's variables reach `echo-mesh`.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.0.path()).env("PATH", std::env::var_os("PATH").unwrap());
        command.env("ECHO_ENGINE_URL", self.1.url());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn says(&self, mut command: Command) -> Said {
        let output = soon("echo-mesh to say something", command.output()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    async fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Said {
        let mut command = self.command(binaries::program("echo-mesh"));
        command.args(args).envs(variables.iter().copied());
        self.says(command).await
    }

    async fn doctor(&self, flags: &[String], more: &[&str]) -> Said {
        let more: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.run(&[&["doctor", "--json"], &more[..]].concat(), &[]).await
    }

    /// Waits until `doctor` finds exactly one thing: some faults are seen after a moment.
    async fn doctor_finds(&self, flags: &[String], more: &[&str]) -> Said {
        until("doctor to find one thing", || async {
            let said = self.doctor(flags, more).await;
            let count = said.json()["findings"].as_array().unwrap().len();
            if count == 1 { Ok(said) } else { Err(said.out) }
        })
        .await
    }
}

fn at(edge: SocketAddr, nats: &str) -> Vec<String> {
    ["--edge", &format!("http://{edge}"), "--nats", nats].map(str::to_owned).to_vec()
}

/// The flags for a mesh.
fn of(mesh: &Mesh) -> Vec<String> {
    at(mesh.edge(0).address(), &mesh.broker.url())
}

fn program(name: &'static str, args: &[&str]) -> Program {
    Program::new(name, name, args.iter().map(|arg| (*arg).to_owned()).collect())
}

/// Somebody who listens and says something that is neither HTTP nor NATS.
async fn greeter(words: &'static [u8]) -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(words).await;
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1_000]).await;
        }
    });
    (address, AbortOnDropHandle::new(serving))
}

#[tokio::test]
async fn nothing_is_said_of_a_good_mesh() {
    let (mesh, home) = (Mesh::start().await, Home::new().await);
    let engine = mesh.engine(0).url();
    home.doctor(&of(&mesh), &["--engine-url", &engine]).await.nothing();
    let flags = of(&mesh);
    let flags: Vec<&str> = ["doctor"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let said = home.run(&flags, &[]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    assert!(
        said.out.starts_with("all is well\nlooked at: ") && said.out.lines().count() == 2,
        "{}",
        said.out
    );
    for word in ["which knows 2 nodes", "nats-server 2.", "one agent for each id", " clocks"] {
        assert!(said.out.contains(word), "{word:?} is not in {}", said.out);
    }
}

#[tokio::test]
async fn an_engine_that_is_dead_makes_a_node_that_takes_no_work() {
    let (mesh, home) = (Mesh::start().engine_programs().await, Home::new().await);
    mesh.node(0).engine_program().kill().await;
    mesh.node_is("node-a", "unavailable").await;
    let said = home.doctor(&of(&mesh), &[]).await;
    said.only("nodes", &["node-a takes no work", "cannot be reached"], "`ollama serve`");
}

#[tokio::test]
async fn an_engine_that_is_named_must_answer_and_have_a_model() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = home.doctor(&of(&mesh), &["--engine-url", &format!("http://{free}")]).await;
    said.only("engine", &["no engine answers", &free.to_string()], "--engine-url");
    let empty = Engine::start(Script { api: Api::Ollama, models: Vec::new(), ..Script::default() }).await;
    let said = home.doctor(&of(&mesh), &["--engine-url", &empty.url()]).await;
    said.only("engine", &["has no model"], "ollama pull NAME");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_engine_that_listens_beyond_this_machine_is_told() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let open = program("echo-scripted-engine", &["--api", "ollama", "--listen", "0.0.0.0:0"]);
    open.launch().await;
    let address: SocketAddr = open.mentions("0.0.0.0:").await.parse().unwrap();
    let url = format!("http://127.0.0.1:{}", address.port());
    let said = home.doctor(&of(&mesh), &["--engine-url", &url]).await;
    said.only("engine", &["listens beyond this machine, at 0.0.0.0"], "OLLAMA_HOST=127.0.0.1");
}

#[tokio::test]
async fn a_node_without_a_model_and_a_default_that_nobody_has_are_told() {
    let home = Home::new().await;
    let mesh = Mesh::start().nodes(1).await;
    let script = Script { api: Api::Ollama, models: Vec::new(), ..Script::default() };
    let empty = Engine::start(script.clone()).await;
    let agent = mesh.agent("bare", &empty.url(), &script);
    agent.start().await;
    mesh.node_is("bare", "idle").await;
    home.doctor(&of(&mesh), &[]).await.only("models", &["bare has no model"], "ollama pull NAME");

    let mesh = Mesh::start().nodes(1).orchestrator_args(["--default-model", "nobody:1b"]).await;
    let said = home.doctor(&of(&mesh), &[]).await;
    said.only("models", &["no node has nobody:1b"], "echo-mesh models pull nobody:1b");
}

#[tokio::test]
async fn a_node_that_is_drained_is_a_note_and_no_fault() {
    let (mesh, home) = (Mesh::start().await, Home::new().await);
    let drained = Client::new(mesh.node(0).address()).post("/drain", &json!({})).send().await.unwrap();
    assert_eq!(drained.status(), 200);
    mesh.node_is("node-a", "draining").await;
    let said = home.doctor(&of(&mesh), &[]).await;
    let found = &said.json()["findings"];
    assert_eq!(
        (said.code, found[0]["severity"].as_str(), found[1].is_null()),
        (0, Some("note"), true),
        "{found}"
    );
    assert!(found[0]["mend"].as_str().unwrap().contains("echo-mesh resume node-a"), "{found}");
}

#[tokio::test]
async fn two_agents_with_one_id_are_told() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    // The younger one leaves after a moment; who supervises it starts it again and again.
    let twin = mesh.agent("node-a", &mesh.engine(0).url(), &Script { api: Api::Ollama, ..Script::default() });
    let again = async {
        loop {
            twin.launch().await;
            twin.exit().await;
        }
    };
    let flags = of(&mesh);
    let said = tokio::select! {
        said = home.doctor_finds(&flags, &[]) => said,
        () = again => unreachable!(),
    };
    said.only("ids", &["two agents call themselves node-a"], "--node NAME");
}

#[tokio::test]
async fn a_port_on_which_somebody_else_sits_is_told_with_who_it_is() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let me = format!("(process {})", std::process::id());
    let (ssh, _greeting) = greeter(b"SSH-2.0-OpenSSH_9.6\r\n").await;
    let other = program("echo-scripted-engine", &[]);
    other.launch().await;
    let web: SocketAddr = other.mentions("127.0.0.1:").await.parse().unwrap();
    let its = format!("(process {})", other.pid());
    for (address, who) in [(ssh, &me), (web, &its)] {
        let said = home.doctor(&at(address, &mesh.broker.url()), &[]).await;
        said.only("ports", &[&address.to_string(), "where the edge belongs, is taken by", who], "--listen");
        let said = home.doctor(&at(mesh.edge(0).address(), &format!("nats://{address}")), &[]).await;
        said.only("ports", &[&address.to_string(), "where the broker belongs, is taken by", who], "--listen");
    }
}

#[tokio::test]
async fn a_broker_or_an_orchestrator_that_is_gone_is_told_once() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    mesh.orchestrator(0).kill().await;
    let said = home.doctor_finds(&of(&mesh), &[]).await;
    said.only("mesh", &["finds no orchestrator"], "echo-mesh orchestrator");
    mesh.broker.kill().await;
    let said = home.doctor_finds(&of(&mesh), &[]).await;
    said.only("broker", &["no broker answers", &mesh.broker.url()], "echo-mesh broker");
}

#[tokio::test]
async fn an_edge_that_is_named_must_answer_and_a_mesh_must_have_nodes() {
    let (mesh, home) = (Mesh::start().nodes(0).await, Home::new().await);
    home.doctor(&of(&mesh), &[]).await.only("mesh", &["the mesh has no node"], "echo-mesh join");
    let mesh = Mesh::start().nodes(1).await;
    let address = mesh.edge(0).address();
    mesh.edge(0).kill().await;
    let said = home.doctor(&at(address, &mesh.broker.url()), &[]).await;
    said.only("mesh", &["no edge answers", &address.to_string()], "echo-mesh edge");
}

#[tokio::test]
async fn a_nats_server_that_is_too_old_is_told() {
    // Nobody wants to fetch a real one that old.
    let old = b"INFO {\"server_name\":\"echo\",\"version\":\"2.9.25\",\"max_payload\":1048576}\r\n";
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let (address, _greeting) = greeter(old).await;
    let said = home.doctor(&at(mesh.edge(0).address(), &format!("nats://{address}")), &[]).await;
    said.only("broker", &["nats-server 2.9.25, and 2.10.0 or later is needed"], "echo-mesh broker");
}

#[tokio::test]
async fn another_version_of_a_part_is_told() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let observer = mesh.observer().await;
    let real = until("a heartbeat with models", || async {
        let beats = observer.seen().into_iter().filter(|beat| beat.subject.ends_with(".heartbeat"));
        let beats = beats.filter_map(|beat| serde_json::from_slice::<Value>(&beat.payload).ok());
        beats.into_iter().find(|beat| beat["models"][0].is_object()).ok_or("none yet")
    })
    .await;
    // The heartbeat of a node as an older agent would send it: there is no older program here.
    let login = async_nats::ConnectOptions::with_user_and_password("mesh".to_owned(), String::new());
    let bus = login.connect(mesh.broker.url()).await.unwrap();
    let beating = tokio::spawn(async move {
        let mut beat = real;
        (beat["node"], beat["boot"], beat["version"]) = (json!("old"), json!("b1"), json!("0.0.9"));
        // Nobody is asked for the time there.
        beat["agent_port"] = json!(1);
        for number in 1.. {
            beat["number"] = json!(number);
            bus.publish("echo.node.old.heartbeat", beat.to_string().into()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    let _beating = AbortOnDropHandle::new(beating);
    mesh.node_is("old", "idle").await;
    let said = home.doctor(&of(&mesh), &[]).await;
    said.only("versions", &["old is 0.0.9"], "same version");
    let unseen = said.json()["could_not_look_at"][0].clone();
    assert_eq!(
        unseen,
        json!({"check": "clocks", "what": "the clocks of old: their agents cannot be asked from here"})
    );
}

/// Nobody may set this machine's clock, so an edge with another one is played: it says what the real one says.
#[tokio::test]
async fn a_clock_that_is_far_off_is_told() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let mut status = mesh.status().await;
    status["server_time"] = json!(status["server_time"].as_u64().unwrap() + 3_600_000);
    let answer = move || async { ([(header::DATE, "Sun, 06 Nov 1994 08:49:37 GMT")], Json(status)) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = axum::serve(listener, axum::Router::new().route("/status", get(answer)));
    let _serving = AbortOnDropHandle::new(tokio::spawn(async move { serving.await.unwrap() }));
    let said = home.doctor(&at(address, &mesh.broker.url()), &[]).await;
    let what = ["that of the orchestrator is ", " minutes ahead", "that of the edge is ", " days behind"];
    said.only("clocks", &what, "timedatectl set-ntp true");
}

#[tokio::test]
async fn a_key_that_is_missing_unknown_or_open_to_others_and_a_wrong_authority_are_told_and_no_key_is_shown()
{
    let (mesh, home) = (Mesh::start().nodes(1).keys().await, Home::new().await);
    let flags = of(&mesh);
    let login = mesh.broker.login("operator", Duty::Operator);
    let (own, authority) = (login[1].clone(), login[3].clone());
    let seed = std::fs::read_to_string(&own).unwrap();
    let with = |key: &str, authority: &str| {
        let access = ["--nkey", key, "--tls-ca", authority].map(str::to_owned);
        [&flags[..], &access].concat()
    };
    home.doctor(&with(&own, &authority), &[]).await.nothing();
    home.doctor(&flags, &[]).await.only("broker", &["lets nobody in without a key"], "echo-mesh invite");

    let missing = home.path("none.nk");
    home.doctor(&with(&missing, &authority), &[]).await.only("keys", &[&missing], "");
    let open = home.file("open.nk", &seed, 0o644);
    let said = home.doctor(&with(&open, &authority), &[]).await;
    said.only("keys", &[&open], "");
    assert!(!said.out.contains(seed.trim()), "the key is shown: {}", said.out);
    let none = home.file("none-in-it.nk", "no-key-at-all", 0o600);
    let said = home.doctor(&with(&none, &authority), &[]).await;
    said.only("keys", &[&none], "");
    assert!(!said.out.contains("no-key-at-all"), "what may be a key is shown: {}", said.out);
    let stranger = home.path("stranger.nk");
    assert_eq!(home.run(&["key", &stranger], &[]).await.code, 0);
    let said = home.doctor(&with(&stranger, &authority), &[]).await;
    said.only("broker", &["does not know the key U"], "echo-mesh machines add");

    let others = home.0.path().join("another-mesh");
    let another = Keys::new(&others).args("looker", Duty::Operator)[3].clone();
    let said = home.doctor(&with(&own, &another), &[]).await;
    said.only("broker", &["has a certificate of another authority"], "join with a new code");
    let said = home.doctor(&with(&own, &home.path("no-ca.pem")), &[]).await;
    said.only("keys", &["no-ca.pem"], "");
}

#[tokio::test]
async fn an_engines_key_that_cannot_be_used_is_told_and_never_shown() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let engine = mesh.engine(0).url();
    for (text, mode, what) in [("hush-hush", 0o644, "others can read"), ("", 0o600, "holds no key")] {
        let key = home.file("key", text, mode);
        let said = home.doctor(&of(&mesh), &["--engine-url", &engine, "--engine-key-file", &key]).await;
        said.only("keys", &[what, &key], if mode == 0o644 { "chmod 600" } else { "write the key" });
        assert!(!said.out.contains("hush"));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_edge_that_is_open_to_other_machines_is_told() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let edge = program("edge", &["--nats", &mesh.broker.url(), "--listen", "0.0.0.0:0", "--open-lan"]);
    edge.start().await;
    let address = SocketAddr::from(([127, 0, 0, 1], edge.address().port()));
    let said = home.doctor(&at(address, &mesh.broker.url()), &[]).await;
    said.only(
        "open to others",
        &["at every address of this machine", "nothing protects it"],
        "--listen 127.0.0.1",
    );
}

#[tokio::test]
async fn a_proxy_that_would_get_local_calls_is_told() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let flags = of(&mesh);
    let flags: Vec<&str> = ["doctor", "--json"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let proxy = ("HTTP_PROXY", "http://me:hush@proxy.example:3128");
    let said = home.run(&flags, &[proxy]).await;
    said.only("proxy", &["HTTP_PROXY is set"], "NO_PROXY=localhost,127.0.0.1");
    assert!(!said.out.contains("hush"));
    home.run(&flags, &[proxy, ("NO_PROXY", "localhost,127.0.0.1,::1")]).await.nothing();
}

#[tokio::test]
async fn a_limit_of_open_files_that_is_low_is_told() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let mut command = home.command("sh");
    command.args(["-c", "ulimit -n 512 && exec \"$0\" \"$@\""]).arg(binaries::program("echo-mesh"));
    command.args(["doctor", "--json"]).args(of(&mesh));
    home.says(command).await.only("open files", &["only 512 files"], "ulimit -Hn");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_disk_that_is_nearly_full_is_told() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let small = home.path("small");
    std::fs::create_dir(&small).unwrap();
    let mut command = home.command("unshare");
    let mount = "mount -t tmpfs -o size=16m small \"$1\" || exit 77; shift; exec \"$@\"";
    command.args(["--mount", "sh", "-c", mount, "sh", &small]).arg(binaries::program("echo-mesh"));
    command.args(["doctor", "--json", "--cache-dir", &small]).args(of(&mesh));
    let said = home.says(command).await;
    if said.out.is_empty() {
        return echo_testing::skip::skip("a_disk_that_is_nearly_full_is_told", &said.err);
    }
    said.only("disk", &["nearly full: 17 MB are left", &small], "echo-mesh models rm");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn where_there_is_no_mesh_it_says_how_to_start_one_and_looks_at_the_rest() {
    let home = Home::new().await;
    let lan = match Lan::new(1) {
        Ok(lan) => lan,
        Err(why) => return echo_testing::skip::skip("where_there_is_no_mesh…", &why),
    };
    let inside = |more: &[&str]| {
        let mut command = home.command("ip");
        command.env_remove("ECHO_ENGINE_URL");
        command.args(["netns", "exec", lan.host(1)]).arg(binaries::program("echo-mesh"));
        command.args(["doctor", "--json"]).args(more);
        command
    };
    let said = home.says(inside(&[])).await;
    let found = &said.json()["findings"];
    assert_eq!(
        (said.code, found[0]["severity"].as_str(), found[1].is_null()),
        (0, Some("note"), true),
        "{found}"
    );
    assert!(found[0]["mend"].as_str().unwrap().contains("`echo-mesh up`"), "{found}");

    let other = program("echo-scripted-engine", &["--listen", "127.0.0.1:9001"]).on(lan.host(1));
    other.launch().await;
    other.mentions("127.0.0.1:9001").await;
    let said = home.says(inside(&[])).await;
    let wrong =
        &said.json()["findings"].as_array().unwrap().iter().find(|it| it["check"] == "ports").cloned();
    let what = wrong.as_ref().map(|it| it["what"].as_str().unwrap().to_owned()).unwrap_or_default();
    assert!(what.contains("127.0.0.1:9001, where an agent belongs, is taken by echo-scripted"), "{said:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_machine_without_multicast_is_told() {
    let home = Home::new().await;
    let lan = match Lan::new(1) {
        Ok(lan) => lan,
        Err(why) => return echo_testing::skip::skip("a_machine_without_multicast_is_told", &why),
    };
    let ip = |args: &[&str]| {
        std::process::Command::new("ip").args(["-n", lan.host(1)]).args(args).status().unwrap()
    };
    assert!(ip(&["link", "set", "eth0", "down"]).success());
    let mut command = home.command("ip");
    command.env_remove("ECHO_ENGINE_URL");
    command.args(["netns", "exec", lan.host(1)]).arg(binaries::program("echo-mesh"));
    command.args(["doctor", "--json", "--nats", "auto"]);
    home.says(command).await.only(
        "multicast",
        &["multicast does not work on this machine"],
        "--nats nats://HOST:4222",
    );
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_told_by_doctor_and_stops_all_others() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let file = home.file(".config/echo-mesh/config.toml", "[edge]\nlisen = '127.0.0.1:1'\n", 0o600);
    let wrong = format!("{file}:2: there is no setting `lisen` in [edge]; did you mean `listen`?");
    home.doctor(&of(&mesh), &[]).await.only("configuration", &[&wrong], "echo-mesh config");
    let said = home.run(&["edge"], &[]).await;
    assert_eq!((said.code, said.err.trim()), (2, format!("error: {wrong}").as_str()));
    assert_eq!(home.run(&["edge", "--help"], &[]).await.code, 0, "help is always there");
    let said = home.run(&["edge", "--config", "/dev/null", "--nats", "x:y:z"], &[]).await;
    assert!(said.code == 2 && said.err.contains("NATS URL"), "{said:?}");

    home.file(".config/echo-mesh/config.toml", "[edge]\nlisten = '127.0.0.1:1'\n", 0o666);
    let said = home.doctor(&of(&mesh), &[]).await;
    said.only("configuration", &["others can write the configuration", "chmod go-w"], "mend it there");
    std::fs::remove_file(&file).unwrap();
    let flags = of(&mesh);
    let flags: Vec<&str> = ["doctor", "--json"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let said = home.run(&flags, &[("ECHO_SLOTS", "many")]).await;
    said.only("configuration", &["ECHO_SLOTS: invalid value 'many' for `slots`"], "echo-mesh config");
}

#[tokio::test]
async fn a_program_starts_with_what_its_file_says_and_config_says_where_it_comes_from() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let text =
        format!("nats = '{}'\n[edge]\nlisten = '127.0.0.1:0'\nkeep-limit = '90s'\n", mesh.broker.url());
    let file = home.file("mesh.toml", &text, 0o600);
    // Nothing but the file says where the broker is.
    let edge = program("edge", &["--config", &file]);
    edge.start().await;
    let reply = Client::new(edge.address()).get("/status").send().await.unwrap();
    assert_eq!((reply.status(), &reply.json().await["node_count"]), (200, &json!(1)));
    let variables = [("ECHO_CONFIG", file.as_str()), ("ECHO_EDGE_LISTEN", "127.0.0.1:7")];
    let said = home.run(&["config", "edge"], &variables).await;
    for line in [
        format!("# the configuration file is {file}"),
        "listen = \"127.0.0.1:7\"".to_owned(),
        format!("keep-limit = \"90s\"  # {file}:4"),
        "threads = \"auto\"  # default".to_owned(),
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&said.out).contains(&words(&line)), "{line:?} is not in {}", said.out);
    }
    let json = home.run(&["config", "--json"], &variables).await.json();
    let edge = &json["commands"]["edge"];
    assert_eq!(
        edge["listen"],
        json!({"value": "127.0.0.1:7", "from": "environment", "variable": "ECHO_EDGE_LISTEN"})
    );
    assert_eq!((&edge["keep-limit"]["from"], &edge["keep-limit"]["line"]), (&json!("file"), &json!(4)));
    assert_eq!(json["commands"]["agent"]["nats"]["line"], 1);
    // What is printed is a file that says the same.
    let again = home.file("again.toml", &home.run(&["config"], &variables).await.out, 0o600);
    let said = home.run(&["config", "--json", "--config", &again], &[]).await;
    assert_eq!(said.json()["commands"]["edge"]["keep-limit"]["value"], "90s", "{said:?}");
}

/// As the supervisor writes it, had it been killed after one part of two.
#[tokio::test]
async fn a_part_that_is_dead_is_told() {
    let (mesh, home) = (Mesh::start().nodes(1).await, Home::new().await);
    let mut sleeper = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    let edge = u32::try_from(mesh.edge(0).pid()).unwrap();
    let part = |name: &str, pid: u32| json!({"name": name, "process": process(pid), "restarts": 0});
    let parts = [part("edge", edge), part("agent-9002", sleeper.id())];
    let record = json!({
        "version": "0", "since": 0, "ready": true, "supervisor": process(sleeper.id()), "parts": parts,
        "logs": home.path("logs"), "nodes": [], "why": ""
    });
    home.file("run/mesh.json", &record.to_string(), 0o600);
    let run = home.path("run");
    home.doctor(&of(&mesh), &["--run-dir", &run]).await.nothing();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let said = home.doctor(&of(&mesh), &["--run-dir", &run]).await;
    said.only("parts", &["agent-9002 does not run"], "echo-mesh logs agent-9002");
}

/// A process as a record knows it again.
fn process(pid: u32) -> Value {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().to_owned();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    json!({"pid": pid, "start": start, "boot": boot.trim()})
}
