//! A bus of several servers: one or two of them die, the way between two is cut, all are restarted one after the other;
//! and two sites whose link is cut.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::super::{
    fixture::Fixture,
    order::{Live, Order},
    row::Row,
    setting::Setting,
};
use crate::{
    mesh::{Broker, Site},
    proxy::Mode,
};

const SERVERS: u64 = 3;
/// What a server's clients need to be on another one and heard again.
const MOVED: Duration = Duration::from_secs(3);
/// A way that falls silent is noticed by a ping without an answer; then the next node, or the next orchestrator, is tried.
const SILENT: Duration = Duration::from_secs(6);
const ROUTE_AWAY: Duration = Duration::from_secs(5);
const LINK_AWAY: Duration = Duration::from_secs(10);

const GOES_ON: &str =
    "every answer goes on where it was or from another node, every token once and in order; gap < 3 s";
const GOES_ON_LATER: &str = "the same; gap < 6 s, since a silent way looks like a slow one";
const STAYS: &str = "every answer goes on at its node, every token once and in order; gap < 3 s";

pub fn rows() -> Vec<Row> {
    let agents_far = Setting::Sites(Site::Second, Site::First);
    let edge_far = Setting::Sites(Site::First, Site::Second);
    let rows = vec![
        Row::new("cluster-one-killed", Setting::Cluster, one_killed)
            .says("each of three servers of the bus killed (SIGKILL) in turn, and started again", GOES_ON)
            .gap(MOVED),
        Row::new("cluster-two-killed", Setting::Cluster, two_killed)
            .says("two of three servers of the bus killed (SIGKILL) at once, and started again", GOES_ON)
            .gap(MOVED),
        Row::new("cluster-route-cut", Setting::Cluster, route_cut)
            .says("the route between two of three servers cut or silent for 5 s", GOES_ON_LATER)
            .gap(SILENT),
        Row::new("cluster-rolling", Setting::Cluster, rolling)
            .says("rolling restart of all three servers by lame duck (SIGUSR2)", STAYS)
            .gap(MOVED),
        Row::new("leaf-link-cut-agents", agents_far, link_cut)
            .says(
                "the link to a second site, with two of three agents, cut or silent for 10 s",
                GOES_ON_LATER,
            )
            .gap(SILENT),
        Row::new("leaf-link-cut-edge", edge_far, link_cut)
            .says("the same where the edge and one of three agents are at the second site", GOES_ON_LATER)
            .gap(SILENT),
    ];
    rows.into_iter().map(|row| row.beside().unclear().costly()).collect()
}

/// Answers that are being read at all edges, so many tokens of 20 ms each.
async fn running(fixture: &Fixture, tokens: u64, count: usize) -> Vec<Live> {
    let order = Order::tokens(tokens).delay(20);
    let edges = fixture.mesh.edges();
    let mut running: Vec<_> =
        (0..count).map(|number| fixture.ask_at(number % edges, &order).live()).collect();
    for asked in &mut running {
        asked.read(3).await;
    }
    running
}

/// Reads them to their ends; says how many nodes gave a part of each.
async fn all_answered(fixture: &Fixture, running: Vec<Live>) -> Vec<usize> {
    let answers = running.into_iter().map(async |asked| fixture.answered(asked.done().await).await);
    let answers = join_all(answers).await;
    answers.iter().for_each(|answer| fixture.gap(answer));
    answers.iter().map(|answer| answer.nodes().len()).collect()
}

fn pick(fixture: &Fixture, below: u64) -> usize {
    usize::try_from(fixture.pick(0..below)).expect("small")
}

async fn killed(fixture: &Fixture, servers: &[&Broker]) {
    let running = running(fixture, 100, 6).await;
    join_all(servers.iter().map(|server| server.kill())).await;
    let new: Vec<_> = (0..2).map(|edge| fixture.ask_at(edge, &Order::tokens(5))).collect();
    tokio::time::sleep(Duration::from_millis(fixture.pick(0..1000))).await;
    join_all(servers.iter().map(|server| server.start())).await;
    all_answered(fixture, running).await;
    join_all(new.into_iter().map(|asked| fixture.answered(asked))).await;
    fixture.mesh.is_linked().await;
    fixture.whole_since(Instant::now()).await;
}

async fn one_killed(fixture: &Fixture) {
    for server in fixture.mesh.servers() {
        killed(fixture, &[server]).await;
    }
}

async fn two_killed(fixture: &Fixture) {
    let stays = pick(fixture, SERVERS);
    let servers = fixture.mesh.servers().enumerate().filter(|(number, _)| *number != stays);
    let servers: Vec<_> = servers.map(|(_, server)| server).collect();
    killed(fixture, &servers).await;
}

/// A way that is cut is noticed at once; one that falls silent looks as if it were there.
fn broken(fixture: &Fixture) -> Mode {
    if fixture.pick(0..2) == 0 { Mode::Refuse } else { Mode::Blackhole }
}

async fn route_cut(fixture: &Fixture) {
    let (a, mode) = (pick(fixture, SERVERS), broken(fixture));
    let b = (a + 1) % 3;
    let running = running(fixture, 150, 6).await;
    fixture.mesh.route(a, b, mode).await;
    let since = Instant::now();
    let new: Vec<_> = (0..2).map(|edge| fixture.ask_at(edge, &Order::tokens(5))).collect();
    tokio::time::sleep(ROUTE_AWAY.saturating_sub(since.elapsed())).await;
    fixture.mesh.route(a, b, Mode::Pass).await;
    all_answered(fixture, running).await;
    join_all(new.into_iter().map(|asked| fixture.answered(asked))).await;
    fixture.mesh.is_linked().await;
    fixture.whole_since(Instant::now()).await;
}

async fn rolling(fixture: &Fixture) {
    let running = running(fixture, 300, 6).await;
    for server in fixture.mesh.servers() {
        let status = server.lame_duck().await;
        fixture.promise(status.success(), || format!("{} ended with {status}", server.name()));
        server.start().await;
        fixture.mesh.is_linked().await;
    }
    let nodes = all_answered(fixture, running).await;
    fixture
        .promise(nodes.iter().all(|nodes| *nodes == 1), || format!("answers changed their nodes: {nodes:?}"));
    fixture.whole_since(Instant::now()).await;
}

async fn link_cut(fixture: &Fixture) {
    let mode = broken(fixture);
    let running = running(fixture, 150, 6).await;
    fixture.mesh.link(mode).await;
    let since = Instant::now();
    let new = fixture.ask(&Order::tokens(5));
    all_answered(fixture, running).await;
    fixture.answered(new).await;
    tokio::time::sleep(LINK_AWAY.saturating_sub(since.elapsed())).await;
    fixture.mesh.link(Mode::Pass).await;
    fixture.mesh.is_linked().await;
    fixture.whole_since(Instant::now()).await;
}
