//! A bus of three servers, and a second site: what people who run a mesh over several machines have.

use std::time::Duration;

use echo_testing::{
    mesh::{Mesh, Observer, Site, holds},
    proxy::Mode,
};

/// All parts but the servers, with the server that each is connected to.
fn placed(mesh: &Mesh) -> Vec<(String, Option<usize>)> {
    let servers = mesh.servers().count();
    mesh.programs().skip(servers).map(|part| (part.name().to_owned(), mesh.server_of(part))).collect()
}

#[tokio::test]
async fn answers_cross_servers_and_outlive_one_of_them() {
    let mesh = Mesh::start().cluster(3).nodes(3).orchestrators(2).await;
    let edge = mesh.server_of(mesh.edge(0)).expect("a connected edge");
    let mut streams: Vec<_> = (0..3).map(|_| mesh.ask("count [tokens=100] [delay=20]")).collect();
    for stream in &mut streams {
        stream.read_tokens(3).await;
    }
    mesh.server((edge + 1) % 3).kill().await;
    for stream in streams {
        let answer = stream.rest().await;
        answer.assert_every_token_once(100);
        assert!(answer.longest_gap() < Duration::from_secs(12), "{:?}: {}", placed(&mesh), answer.summary());
    }
    mesh.is_whole().await;
    mesh.is_quiet().await;
}

#[tokio::test]
async fn the_end_of_a_connection_is_told_on_every_server_and_site_once() {
    let mesh = Mesh::start().cluster(3).nodes(2).second_site(Site::First, Site::First).await;
    let mut ears = Vec::new();
    for server in mesh.servers() {
        ears.push(Observer::listen(&server.url(), "_echo.gone").await);
    }
    let told = |ear: &Observer, node: &str| {
        let said = |message: &async_nats::Message| String::from_utf8_lossy(&message.payload).contains(node);
        ear.seen().iter().filter(|message| said(message)).count()
    };
    // Whatever is said of the first has come where the second is heard of: ways keep the order.
    for node in 0..2 {
        mesh.node(node).kill().await;
        mesh.until("all to be told", || async {
            let counts: Vec<_> = ears.iter().map(|ear| told(ear, mesh.node(node).id())).collect();
            holds(counts.iter().all(|count| *count > 0), format!("{counts:?}"))
        })
        .await;
    }
    assert_eq!(ears.iter().map(|ear| told(ear, "node-a")).collect::<Vec<_>>(), [1, 1, 1, 1]);
}

#[tokio::test]
async fn an_answer_whose_nodes_are_all_behind_a_cut_link_goes_on_when_the_link_is_back() {
    let mesh = Mesh::start().nodes(1).orchestrators(2).second_site(Site::Second, Site::First).await;
    let mut stream = mesh.ask("count [tokens=200] [delay=20]");
    stream.read_tokens(5).await;
    mesh.link(Mode::Refuse).await;
    mesh.edge(0).mentions("it cannot be reached").await;
    mesh.link(Mode::Pass).await;
    stream.rest().await.assert_every_token_once(200);
    mesh.is_whole().await;
    mesh.is_quiet().await;
}
