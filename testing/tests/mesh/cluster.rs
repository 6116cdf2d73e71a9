//! A bus of three servers, and a second site: what people who run a mesh over several machines have.

use std::time::Duration;

use echo_testing::mesh::{Mesh, Observer, Site, until_within};

/// All parts but the servers, with the server that each is connected to.
fn placed(mesh: &Mesh) -> Vec<(String, Option<usize>)> {
    let servers = mesh.servers().count();
    mesh.programs().skip(servers).map(|part| (part.name().to_owned(), mesh.server_of(part))).collect()
}

#[tokio::test]
async fn an_answer_crosses_servers_and_outlives_one_of_them() {
    let mesh = Mesh::start().cluster(3).nodes(3).orchestrators(2).await;
    let edge = mesh.server_of(mesh.edge(0)).expect("a connected edge");
    let mut streams: Vec<_> = (0..3).map(|_| mesh.ask("count [tokens=100] [delay=20]")).collect();
    for stream in &mut streams {
        stream.read_tokens(3).await;
    }
    let victim = (edge + 1) % 3;
    mesh.server(victim).kill().await;
    for stream in streams {
        let answer = stream.rest().await;
        answer.assert_every_token_once(100);
        assert!(answer.longest_gap() < Duration::from_secs(3), "{:?}: {}", placed(&mesh), answer.summary());
    }
    mesh.is_whole().await;
    mesh.is_quiet().await;
}

#[tokio::test]
async fn the_end_of_a_connection_is_told_on_every_server_once() {
    let mesh = Mesh::start().cluster(3).nodes(1).sites(Site::First, Site::First).await;
    let mut ears = Vec::new();
    for server in mesh.servers() {
        ears.push(Observer::listen(&server.url(), "_echo.gone").await);
    }
    mesh.node(0).kill().await;
    let told = |ear: &Observer| {
        let said = |message: &async_nats::Message| String::from_utf8_lossy(&message.payload).contains("node-a");
        ear.seen().iter().filter(|message| said(message)).count()
    };
    until_within(Duration::from_secs(5), "all to be told", || async {
        let counts: Vec<_> = ears.iter().map(told).collect();
        echo_testing::mesh::holds(counts.iter().all(|count| *count > 0), format!("{counts:?}"))
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ears.iter().map(told).collect::<Vec<_>>(), [1, 1, 1, 1]);
}
