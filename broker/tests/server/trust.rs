//! A server with keys: who gets in, who is cut off, and what others notice of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use echo_broker::machines::Machines;
use echo_broker::server::Reloader;
use echo_broker::trust::{CERTIFICATE_LASTS, Trust};
use echo_bus::Bus;
use echo_bus::client::{self, Access, Authority};
use echo_bus::id::{AttemptId, NodeId, Role, TaskId};
use echo_bus::key::{PublicKey, Seed};
use echo_bus::message::{Cancel, JoinAnswer, JoinRequest, MachinesAnswer, MachinesRequest, NewKey, Refusal};
use echo_bus::subject::{self, Duty};

use super::*;

/// A server with a list of keys, and the part that is asked about it.
struct Keyed {
    server: Server,
    trust: Trust,
    _machines: Machines,
    folder: TempDir,
}

async fn trusting(trust: &Trust) -> Options {
    Options { trust: Some(trust.clone()), ..options().await }
}

async fn keyed() -> Keyed {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::open(&folder.path().join("trust")).unwrap();
    let server = start(trusting(&trust).await).await.unwrap();
    let machines = Machines::start(server.url(), trust.clone(), server.reloader()).await.unwrap();
    Keyed { server, trust, _machines: machines, folder }
}

impl Keyed {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("keys").join(format!("{name}.nk"))
    }

    /// A key that was made elsewhere, and is not in yet.
    fn new_key(&self, name: &str, duty: Duty) -> NewKey {
        let key = Seed::read_or_create(&self.path(name)).unwrap().public().clone();
        let node = (duty == Duty::Agent).then(|| name.parse().unwrap());
        NewKey { name: name.to_owned(), duty, node, key }
    }

    async fn connect(&self, key: &Path, role: Role) -> Bus {
        let access = self.trust.access(key).unwrap();
        // An agent is called as its node is, here and its key's file.
        let node = || key.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let id = if role == Role::Agent { node() } else { access.key().map(PublicKey::process).unwrap() };
        let options = client::Options { url: self.server.url().to_owned(), role, id, access };
        timeout(PATIENCE, Bus::connect(options)).await.expect("connected in time").unwrap()
    }

    async fn operator(&self) -> Bus {
        let key = self.trust.own_key("operator", Duty::Operator, None).unwrap();
        self.connect(&key, Role::Other).await
    }

    /// A part that is let in by the operator, and connects.
    async fn part(&self, operator: &Bus, name: &str, duty: Duty, role: Role) -> Bus {
        admitted(operator, vec![self.new_key(name, duty)]).await.unwrap();
        self.connect(&self.path(name), role).await
    }

    /// Whether this key is let in by a connection that tries once.
    async fn lets_in(&self, key: &Path) -> bool {
        let seed = fs::read_to_string(key).unwrap();
        self.encrypted(ConnectOptions::with_nkey(seed.trim().to_owned()))
            .connect(self.server.url())
            .await
            .is_ok()
    }

    fn encrypted(&self, options: ConnectOptions) -> ConnectOptions {
        let authority = Authority::read(&self.trust.authority()).unwrap();
        options.require_tls(true).tls_client_config(authority.client_config())
    }
}

async fn ask(operator: &Bus, request: MachinesRequest) -> Result<Vec<String>, String> {
    match operator.call(&subject::machines(), &request, PATIENCE).await.unwrap() {
        MachinesAnswer::Machines { machines } => Ok(machines.into_iter().map(|one| one.name).collect()),
        MachinesAnswer::Refused { why } => Err(why),
        MachinesAnswer::Unknown => panic!("an answer of a newer version"),
    }
}

async fn admitted(operator: &Bus, keys: Vec<NewKey>) -> Result<Vec<String>, String> {
    ask(operator, MachinesRequest::Admit { keys }).await
}

async fn revoked(operator: &Bus, name: &str) -> Result<Vec<String>, String> {
    ask(operator, MachinesRequest::Revoke { names: vec![name.to_owned()] }).await
}

/// A stream from an edge to an orchestrator, until it is told to stop.
struct Stream {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    heard: tokio::task::JoinHandle<Vec<u32>>,
    sender: tokio::task::JoinHandle<u32>,
}

impl Stream {
    async fn start(from: Bus, to: Bus) -> Self {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut cancels = to.subscribe(&subject::cancelled_tasks()).await.unwrap();
        to.round_trip(PATIENCE).await.unwrap();
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Some(Cancel(id)) = cancels.next_readable().await {
                if id.attempt == 0 {
                    break;
                }
                heard.push(id.attempt);
            }
            heard
        });
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let sender = tokio::spawn(async move {
            // Of its own: it may speak for no other.
            let task = TaskId::random_at(&from.me().id);
            let mut attempt = 0;
            while !stopped.load(Ordering::Relaxed) || attempt < 1000 {
                attempt += 1;
                from.publish(&subject::cancel_task(task), &Cancel(AttemptId { task, attempt }))
                    .await
                    .unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let end = Cancel(AttemptId { task, attempt: 0 });
            from.publish(&subject::cancel_task(task), &end).await.unwrap();
            from.round_trip(PATIENCE).await.unwrap();
            assert_eq!(from.link().borrow().epoch, 1, "the connection was lost on the way");
            attempt
        });
        Self { stop, sent, heard, sender }
    }

    /// How many messages there were; all of them have arrived in order.
    async fn arrived_whole(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let sent = timeout(PATIENCE, self.sender).await.unwrap().unwrap();
        let heard = timeout(PATIENCE, self.heard).await.expect("the end arrives").unwrap();
        assert_eq!(heard, (1..=sent).collect::<Vec<_>>());
        heard.len()
    }
}

#[tokio::test]
async fn only_listed_keys_get_in_and_only_encrypted() {
    let mesh = keyed().await;
    assert!(mesh.server.url().starts_with("tls://"), "{}", mesh.server.url());
    let operator = mesh.operator().await;
    assert_eq!(ask(&operator, MachinesRequest::List).await.unwrap(), ["broker", "operator"]);
    let stranger = mesh.folder.path().join("stranger.nk");
    Seed::read_or_create(&stranger).unwrap();
    assert!(!mesh.lets_in(&stranger).await, "a key that nobody has let in");
    for user in ["mesh", "watch"] {
        let options = ConnectOptions::with_user_and_password(user.to_owned(), String::new());
        assert!(mesh.encrypted(options).connect(mesh.server.url()).await.is_err(), "{user} got in");
    }
    let nameless = mesh.encrypted(ConnectOptions::new()).connect(mesh.server.url()).await;
    assert!(nameless.is_err(), "somebody got in without a name");
    // A client that believes other authorities than the mesh's does not speak with this broker.
    let other = Trust::open(&mesh.folder.path().join("other")).unwrap();
    let foreign = Authority::read(&other.authority()).unwrap();
    let key = fs::read_to_string(mesh.trust.own_key("operator", Duty::Operator, None).unwrap()).unwrap();
    let options = ConnectOptions::with_nkey(key.trim().to_owned()).require_tls(true);
    let options = options.tls_client_config(foreign.client_config());
    assert!(options.connect(mesh.server.url()).await.is_err(), "another authority's client got in");
}

#[tokio::test]
async fn a_key_works_when_the_answer_comes_and_a_revoked_one_is_cut_off_and_stays_out() {
    let mesh = keyed().await;
    let operator = mesh.operator().await;
    let agent = mesh.part(&operator, "a", Duty::Agent, Role::Agent).await;
    let other = mesh.part(&operator, "b", Duty::Agent, Role::Agent).await;
    let mut link = agent.link();
    let began = Instant::now();
    revoked(&operator, "a").await.unwrap();
    timeout(PATIENCE, link.wait_for(|link| !link.up)).await.expect("cut off").unwrap();
    eprintln!("cut off after {:?}", began.elapsed());
    assert!(!mesh.lets_in(&mesh.path("a")).await, "a revoked key got in again");
    assert!(!agent.is_connected() && link.borrow().epoch == 1);
    assert!(other.is_connected() && other.link().borrow().epoch == 1);
    other.round_trip(PATIENCE).await.unwrap();
    // The name and the node are free for another key.
    fs::remove_file(mesh.path("a")).unwrap();
    mesh.part(&operator, "a", Duty::Agent, Role::Agent).await;
}

#[tokio::test]
async fn a_stream_of_others_loses_nothing_through_twenty_changes() {
    let mesh = keyed().await;
    let operator = mesh.operator().await;
    let edge = mesh.part(&operator, "edge", Duty::Edge, Role::Edge).await;
    let orchestrator = mesh.part(&operator, "orchestrator", Duty::Orchestrator, Role::Orchestrator).await;
    let stream = Stream::start(edge, orchestrator).await;
    let mut took = Vec::new();
    for round in 0..10 {
        let name = format!("n{round}");
        let began = Instant::now();
        admitted(&operator, vec![mesh.new_key(&name, Duty::Agent)]).await.unwrap();
        revoked(&operator, &name).await.unwrap();
        took.push(began.elapsed() / 2);
        // Each change is amid the stream, not before or behind it.
        let before = stream.sent.load(Ordering::Relaxed);
        until("the stream goes on", async || stream.sent.load(Ordering::Relaxed) > before + 20).await;
    }
    took.sort();
    let count = stream.arrived_whole().await;
    eprintln!("{count} messages through 20 changes, each {:?} in the middle, {:?} at most", took[5], took[9]);
}

#[tokio::test]
async fn what_crosses_accounts_still_does_after_a_change() {
    let mesh = keyed().await;
    let operator = mesh.operator().await;
    let edge = mesh.part(&operator, "edge", Duty::Edge, Role::Edge).await;
    let mut gone = edge.subscribe(&subject::gone()).await.unwrap();
    edge.round_trip(PATIENCE).await.unwrap();
    let mut asked = operator.subscribe(&subject::joins(7)).await.unwrap();
    operator.round_trip(PATIENCE).await.unwrap();
    let guest = Guest::connect(mesh.server.url(), PATIENCE).await.unwrap();
    for round in 0..3 {
        // The disconnection of an agent, and a guest's question to the operator: both through imports.
        let name = format!("n{round}");
        let agent = mesh.part(&operator, &name, Duty::Agent, Role::Agent).await;
        agent.close().await;
        let heard = async { while !gone.next_readable().await.unwrap().client.name.contains(&name) {} };
        timeout(PATIENCE, heard).await.expect("the edge hears who has gone");
        let answering = async {
            let request = asked.next().await.unwrap();
            let answer = JoinAnswer::Refused { why: Refusal::WrongCode, node: None };
            operator.answer(request.reply.as_ref(), &answer).await.unwrap();
        };
        let (join, question) = (subject::join(7), JoinRequest::Unknown);
        let (answer, ()) = tokio::join!(guest.call::<_, JoinAnswer>(&join, &question, PATIENCE), answering);
        assert!(matches!(answer, Ok(JoinAnswer::Refused { .. })), "{answer:?}");
    }
    let page = operator.is_connected() && operator.link().borrow().epoch == 1;
    assert!(page, "the operator was disturbed");
}

#[tokio::test]
async fn what_the_server_refuses_changes_nothing() {
    let mesh = keyed().await;
    let operator = mesh.operator().await;
    let before = mesh.trust.machines().unwrap();
    let certificate = mesh.folder.path().join("trust/broker.pem");
    let good = fs::read(&certificate).unwrap();
    fs::write(&certificate, "no certificate").unwrap();
    let why = admitted(&operator, vec![mesh.new_key("a", Duty::Agent)]).await.unwrap_err();
    assert!(why.contains("does not take the new list of keys"), "{why}");
    assert_eq!(mesh.trust.machines().unwrap(), before);
    assert!(!mesh.lets_in(&mesh.path("a")).await);
    fs::write(&certificate, good).unwrap();
    mesh.part(&operator, "a", Duty::Agent, Role::Agent).await;
}

#[tokio::test]
async fn a_list_that_somebody_has_removed_cuts_nobody_off() {
    let mesh = keyed().await;
    let operator = mesh.operator().await;
    fs::remove_file(mesh.folder.path().join("trust/machines.json")).unwrap();
    let why = mesh.server.reloader().reload().await.unwrap_err().to_string();
    assert!(why.contains("lacks the broker's own key"), "{why}");
    operator.round_trip(PATIENCE).await.unwrap();
    assert_eq!(operator.link().borrow().epoch, 1);
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused_with_a_sentence() {
    let mesh = keyed().await;
    let operator = mesh.operator().await;
    let good = mesh.new_key("a", Duty::Agent);
    for (bad, word) in [
        (NewKey { duty: Duty::Broker, node: None, ..good.clone() }, "a broker makes its own key"),
        (NewKey { name: "../a".to_owned(), ..good.clone() }, "is no name"),
        (NewKey { node: None, ..good.clone() }, "an agent has a node"),
        (NewKey { name: "Operator".to_owned(), ..good.clone() }, "there is a machine"),
    ] {
        let why = admitted(&operator, vec![mesh.new_key("b", Duty::Agent), bad]).await.unwrap_err();
        assert!(why.contains(word), "{why}");
        assert_eq!(mesh.trust.machines().unwrap().len(), 2, "a part of it was done");
    }
    for (name, word) in
        [("operator", "the last operator"), ("broker", "the broker itself"), ("x", "no machine")]
    {
        let why = revoked(&operator, name).await.unwrap_err();
        assert!(why.contains(word), "{why}");
    }
}

#[tokio::test]
async fn after_a_crash_of_the_server_the_list_is_in_force_and_can_be_changed() {
    let mesh = keyed().await;
    let operator = mesh.operator().await;
    let agent = mesh.part(&operator, "a", Duty::Agent, Role::Agent).await;
    let (before, mut pids) = (mesh.server.pid().unwrap(), mesh.server.pids());
    kill("-KILL", before);
    let back = pids.wait_for(|pid| pid.is_some_and(|pid| pid != before));
    timeout(PATIENCE, back).await.expect("back").unwrap();
    let mut link = agent.link();
    timeout(PATIENCE, link.wait_for(|link| link.up && link.epoch == 2)).await.unwrap().unwrap();
    until("the broker's part answers again", async || {
        operator.call(&subject::machines(), &MachinesRequest::List, PATIENCE).await.is_ok()
    })
    .await;
    revoked(&operator, "a").await.unwrap();
    timeout(PATIENCE, link.wait_for(|link| !link.up)).await.expect("cut off").unwrap();
}

#[tokio::test]
async fn what_commands_have_changed_while_no_broker_ran_is_in_force_at_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::open(folder.path()).unwrap();
    let key = trust.own_key("edge", Duty::Edge, None).unwrap();
    let server = start(trusting(&trust).await).await.unwrap();
    server.stop().await.unwrap();
    trust.revoke(&["edge".to_owned()]).unwrap();
    let server = start(trusting(&trust).await).await.unwrap();
    let machines = Machines::start(server.url(), trust.clone(), server.reloader()).await.unwrap();
    let mesh = Keyed { server, trust, _machines: machines, folder };
    assert!(!mesh.lets_in(&key).await);
    mesh.trust.own_key("edge", Duty::Edge, None).unwrap();
    mesh.server.reloader().reload().await.unwrap();
    assert!(mesh.lets_in(&key).await);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_who_connects_next() {
    let mesh = keyed().await;
    let operator = mesh.operator().await;
    let before = certificate_of(&mesh).await;
    mesh.trust.server_certificate("broker", CERTIFICATE_LASTS).unwrap();
    assert_eq!(certificate_of(&mesh).await, before, "the server has read it without being told");
    mesh.server.reloader().reload().await.unwrap();
    assert_ne!(certificate_of(&mesh).await, before);
    assert_eq!(operator.link().borrow().epoch, 1);
}

#[tokio::test]
async fn a_certificate_that_is_about_to_end_is_renewed_under_way_and_tried_again_if_the_server_did_not_take_it()
 {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::open(&folder.path().join("trust")).unwrap();
    let renewal = Renewal { lasts: Duration::from_secs(6), look: Duration::from_millis(200) };
    let began = Instant::now();
    let server = start(Options { renewal, ..trusting(&trust).await }).await.unwrap();
    let machines = Machines::start(server.url(), trust.clone(), server.reloader()).await.unwrap();
    let mesh = Keyed { server, trust, _machines: machines, folder };
    let operator = mesh.operator().await;
    let first = certificate_of(&mesh).await;
    // Nothing that the server takes, for a while in which one was due.
    let list = mesh.folder.path().join("trust/machines.json");
    let good = fs::read(&list).unwrap();
    fs::write(&list, "no list").unwrap();
    tokio::time::sleep_until((began + Duration::from_secs(5)).into()).await;
    assert_eq!(certificate_of(&mesh).await, first);
    fs::write(&list, good).unwrap();
    until("another certificate", async || certificate_of(&mesh).await != first).await;
    // The first one would let nobody in any more.
    tokio::time::sleep_until((began + Duration::from_secs(7)).into()).await;
    certificate_of(&mesh).await;
    assert_eq!(operator.link().borrow().epoch, 1, "those who are there are not disturbed");
}

/// The certificate that the server shows.
async fn certificate_of(mesh: &Keyed) -> Vec<u8> {
    use rustls::pki_types::ServerName;
    use tokio::io::AsyncReadExt as _;
    let address = mesh.server.url().replace("tls://", "");
    let mut stream = TcpStream::connect(address).await.unwrap();
    while stream.read_u8().await.unwrap() != b'\n' {}
    let config = Authority::read(&mesh.trust.authority()).unwrap().client_config();
    let name = ServerName::try_from(client::BROKER_NAME).unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_configuration_that_would_let_strangers_in_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::open(folder.path()).unwrap();
    let second = r#"{ user: watch, password: "" }, { user: join, password: """#;
    let name = "server_name: echo\n";
    for (from, to, who) in [
        (name, "server_name: echo\nno_auth_user: join\n", "everybody"),
        ("{\n        user: join, password: \"\"", second, "the user watch"),
        ("# echo-mesh: way in end", "tls { allow_non_tls: true }\n# echo-mesh: way in end", ""),
    ] {
        let (_folder, config) = altered(from, to);
        let refused = start(Options { config: Some(config), ..trusting(&trust).await }).await;
        match (who, refused) {
            // What stands between the marks is replaced.
            ("", refused) => drop(refused.unwrap()),
            (_, refused) => {
                let refused = refused.unwrap_err();
                assert!(matches!(refused, Error::LetsIn { .. }), "{to}: {refused}");
                assert!(refused.to_string().contains(who), "{refused}");
            }
        }
    }
    let (_folder, config) =
        altered("# echo-mesh: way in end", "# echo-mesh: way in end\ntls { allow_non_tls: true }");
    let refused = start(Options { config: Some(config), ..trusting(&trust).await }).await.unwrap_err();
    assert!(matches!(refused, Error::LetsIn { .. } | Error::Config { .. }), "{refused}");
}

#[tokio::test]
async fn a_configuration_without_marks_is_refused_with_what_to_add() {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::open(folder.path()).unwrap();
    for mark in ["# echo-mesh: users of the mesh begin", "# echo-mesh: way in end"] {
        let (_folder, config) = altered(mark, "#");
        let refused = start(Options { config: Some(config), ..trusting(&trust).await }).await.unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, Error::NoMarks { .. }), "{text}");
        assert!(text.contains(mark.trim_end_matches(" begin").trim_end_matches(" end")), "{text}");
    }
}

#[tokio::test]
async fn a_guest_may_ask_to_join_and_nothing_else() {
    let mesh = keyed().await;
    let (events, mut denied) = tokio::sync::mpsc::unbounded_channel();
    let options = ConnectOptions::with_user_and_password("join".into(), String::new());
    let options =
        mesh.encrypted(options).custom_inbox_prefix("_INBOX.join.me").event_callback(move |event| {
            let _ = events.send(event.to_string().to_lowercase());
            std::future::ready(())
        });
    let guest = options.connect(mesh.server.url()).await.unwrap();
    assert!(no_one_responds(&guest, "_echo.join.0001").await, "no code is shown, and somebody answers");
    for subject in [">", "_INBOX.>", "_INBOX.*", "echo.>", "_echo.>", "_echo.join.*", "$SYS.>", "_R_.>"] {
        let _messages = guest.subscribe(subject).await.unwrap();
        says(&mut denied, "permissions violation for subscription").await;
    }
    for subject in [
        "echo.task.submit",
        "echo.task.submit.7",
        "echo.mesh.status",
        "_echo.machines",
        "_echo.ping.agent.a",
        "_INBOX.edge.1.2",
        "_echo.join.a.b",
    ] {
        guest.publish(subject, "".into()).await.unwrap();
        says(&mut denied, "permissions violation for publish").await;
    }
}

#[tokio::test]
async fn a_configuration_whose_guests_may_more_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::open(folder.path()).unwrap();
    let permissions = r#"permissions: { publish: ["_echo.join.*"], subscribe: ["_INBOX.join.*.>"] }"#;
    for more in [
        "",
        r#"permissions: { publish: ["_echo.join.*"] }"#,
        r#"permissions: { publish: ["_echo.>"], subscribe: ["_INBOX.join.*.>"] }"#,
        r#"permissions: { publish: ["_echo.join.*"], subscribe: ["_INBOX.>"] }"#,
        r#"permissions: { publish: ["_echo.join.*", "echo.>"], subscribe: ["_INBOX.join.*.>"] }"#,
    ] {
        let (_folder, config) = altered(permissions, more);
        let refused = start(Options { config: Some(config), ..trusting(&trust).await }).await.unwrap_err();
        assert!(matches!(refused, Error::GuestMayMore(_)), "{more}: {refused}");
    }
    // Without that user there are no invitations, and all else works.
    let (_folder, config) =
        altered("user: join, password: \"\"", "user: nobody, password: \"0123456789abcdef\"");
    start(Options { config: Some(config), ..trusting(&trust).await }).await.unwrap();
}

#[tokio::test]
async fn a_thousand_keys_are_let_in_within_seconds() {
    let mesh = keyed().await;
    let operator = mesh.operator().await;
    let keys = (0..1000).map(|number| {
        let (key, node) = (nkeys::KeyPair::new_user().public_key(), format!("n{number}"));
        let node: NodeId = node.parse().unwrap();
        NewKey { name: node.to_string(), duty: Duty::Agent, node: Some(node), key: key.parse().unwrap() }
    });
    let began = Instant::now();
    let all = admitted(&operator, keys.collect()).await.unwrap();
    eprintln!("a thousand keys at once took {:?}", began.elapsed());
    assert_eq!(all.len(), 1002);
    let server: Reloader = mesh.server.reloader();
    let mut took = Vec::new();
    for round in 0..5 {
        let began = Instant::now();
        admitted(&operator, vec![mesh.new_key(&format!("x{round}"), Duty::Agent)]).await.unwrap();
        took.push(began.elapsed());
    }
    let began = Instant::now();
    server.reload().await.unwrap();
    took.sort();
    eprintln!("one more beside a thousand took {:?} in the middle, a reload {:?}", took[2], began.elapsed());
    assert!(took[2] < Duration::from_secs(5), "{took:?}");
    assert!(operator.is_connected());
}

/// So that `Access` is what both sides use.
#[test]
fn the_own_key_of_the_broker_is_closed_to_others() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::open(folder.path()).unwrap();
    let key = trust.own_key("broker", Duty::Broker, None).unwrap();
    let Access { authority, .. } = trust.access(&key).unwrap();
    assert!(authority.is_some());
    trust.server_certificate("broker", CERTIFICATE_LASTS).unwrap();
    for file in ["ca.key", "broker.key", "keys/broker.nk", "machines.json"] {
        let mode = fs::metadata(folder.path().join(file)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
}

#[tokio::test]
async fn the_program_tells_whom_to_believe_and_shows_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let trust = folder.path().join("trust");
    let (mut broker, ready) = program(&folder, &["--trust", trust.to_str().unwrap()]).await;
    assert_eq!(ready["tls"], true);
    let authority = PathBuf::from(ready["authority"].as_str().unwrap());
    assert_eq!(fs::read(authority).unwrap(), fs::read(trust.join("ca.pem")).unwrap());
    let pid = ready["server_pid"].as_u64().unwrap();
    let shown = |pid: u64| {
        let read = |what: &str| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        String::from_utf8_lossy(&[read("cmdline"), read("environ")].concat()).into_owned()
    };
    let shown = shown(pid) + &shown(u64::from(broker.id()));
    for file in ["keys/broker.nk", "keys/operator.nk", "ca.key", "broker.key"] {
        let text = fs::read_to_string(trust.join(file)).unwrap();
        let secret = text.lines().find(|line| !line.starts_with('-')).unwrap();
        assert!(!shown.contains(secret), "{file}");
    }
    kill("-TERM", broker.id());
    let status = tokio::task::spawn_blocking(move || broker.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");

    let both = ["--trust", trust.to_str().unwrap(), "--insecure-lan"];
    let (said, code) = refusal(&both).await;
    assert!(said.contains("cannot be used with") && code == Some(2), "{said}");
    fs::write(trust.join("machines.json"), "{").unwrap();
    let (said, code) = refusal(&both[..2]).await;
    assert!(said.contains("machines.json cannot be understood") && code == Some(2), "{said}");
}
