//! Many at once.

use std::time::{Duration, Instant};

use echo_testing::{
    client::Stream,
    mesh::{Mesh, holds},
};
use futures::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn two_hundred_clients_at_once_each_get_every_token_once_and_in_order() {
    let mesh = Mesh::start().slots(8).await;
    let answers = join_all((0..200).map(|_| async { mesh.ask("count [tokens=40] [delay=1]").rest().await }));
    for answer in answers.await {
        answer.assert_every_token_once(40);
        assert_eq!((answer.tokens().len(), answer.attempts()), (40, 1), "{}", answer.summary());
    }
    mesh.is_quiet().await;
    for node in mesh.nodes() {
        let counters = node.engine().counters();
        assert!(counters.max_running <= 8, "{counters:?}");
        assert_eq!((counters.cancelled, counters.failed, counters.refused), (0, 0, 0), "{counters:?}");
    }
    let started: u64 = mesh.nodes().iter().map(|node| node.engine().counters().started).sum();
    assert_eq!(started, 200, "no task ran twice");
}

#[tokio::test]
async fn several_edges_and_orchestrators_share_the_work_and_no_task_runs_twice() {
    let mesh = Mesh::start().slots(4).edges(2).orchestrators(2).await;
    let answers = join_all((0..60).map(|number| {
        let call = mesh
            .client_of(number % 2)
            .post("/task/stream", &json!({"prompt": "count [tokens=20] [delay=2]"}));
        async move { Stream::open(call).rest().await }
    }));
    for answer in answers.await {
        answer.assert_every_token_once(20);
    }
    mesh.is_quiet().await;
    let finished: u64 = mesh.nodes().iter().map(|node| node.engine().counters().finished).sum();
    assert_eq!(finished, 60);
}

#[tokio::test]
async fn a_long_answer_at_full_speed_loses_nothing() {
    let mesh = Mesh::start().nodes(1).await;
    mesh.ask("count [tokens=20000]").rest().await.assert_every_token_once(20_000);
    let (status, answer) = mesh.task(&json!({"prompt": "count [tokens=20000]"})).await;
    let content: String = (0..20_000).map(echo_testing::client::scripted).collect();
    assert_eq!(status, 200);
    assert!(answer["content"] == content.as_str(), "the whole answer differs");
}

/// What a task leaves behind must not add up: memory after many tasks is that after some.
#[tokio::test]
async fn ten_thousand_tasks_leave_nothing_behind() {
    let mesh = Mesh::start().slots(8).await;
    run(&mesh, 1_000).await;
    let before = resident(&mesh);
    run(&mesh, 9_000).await;
    for (name, before, after) in
        resident(&mesh).into_iter().zip(before).map(|((name, a), (_, b))| (name, b, a))
    {
        // For seconds after a task, somebody may still ask about it: what is remembered for that grows with the
        // rate and not with the count, and this run is faster than any mesh.
        assert!(
            after <= before + before / 10 + (512 << 10),
            "{name}: {before} bytes after 1,000 tasks, {after} after 10,000"
        );
    }
}

async fn run(mesh: &Mesh, tasks: usize) {
    const AT_ONCE: usize = 32;
    join_all((0..AT_ONCE).map(|_| async {
        for _ in 0..tasks / AT_ONCE {
            let (status, answer) = mesh.task(&json!({"prompt": "[tokens=2]"})).await;
            assert_eq!(status, 200, "{answer}");
        }
    }))
    .await;
    mesh.is_quiet().await;
}

fn resident(mesh: &Mesh) -> Vec<(String, u64)> {
    let agents = mesh.nodes().iter().map(|node| (node.name().to_owned(), node.resident()));
    let rest =
        [mesh.edge(0), mesh.orchestrator(0)].map(|program| (program.name().to_owned(), program.resident()));
    agents.chain(rest).collect()
}

/// One open file for each, at both ends.
const IDLE: usize = 10_000;

#[tokio::test]
async fn ten_thousand_idle_connections_cost_little_and_hold_up_nobody() {
    raise_open_files();
    let mesh = Mesh::start().nodes(1).slots(4).await;
    let (memory, files) = (mesh.edge(0).resident(), mesh.edge(0).open_files());
    let mut idle = Vec::with_capacity(IDLE);
    while idle.len() < IDLE {
        // Some have asked before, some never say a word.
        let speaks = idle.len() % 500 == 0;
        let more = join_all((0..250).map(|_| connection(&mesh, speaks))).await;
        idle.extend(more);
    }
    mesh.until("all of them to be taken", || async {
        let open = mesh.edge(0).open_files();
        // What was open before may be closed by now.
        holds(open + 50 >= files + IDLE, format!("{open} files"))
    })
    .await;
    let each = (mesh.edge(0).resident().saturating_sub(memory)) / IDLE as u64;
    let asked = Instant::now();
    for _ in 0..10 {
        mesh.ask("count [tokens=5]").rest().await.assert_every_token_once(5);
    }
    let answered = asked.elapsed();
    eprintln!("{each} bytes for each idle connection; ten answers in {answered:?}");
    assert!(answered < Duration::from_secs(5), "ten answers took {answered:?}");
    assert!(each < 32 << 10, "{each} bytes for each connection");
    drop(idle);
    mesh.until("their files to be closed", || async {
        let open = mesh.edge(0).open_files();
        holds(open <= files + 50, format!("{open} files"))
    })
    .await;
    mesh.ask("count [tokens=5]").rest().await.assert_every_token_once(5);
}

async fn connection(mesh: &Mesh, speaks: bool) -> TcpStream {
    let mut stream = TcpStream::connect(mesh.edge(0).address()).await.expect("a connection");
    if speaks {
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it is taken");
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 200");
    }
    stream
}

/// This process's limit of open files, up to what the system lets it have.
#[allow(unsafe_code)]
fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // Safe: both calls only read or write the struct that they are given.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    assert!(raised == 0 && limit.rlim_cur > IDLE as u64 + 1_000, "only {} open files", limit.rlim_cur);
}
