//! Connections over real sockets.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub fn doors(routes: Router, patience: Patience) -> Doors {
    let refusals = Refusals { crowded: Router::new(), greedy: Router::new() };
    Doors { routes, refusals, connections: 9, per_address: 9, patience, tls: None }
}

/// A client that has said these bytes, and the server's end.
async fn said(bytes: &[u8]) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(bytes).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn a_clients_first_bytes_tell_its_version_and_stay_to_be_read() {
    for (bytes, version) in [
        ("GET / HTTP/1.1\r\n", Version::One),
        ("POST / HTTP/1.1\r\n", Version::One),
        ("PROPFIND", Version::One),
        ("PRI * HTTP/2.0\r\n", Version::Unclear),
        ("PR", Version::Unclear),
        ("P", Version::Unclear),
    ] {
        let (_client, mut server) = said(bytes.as_bytes()).await;
        assert_eq!(beginning(&server).await, Some(version), "{bytes}");
        let mut read = vec![0; bytes.len()];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(read, bytes.as_bytes());
    }
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_does_not_keep_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let view = || async {
        let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 1 << 16]));
        (axum::Extension(crate::watch::View), axum::body::Body::from_stream(endless))
    };
    let router = Router::new().route("/", axum::routing::get(view));
    let shutdown = CancellationToken::new();
    let day = Duration::from_secs(86_400);
    let patience = Patience { head: day, idle: day, stuck: day };
    let doors = doors(router, patience);
    let serving = tokio::spawn(serve(doors, listener, shutdown.clone()));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    client.readable().await.unwrap();
    shutdown.cancel();
    timeout(Duration::from_secs(60), serving).await.expect("the server ends").unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_without_a_word_has_no_version() {
    let (client, server) = said(b"").await;
    drop(client);
    assert_eq!(beginning(&server).await, None);
}

#[tokio::test]
async fn a_request_that_comes_in_two_parts_is_answered_whatever_the_first_was() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", axum::routing::post(|| async { "hello" }));
    let shutdown = CancellationToken::new();
    let patience = Patience { head: GOODBYE, idle: GOODBYE, stuck: GOODBYE };
    let doors = doors(router, patience);
    let serving = tokio::spawn(serve(doors, listener, shutdown.clone()));
    for (first, rest) in
        [("P", "OST / HTTP/1.1\r\n"), ("POS", "T / HTTP/1.1\r\n"), ("", "POST / HTTP/1.1\r\n")]
    {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.set_nodelay(true).unwrap();
        client.write_all(first.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        let rest = format!("{rest}host: localhost\r\nconnection: close\r\n\r\n");
        client.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    }
    shutdown.cancel();
    serving.await.unwrap();
}
