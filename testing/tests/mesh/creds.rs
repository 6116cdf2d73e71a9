//! A NATS that somebody runs already, as nsc sets it up: an operator, an account, and for each part a user with the permissions
//! that `echo-mesh permissions` prints, and no others.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use echo_testing::mesh::{Program, binaries, holds, until};
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::nats::NatsServer;

/// What nsc does, by hand: who signs for whom.
struct Operator {
    account: KeyPair,
    folder: TempDir,
    config: String,
}

impl Operator {
    fn new() -> Self {
        let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
        let own = token(&operator, &operator, "operator", &json!({}));
        let limits = ["subs", "data", "payload", "imports", "exports", "conn", "leaf"];
        let mut limits: Value = limits.iter().map(|name| ((*name).to_owned(), json!(-1))).collect();
        limits["wildcards"] = json!(true);
        let signed = token(&operator, &account, "account", &json!({ "limits": limits }));
        let config = format!(
            "max_payload: 8MB\noperator: {own}\nresolver: MEMORY\nresolver_preload: {{ {}: {signed} }}\n",
            account.public_key()
        );
        Self { account, folder: tempfile::tempdir().expect("a folder"), config }
    }

    /// A user who may do what `echo-mesh permissions` prints for him: the file for `--creds`.
    fn creds(&self, name: &str, duty: &str, more: &[&str]) -> PathBuf {
        let user = KeyPair::new_user();
        let mut command = Command::new(binaries::program("echo-mesh"));
        command.args(["permissions", "--format", "nsc", "--duty", duty, "--key", &user.public_key()]);
        let printed = command.args(more).env("ECHO_CONFIG", "/dev/null").output().expect("it runs").stdout;
        let mut rights: Value = serde_json::from_slice(&printed).expect("JSON");
        ["subs", "data", "payload"].iter().for_each(|limit| rights[*limit] = json!(-1));
        let (token, seed) = (token(&self.account, &user, "user", &rights), user.seed().expect("a seed"));
        let file = self.folder.path().join(format!("{name}.creds"));
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        echo_bus::private_file::write(&file, &text).expect("it can be written");
        file
    }
}

/// A claim about a key, signed.
fn token(signer: &KeyPair, subject: &KeyPair, kind: &str, claims: &Value) -> String {
    let mut nats = claims.clone();
    (nats["type"], nats["version"]) = (json!(kind), json!(2));
    let body = json!({
        "jti": subject.public_key(), "iat": 1_700_000_000, "iss": signer.public_key(), "sub": subject.public_key(),
        "name": kind, "nats": nats,
    });
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let said = format!("{}.{}", part(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), part(&body));
    let signature = signer.sign(said.as_bytes()).expect("a private half");
    format!("{said}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_nats_with_users_by_nsc_carries_a_mesh_that_may_do_what_is_printed_and_needs_no_more() {
    let operator = Operator::new();
    let server = NatsServer::start(&operator.config).await;
    let engine = echo_scripted_engine::Engine::start(echo_scripted_engine::Script::default()).await;
    let part = |name: &'static str, binary: &'static str, rights: &[&str], args: &[&str]| {
        let creds = operator.creds(name, binary, rights).to_string_lossy().into_owned();
        let common = ["--nats", &server.url(), "--creds", &creds].map(str::to_owned);
        Program::new(name, binary, common.into_iter().chain(args.iter().map(|it| (*it).to_owned())).collect())
    };
    let url = engine.url();
    let node = ["--listen", "127.0.0.1:0", "--node", "node-a", "--engine", "ollama", "--engine-url", &url];
    let agent = part("node-a", "agent", &["--node", "node-a"], &node);
    let orchestrator = part("orchestrator", "orchestrator", &[], &[]);
    let edge = part("edge", "edge", &[], &["--listen", "127.0.0.1:0"]);
    tokio::join!(orchestrator.start(), edge.start(), agent.start());
    let client = echo_testing::client::Client::new(edge.address());
    until("a task to be answered", || async {
        let reply = client.post("/task", &json!({"prompt": "[tokens=40]"})).send().await;
        let reply = reply.map_err(|error| error.to_string())?;
        holds(reply.status() == 200, reply.text().await)
    })
    .await;
    let status = client.get("/status").send().await.expect("an answer").json().await;
    assert_eq!(status["nodes"][0]["node_id"], "node-a", "{status}");

    // Whom nobody has signed for does not get in, and hears why.
    let foreign = Operator::new();
    let creds = foreign.creds("foreign", "edge", &[]).to_string_lossy().into_owned();
    let args = ["--nats", &server.url(), "--creds", &creds, "--listen", "127.0.0.1:0"];
    let foreign_edge = Program::new("foreign", "edge", args.map(str::to_owned).to_vec());
    foreign_edge.launch().await;
    foreign_edge.mentions("the broker there does not let this part in").await;

    for program in [&orchestrator, &edge, &agent] {
        assert!(program.stop().await.success());
        let denied = |line: &String| line.contains("Violation") || line.contains("denied");
        let denied: Vec<String> = program.logs().all().into_iter().filter(denied).collect();
        assert!(denied.is_empty(), "{}: {denied:?}", program.name());
    }
}
