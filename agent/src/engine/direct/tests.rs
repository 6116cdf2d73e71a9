//! Connections against an engine that is a bare socket: what it reads and when it is closed is seen as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BEGUN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";

async fn engine() -> (TcpListener, Direct) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
    (listener, Direct::new(to.parse().unwrap()))
}

fn request() -> Request<String> {
    let mut request = Request::new("{}".to_owned());
    *request.method_mut() = hyper::Method::POST;
    request
}

/// Reads a whole request, or an end.
async fn asked(socket: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n{}") {
        if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
            assert!(read.is_empty(), "half a request");
            return false;
        }
    }
    true
}

/// Takes a request on a new connection and answers it.
async fn serve(listener: &TcpListener, answer: &str) -> TcpStream {
    let mut socket = listener.accept().await.unwrap().0;
    assert!(asked(&mut socket).await);
    socket.write_all(answer.as_bytes()).await.unwrap();
    socket
}

async fn part(body: &mut Body) -> Option<hyper::Result<bytes::Bytes>> {
    std::future::poll_fn(|cx| body.poll_part(cx)).await
}

async fn whole(direct: &Direct) -> Result<(), HttpError> {
    let mut body = direct.send(request()).await?.into_body();
    while let Some(part) = part(&mut body).await {
        part.map_err(|error| lost(&error))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_whose_answer_is_over_takes_the_next_request() {
    let (listener, direct) = engine().await;
    let engine = async {
        let mut socket = serve(&listener, WHOLE).await;
        assert!(asked(&mut socket).await);
        socket.write_all(WHOLE.as_bytes()).await.unwrap();
        socket
    };
    let client = async {
        whole(&direct).await.unwrap();
        whole(&direct).await.unwrap();
    };
    tokio::join!(engine, client);
}

#[tokio::test]
async fn two_answers_at_once_are_two_connections() {
    let (listener, direct) = engine().await;
    let engine = async { (serve(&listener, WHOLE).await, serve(&listener, WHOLE).await) };
    let (_sockets, one, other) = tokio::join!(engine, whole(&direct), whole(&direct));
    one.unwrap();
    other.unwrap();
}

#[tokio::test]
async fn a_connection_that_the_engine_has_closed_is_not_used() {
    let (listener, direct) = engine().await;
    for _ in 0..3 {
        let (socket, answer) = tokio::join!(serve(&listener, WHOLE), whole(&direct));
        answer.unwrap();
        drop(socket);
        // Until the runtime has heard of it.
        while let Some(open) = direct.idle.take() {
            direct.idle.keep(open);
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_engine_that_takes_a_request_and_closes_is_not_asked_twice() {
    let (listener, direct) = engine().await;
    let engine = async {
        let mut socket = serve(&listener, WHOLE).await;
        assert!(asked(&mut socket).await);
    };
    let client = async {
        whole(&direct).await.unwrap();
        whole(&direct).await
    };
    let ((), answer) = tokio::join!(engine, client);
    assert!(matches!(answer, Err(HttpError::Lost(why)) if why.contains("before message completed")));
    let again = listener.into_std().unwrap().accept();
    assert!(again.is_err(), "nobody knows what the engine has done by then");
}

#[tokio::test]
async fn an_answer_that_is_dropped_before_its_end_closes_its_connection_at_once() {
    let (listener, direct) = engine().await;
    let (mut socket, response) = tokio::join!(serve(&listener, BEGUN), direct.send(request()));
    let mut body = response.unwrap().into_body();
    assert_eq!(part(&mut body).await.unwrap().unwrap(), "ok");
    drop(body);
    assert!(!asked(&mut socket).await);
}

#[tokio::test]
async fn a_question_that_is_dropped_before_its_answer_closes_its_connection_at_once() {
    let (listener, direct) = engine().await;
    let mut question = Box::pin(direct.send(request()));
    let engine = async {
        let mut socket = listener.accept().await.unwrap().0;
        assert!(asked(&mut socket).await);
        socket
    };
    let mut socket = tokio::select! {
        socket = engine => socket,
        _ = &mut question => panic!("nobody has answered"),
    };
    drop(question);
    assert!(!asked(&mut socket).await);
}

#[tokio::test]
async fn an_answer_that_breaks_off_says_so() {
    let (listener, direct) = engine().await;
    let engine = async { drop(serve(&listener, BEGUN).await) };
    let ((), answer) = tokio::join!(engine, whole(&direct));
    assert!(matches!(&answer, Err(HttpError::Lost(why)) if !why.is_empty()), "{answer:?}");
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    let (listener, direct) = engine().await;
    let (mut socket, answer) = tokio::join!(serve(&listener, WHOLE), whole(&direct));
    answer.unwrap();
    let kept = std::time::Instant::now();
    assert!(!asked(&mut socket).await);
    assert!(kept.elapsed() > IDLE / 2, "it is kept for a while");
}

#[derive(Default)]
struct Reader(AtomicUsize);

impl Wake for Reader {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_token_wakes_its_reader_once() {
    let (listener, direct) = engine().await;
    let (mut socket, response) = tokio::join!(serve(&listener, BEGUN), direct.send(request()));
    let mut body = response.unwrap().into_body();
    assert_eq!(part(&mut body).await.unwrap().unwrap(), "ok");
    let (reader, woken) = (Arc::<Reader>::default(), |reader: &Reader| reader.0.load(Ordering::SeqCst));
    let waker = reader.clone().into();
    let cx = &mut Context::from_waker(&waker);
    for token in 1..4 {
        assert!(body.poll_part(cx).is_pending());
        socket.write_all(b"2\r\nmy\r\n").await.unwrap();
        while woken(&reader) < token {
            tokio::task::yield_now().await;
        }
        let Poll::Ready(Some(Ok(part))) = body.poll_part(cx) else { panic!("it was woken for a part") };
        assert_eq!((part.as_ref(), woken(&reader)), (&b"my"[..], token));
    }
}
