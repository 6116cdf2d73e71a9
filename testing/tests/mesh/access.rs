//! Who does not get in hears why, and gets in once that is put right.

use std::path::{Path, PathBuf};

use echo_bus::permission::Part;
use echo_testing::mesh::Program;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::nats::{KeyFile, NatsServer};

/// An authority, and a broker's certificate that it has signed.
struct Certificates {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificates {
    fn new(folder: &Path, name: &str) -> Self {
        let authority_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).expect("a certificate");
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec![echo_bus::client::BROKER_NAME.to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        let file = |kind: &str, text: String| {
            let path = folder.join(format!("{name}-{kind}.pem"));
            std::fs::write(&path, text).expect("it can be written");
            path
        };
        Self {
            authority: file("ca", authority.pem()),
            certificate: file("broker", leaf.pem()),
            key: file("key", key.serialize_pem()),
        }
    }

    fn tls(&self) -> String {
        format!("tls {{ cert_file: {:?}, key_file: {:?} }}\n", self.certificate, self.key)
    }
}

/// The users of a server: this orchestrator, or nobody whom the test knows.
fn users(key: &KeyFile) -> String {
    let permissions = Part::Orchestrator(key.public.process()).permissions().to_conf(2);
    format!("authorization {{ users: [ {{ nkey: {}\n{permissions} }} ] }}\n", key.public)
}

fn orchestrator(url: &str, args: &[(&str, &Path)]) -> Program {
    let mut all = vec!["--nats".to_owned(), url.to_owned()];
    all.extend(
        args.iter().flat_map(|(flag, path)| [(*flag).to_owned(), path.to_string_lossy().into_owned()]),
    );
    Program::new("orchestrator", "orchestrator", all)
}

#[tokio::test]
async fn a_key_that_the_broker_does_not_know_is_told_so_and_gets_in_once_it_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mine, other) = (KeyFile::new(folder.path(), "mine"), KeyFile::new(folder.path(), "other"));
    let server = NatsServer::start(&users(&other)).await;
    let part = orchestrator(&server.url(), &[("--nkey", &mine.path)]);
    part.launch().await;
    let said = part.mentions("does not know its key").await;
    assert!(said.contains("ERROR") && said.contains("still trying"), "{said}");
    assert!(part.runs());
    server.reload(&users(&mine));
    part.ready().await;
    let seed = mine.seed();
    assert!(!part.logs().all().iter().any(|line| line.contains(&seed)), "no seed in a log");
    // Revoked while it runs.
    server.reload(&users(&other));
    part.mentions("lost the broker").await;
    assert!(part.stop().await.success());
}

#[tokio::test]
async fn a_broker_with_a_certificate_of_another_authority_is_not_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = KeyFile::new(folder.path(), "mine");
    let (ours, theirs) =
        (Certificates::new(folder.path(), "ours"), Certificates::new(folder.path(), "theirs"));
    let server = NatsServer::start(&format!("{}{}", ours.tls(), users(&key))).await;
    let url = format!("tls://127.0.0.1:{}", server.port());

    let misled = orchestrator(&url, &[("--nkey", &key.path), ("--tls-ca", &theirs.authority)]);
    misled.launch().await;
    let said = misled.mentions("is not signed by").await;
    assert!(said.contains("ERROR") && said.contains("--tls-ca"), "{said}");
    assert!(misled.stop().await.success());

    let good = orchestrator(&server.url(), &[("--nkey", &key.path), ("--tls-ca", &ours.authority)]);
    good.start().await;
    assert!(good.stop().await.success());

    // Without an authority the machine's own roots and the host's name count.
    let roots = orchestrator(&url, &[("--nkey", &key.path)]);
    roots.launch().await;
    roots.mentions("still trying").await;
    assert!(roots.stop().await.success());
}

#[tokio::test]
async fn a_list_of_servers_has_commas_and_a_dead_one_is_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = KeyFile::new(folder.path(), "mine");
    let server = NatsServer::start(&users(&key)).await;
    let part = orchestrator(&format!("nats://127.0.0.1:9,{}", server.url()), &[("--nkey", &key.path)]);
    part.start().await;
    assert!(part.stop().await.success());
}
