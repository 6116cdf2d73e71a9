//! Several real nats-servers as one bus, and a second site behind a leaf node, with configurations as people write them.
//!
//! Each way between two servers leads through proxies, so that it can be cut. What a server advertises to the others for
//! routes answers nobody, and for leaf nodes the proxy: otherwise they would tell each other a way around the proxies.

use std::{
    fs,
    path::{Path, PathBuf},
};

use futures::future::join_all;

use super::{Broker, Program, binaries, broker::server_name, ports::free_port, until};
use crate::proxy::{Mode, Proxy};

/// How often a part is started until chance has brought it to the server that the test wants.
const STARTS: usize = 100;
/// A port at which nobody listens.
const NOBODY: u16 = 1;

/// The ways from one server to the others.
struct Ways(Vec<Option<Proxy>>);

/// The servers of a mesh beside its first, and the ways between all.
#[derive(Default)]
pub struct Cluster {
    /// `ways[a].0[b]` leads from `a` to `b`.
    ways: Vec<Ways>,
    /// From the second site to the first.
    link: Option<Proxy>,
}

/// The ports of a server to be.
#[derive(Clone, Copy)]
struct Ports {
    clients: u16,
    routes: u16,
    leaves: u16,
}

impl Cluster {
    /// So many servers of one site, and perhaps one of a second site; all are running.
    pub async fn start(folder: &Path, servers: usize, leaf: bool) -> (Vec<Broker>, Self) {
        let text = fs::read_to_string(binaries::root().join("nats.conf")).expect("nats.conf");
        fs::write(folder.join("nats.conf"), text).expect("a folder to write to");
        let ports: Vec<_> = (0..servers + usize::from(leaf)).map(|_| Ports::free()).collect();
        let mut ways = Vec::new();
        for from in 0..servers {
            let others = ports[..servers].iter().enumerate().map(|(to, ports)| async move {
                if to == from { None } else { Some(Proxy::start(local(ports.routes)).await) }
            });
            ways.push(Ways(join_all(others).await));
        }
        let link = Proxy::start(local(ports[0].leaves)).await;
        let files = ports.iter().enumerate().map(|(number, ports)| {
            let more = match ways.get(number) {
                Some(ways) => site(ports, ways, &link),
                None => format!(
                    "leafnodes {{\n  remotes: [ {{ url: \"nats-leaf://mesh@{}\", account: ECHO }} ]\n  reconnect: \"1s\"\n}}\n",
                    link.addr()
                ),
            };
            configuration(folder, number, ports, &more)
        });
        let brokers: Vec<_> =
            files.enumerate().map(|(number, file)| Broker::configured(number, &file)).collect();
        join_all(brokers.iter().map(Broker::begin)).await;
        let cluster = Self { ways, link: leaf.then_some(link) };
        cluster.is_linked().await;
        (brokers, cluster)
    }

    /// Cuts or heals the way between two servers, in both directions.
    pub async fn between(&self, a: usize, b: usize, mode: Mode) {
        for (from, to) in [(a, b), (b, a)] {
            if let Some(proxy) = &self.ways[from].0[to] {
                proxy.set(mode).await;
            }
        }
    }

    /// Cuts or heals the way between the two sites.
    ///
    /// # Panics
    /// When there is one site.
    pub async fn link(&self, mode: Mode) {
        self.link.as_ref().expect("a mesh with a second site").set(mode).await;
    }

    /// Waits until each server has a way to each other.
    pub async fn is_linked(&self) {
        until("the servers to reach each other", || async {
            for (a, ways) in self.ways.iter().enumerate() {
                for (b, way) in ways.0.iter().enumerate() {
                    let back = self.ways[b].0[a].as_ref().map_or(0, Proxy::connections);
                    if way.as_ref().is_some_and(|way| way.connections() + back == 0) {
                        return Err(format!("no route between {a} and {b}"));
                    }
                }
            }
            match &self.link {
                Some(link) if link.connections() == 0 => Err("no link to the second site".to_owned()),
                _ => Ok(()),
            }
        })
        .await;
    }
}

impl Ports {
    fn free() -> Self {
        let [clients, routes, leaves] = [(); 3].map(|()| free_port());
        Self { clients, routes, leaves }
    }
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn site(ports: &Ports, ways: &Ways, link: &Proxy) -> String {
    let routes: Vec<_> = ways.0.iter().flatten().map(|way| format!("\"{}\"", way.nats_url())).collect();
    format!(
        "cluster {{\n  name: echo\n  listen: \"{}\"\n  advertise: \"{}\"\n  routes: [ {} ]\n}}\nleafnodes {{ listen: \"{}\", advertise: \"{}\" }}\n",
        local(ports.routes),
        local(NOBODY),
        routes.join(", "),
        local(ports.leaves),
        link.addr(),
    )
}

fn configuration(folder: &Path, number: usize, ports: &Ports, more: &str) -> PathBuf {
    let file = folder.join(format!("server-{number}.conf"));
    let text = format!(
        "include \"nats.conf\"\nserver_name: \"{}\"\nport: {}\nhttp: \"127.0.0.1:-1\"\nlame_duck_grace_period: \"500ms\"\nlame_duck_duration: \"30s\"\n{more}",
        server_name(number),
        ports.clients
    );
    fs::write(&file, text).expect("a folder to write to");
    file
}

impl Program {
    /// Starts it until chance has brought it to this server: a part takes any one of its list.
    ///
    /// # Panics
    /// When it never gets there.
    pub async fn start_at(&self, server: &Broker) {
        self.start().await;
        for _ in 0..STARTS {
            if self.server_port() == Some(server.address().port()) {
                return;
            }
            self.restart().await;
        }
        panic!("{} never took {}", self.name(), server.url());
    }

    /// The port of the server that it has connected to last, by its log.
    pub fn server_port(&self) -> Option<u16> {
        let lines = self.logs().all();
        let ports = lines.iter().rev().filter_map(|line| super::Line::read(line));
        let connected = ports.filter(|line| line.message() == "connected successfully");
        connected.filter_map(|line| line.field("server")?.parse().ok()).next()
    }
}
