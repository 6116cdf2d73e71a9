//! Clients with TLS and without, over real sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use axum::Router;
use axum::routing::get;
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::serve::{Patience, serve, tests::doors};

/// A certificate in two files, and who serves by it.
struct Site {
    folder: TempDir,
    address: std::net::SocketAddr,
    tls: Arc<Tls>,
    _serving: DropGuard,
}

impl Site {
    async fn start(patience: Patience) -> Self {
        let folder = TempDir::new().unwrap();
        renew(folder.path());
        let tls = Arc::new(Tls::read(&folder.path().join("cert"), &folder.path().join("key")).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let routes = Router::new().route("/", get(|| async { "hello" }));
        let mut doors = doors(routes, patience);
        doors.tls = Some(tls.clone());
        tokio::spawn(serve(doors, listener, shutdown.clone()));
        Self { folder, address, tls, _serving: shutdown.drop_guard() }
    }

    /// A client that trusts what is in this file, and nothing else.
    async fn client(&self, trusted: &[u8], protocol: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(trusted).map(Result::unwrap));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    fn certificate(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("cert")).unwrap()
    }

    /// As if a second had passed since the last look.
    fn is_due(&self) {
        let mut shown = self.tls.shown.lock().unwrap();
        shown.looked = shown.looked.checked_sub(LOOK).unwrap();
    }
}

const PATIENT: Patience =
    Patience { head: Duration::from_secs(9), idle: Duration::from_secs(9), stuck: Duration::from_secs(9) };

fn renew(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert"), made.cert.pem()).unwrap();
    private_file::write(&folder.join("key"), &made.signing_key.serialize_pem()).unwrap();
}

async fn said(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, words: &[u8]) -> String {
    stream.write_all(words).await.unwrap();
    let mut answer = Vec::new();
    // An end by force is an end, too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const ASKS: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_client_and_an_edge_agree_on_the_version_of_http_in_the_handshake() {
    let site = Site::start(PATIENT).await;
    let one = site.client(&site.certificate(), b"http/1.1").await.unwrap();
    assert_eq!(one.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let answer = said(one, ASKS).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");

    let mut two = site.client(&site.certificate(), b"h2").await.unwrap();
    assert_eq!(two.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    two.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    two.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the edge's settings");
    assert!(site.client(&site.certificate(), b"spdy/1").await.is_err());
}

#[tokio::test]
async fn a_client_that_speaks_plain_http_to_a_port_of_https_is_told_so() {
    let site = Site::start(PATIENT).await;
    let post = [&b"POST /api/chat HTTP/1.1\r\ncontent-length: 100000\r\n\r\n"[..], &[b'x'; 100_000]].concat();
    for words in [ASKS, &post, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x80\x2e\x01\x00\x02"] {
        let answer = said(TcpStream::connect(site.address).await.unwrap(), words).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("speaks HTTPS"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_stands_still_ends_with_the_time_for_a_head() {
    let site = Site::start(Patience { head: Duration::from_millis(300), ..PATIENT }).await;
    for half in [&b""[..], b"\x16", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"] {
        let began = Instant::now();
        assert_eq!(said(TcpStream::connect(site.address).await.unwrap(), half).await, "");
        let took = began.elapsed();
        assert!(took > Duration::from_millis(250) && took < Duration::from_secs(5), "{half:?}: {took:?}");
    }
    let nonsense = [b"\x16\x03\x01\x00\x05".to_vec(), vec![0xff; 5]].concat();
    assert!(said(TcpStream::connect(site.address).await.unwrap(), &nonsense).await.len() < 16, "an alert");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart_and_a_spoilt_one_never() {
    let site = Site::start(PATIENT).await;
    let first = site.certificate();
    renew(site.folder.path());
    let second = site.certificate();
    site.client(&first, b"h2").await.expect("nobody looks twice in a second");
    site.is_due();
    site.client(&second, b"h2").await.expect("the new one is shown");
    site.client(&first, b"h2").await.expect_err("the old one is not");

    for (name, spoilt) in
        [("cert", &b"no certificate"[..]), ("cert", b""), ("cert", &first), ("key", b"no key")]
    {
        let path = site.folder.path().join(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, spoilt).unwrap();
        site.is_due();
        site.client(&second, b"h2").await.expect("what was good stays");
        fs::write(&path, good).unwrap();
    }
    fs::remove_file(site.folder.path().join("key")).unwrap();
    site.is_due();
    site.client(&second, b"h2").await.expect("what was good stays");
}

#[test]
fn what_is_no_pair_is_refused_at_the_start_and_a_key_that_others_read_too() {
    let folder = TempDir::new().unwrap();
    let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
    let why = || Tls::read(&cert, &key).map(|_| ()).unwrap_err().to_string();
    assert!(why().starts_with("cannot read the certificate "), "{}", why());
    renew(folder.path());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(why().contains("chmod 600"), "{}", why());
    fs::remove_file(&key).unwrap();
    assert!(why().starts_with("cannot read the private key "), "{}", why());
    private_file::write(&key, "nonsense").unwrap();
    assert!(why().ends_with("holds no private key in PEM"), "{}", why());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    private_file::write(&key, &other.signing_key.serialize_pem()).unwrap();
    assert!(why().ends_with("make no pair"), "{}", why());
    fs::write(&cert, "nonsense").unwrap();
    assert!(why().contains("holds no certificate"), "{}", why());
}
