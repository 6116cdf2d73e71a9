//! What a test wants its mesh to be, and the start of it.

use std::{
    future::{Future, IntoFuture},
    path::Path,
    pin::Pin,
    sync::OnceLock,
};

use futures::future::join_all;
use tokio::sync::Semaphore;

use super::{Broker, EngineProgram, Keys, Mesh, Node, Program, cluster::Cluster, holds, node::Behind, until};
use crate::proxy::Proxy;
use echo_bus::subject::Duty;
use echo_scripted_engine::{Api, Engine, Script};

/// A mesh is half a dozen processes; more meshes than this at once make a small machine slow, and slow looks broken.
const MESHES_PER_CORE: usize = 2;

const NO_CALIBRATION: &str = "--no-calibration";

/// Where a part is, if there are two sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    #[default]
    First,
    Second,
}

#[derive(Clone)]
pub struct Builder {
    /// nats-servers of the first site.
    servers: usize,
    /// Where agents and edges are, if there is a second site behind a leaf node.
    leaf: Option<(Site, Site)>,
    nodes: usize,
    orchestrators: usize,
    edges: usize,
    script: Script,
    /// One for each node, where they differ.
    each: Vec<Script>,
    proxies: bool,
    engine_programs: bool,
    calibration: bool,
    quiet: bool,
    keys: bool,
    agent_args: Vec<String>,
    orchestrator_args: Vec<String>,
    edge_args: Vec<String>,
    sites: Vec<String>,
}

impl Default for Builder {
    fn default() -> Self {
        let script = Script { api: Api::Ollama, ..Script::default() };
        let (proxies, engine_programs, calibration, quiet, keys) = Default::default();
        let (agent_args, orchestrator_args, edge_args, sites) = Default::default();
        Self {
            servers: 1,
            leaf: None,
            nodes: 2,
            orchestrators: 1,
            edges: 1,
            script,
            each: Vec::new(),
            proxies,
            engine_programs,
            calibration,
            quiet,
            keys,
            agent_args,
            orchestrator_args,
            edge_args,
            sites,
        }
    }
}

impl Builder {
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// A cluster of so many nats-servers. The parts know all of them, and are spread over them.
    #[must_use]
    pub fn cluster(mut self, servers: usize) -> Self {
        self.servers = servers;
        self
    }

    /// A second site behind a leaf node: where the agents are, and where the edges. Of three agents the last is beside the
    /// edges, and so is the first of two orchestrators.
    #[must_use]
    pub fn second_site(mut self, agents: Site, edges: Site) -> Self {
        self.leaf = Some((agents, edges));
        self
    }

    /// Slots of each node.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.script.slots = slots;
        self
    }

    #[must_use]
    pub fn api(mut self, api: Api) -> Self {
        self.script.api = api;
        self
    }

    #[must_use]
    pub fn orchestrators(mut self, orchestrators: usize) -> Self {
        self.orchestrators = orchestrators;
        self
    }

    #[must_use]
    pub fn edges(mut self, edges: usize) -> Self {
        self.edges = edges;
        self
    }

    /// What all engines do; a single one is changed later, by [`Mesh::engine`].
    #[must_use]
    pub fn script(mut self, change: impl FnOnce(&mut Script)) -> Self {
        change(&mut self.script);
        self
    }

    /// A node for each of these engines.
    #[must_use]
    pub fn uneven(mut self, scripts: Vec<Script>) -> Self {
        (self.nodes, self.each) = (scripts.len(), scripts);
        self
    }

    /// A proxy between each agent and the broker, and one between each agent and its engine.
    #[must_use]
    pub fn proxies(mut self) -> Self {
        self.proxies = true;
        self
    }

    /// Engines in processes of their own, which can be killed and stopped.
    #[must_use]
    pub fn engine_programs(mut self) -> Self {
        self.engine_programs = true;
        self
    }

    /// Agents try the speed of what is loaded. Else they do not: tests count requests.
    #[must_use]
    pub fn calibration(mut self) -> Self {
        self.calibration = true;
        self
    }

    /// The programs log what they log for their users, so that a measurement is of what they run.
    #[must_use]
    pub fn as_users_run_it(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Each part has a key of its own, and speaks TLS; nobody else gets onto the bus.
    #[must_use]
    pub fn keys(mut self) -> Self {
        self.keys = true;
        self
    }

    #[must_use]
    pub fn agent_args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.agent_args.extend(args.map(str::to_owned));
        self
    }

    #[must_use]
    pub fn orchestrator_args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.orchestrator_args.extend(args.map(str::to_owned));
        self
    }

    #[must_use]
    pub fn edge_args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.edge_args.extend(args.map(str::to_owned));
        self
    }

    /// The first edge and the first agent are at the first of these sites, and so on.
    #[must_use]
    pub fn sites<const N: usize>(mut self, sites: [&str; N]) -> Self {
        self.sites.extend(sites.map(str::to_owned));
        self
    }

    fn site(&self, number: usize) -> Option<String> {
        self.sites.get(number).map(|site| format!("--site={site}"))
    }

    async fn start(self) -> Mesh {
        let turn = turns().acquire().await.expect("never closed");
        let folder = tempfile::Builder::new().prefix("echo-mesh-").tempdir().expect("a temporary folder");
        let (mut servers, cluster) = self.bus(folder.path()).await;
        let orchestrators = join_all((0..self.orchestrators).map(|number| {
            let home =
                self.home(&servers, number, |(agents, edges)| if number == 0 { edges } else { agents });
            let mut args = arguments(&["--nats", &home.urls], &self.orchestrator_args);
            args.extend(servers[0].login(&name_of(Duty::Orchestrator, number), Duty::Orchestrator));
            self.started(Program::new(format!("orchestrator {number}"), "orchestrator", args), home)
        }));
        let edges = join_all((0..self.edges).map(|number| {
            let home = self.home(&servers, number + 1, |(_, edges)| edges);
            let mut args = arguments(&["--nats", &home.urls, "--listen", "127.0.0.1:0"], &self.edge_args);
            args.extend(self.site(number));
            args.extend(servers[0].login(&name_of(Duty::Edge, number), Duty::Edge));
            self.started(Program::new(format!("edge {number}"), "edge", args), home)
        }));
        let nodes = (0..self.nodes).map(|number| {
            let home =
                self.home(&servers, number, |(agents, edges)| if number == 2 { edges } else { agents });
            self.node(number, home, &servers[0])
        });
        let (orchestrators, edges, nodes) = tokio::join!(orchestrators, edges, join_all(nodes));
        let broker = servers.remove(0);
        let mesh = Mesh { edges, nodes, orchestrators, broker, servers, cluster, folder, _turn: turn };
        mesh.is_whole().await;
        mesh
    }

    async fn bus(&self, folder: &Path) -> (Vec<Broker>, Cluster) {
        if self.servers == 1 && self.leaf.is_none() {
            let keys = self.keys.then(|| self.let_in(&folder.join("trust")));
            return (vec![Broker::with(keys).await], Cluster::default());
        }
        Cluster::start(folder, self.servers, self.leaf.is_some()).await
    }

    /// Where a part belongs: the servers of its site, and which of them it is to take first.
    fn home<'a>(
        &self,
        servers: &'a [Broker],
        number: usize,
        site: impl Fn((Site, Site)) -> Site,
    ) -> Home<'a> {
        let (first, second) = servers.split_at(self.servers);
        let servers = if self.leaf.map(site) == Some(Site::Second) { second } else { first };
        let urls: Vec<_> = servers.iter().map(Broker::url).collect();
        let at = (servers.len() > 1).then(|| &servers[number % servers.len()]);
        Home { urls: urls.join(","), at }
    }

    /// The keys of all parts.
    fn let_in(&self, folder: &Path) -> Keys {
        let parts =
            [(Duty::Orchestrator, self.orchestrators), (Duty::Edge, self.edges), (Duty::Agent, self.nodes)];
        let each = |(duty, count)| (0..count).map(move |number: usize| (name_of(duty, number), duty));
        Keys::of(folder, parts.into_iter().flat_map(each))
    }

    async fn started(&self, program: Program, home: Home<'_>) -> Program {
        let program = if self.quiet { program.as_users_run_it() } else { program };
        match home.at {
            Some(server) => program.start_at(server).await,
            None => program.start().await,
        }
        program
    }

    async fn node(&self, number: usize, home: Home<'_>, broker: &Broker) -> Node {
        let script = self.each.get(number).unwrap_or(&self.script);
        let engine = if self.engine_programs {
            Behind::Program(EngineProgram::start(script).await)
        } else {
            Behind::Own(Engine::start(script.clone()).await)
        };
        let id = name_of(Duty::Agent, number);
        let (mut bus, mut wire) = (None, None);
        if self.proxies {
            bus = Some(Proxy::start(&home.urls).await);
            wire = Some(Proxy::start(engine.url()).await);
        }
        let nats = bus.as_ref().map_or(home.urls.clone(), Proxy::nats_url);
        let engine_url = wire.as_ref().map_or(engine.url(), Proxy::url);
        let mut args = self.agent_args.clone();
        args.extend(self.site(number));
        args.extend((!self.calibration).then(|| NO_CALIBRATION.to_owned()));
        args.extend(broker.login(&id, Duty::Agent));
        let agent = self.started(agent(&id, &engine_url, &nats, script, &args), home).await;
        Node::new(id, agent, engine, bus, wire)
    }
}

/// The servers that a part may use.
struct Home<'a> {
    /// A list with commas.
    urls: String,
    /// The one that it is to take first, if it has a choice.
    at: Option<&'a Broker>,
}

impl IntoFuture for Builder {
    type Output = Mesh;
    type IntoFuture = Pin<Box<dyn Future<Output = Mesh> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl Mesh {
    /// Waits until every edge sees every node with its models, ready for work.
    pub async fn is_whole(&self) {
        for edge in 0..self.edges.len() {
            let client = self.client_of(edge);
            until("all nodes to be idle with their models", || async move {
                let reply = client.get("/status").send().await.map_err(|error| error.to_string())?;
                let (code, status) = (reply.status(), reply.json().await);
                let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
                let ready =
                    |node: &serde_json::Value| node["status"] == "idle" && node["models"][0].is_string();
                let count = nodes.iter().filter(|node| ready(node)).count();
                holds(code == 200 && count == self.nodes.len(), status)
            })
            .await;
        }
    }

    /// Waits until the orchestrator that answers knows every node, whatever the nodes are doing.
    pub async fn is_known(&self) {
        until("every node to be known", || async {
            let status = self.try_status().await?;
            let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
            let count = nodes.iter().filter(|node| node["models"][0].is_string()).count();
            holds(count == self.nodes.len(), status)
        })
        .await;
    }

    /// An agent of this mesh under an id and an engine of the test's choice; not started.
    pub fn agent(&self, id: &str, engine_url: &str, script: &Script) -> Program {
        let mut args = vec![NO_CALIBRATION.to_owned()];
        args.extend(self.broker.login(id, Duty::Agent));
        agent(id, engine_url, &self.broker.url(), script, &args)
    }
}

/// What a part is called in the list of keys; an agent as its node.
fn name_of(duty: Duty, number: usize) -> String {
    match duty {
        Duty::Agent => format!("node-{}", char::from(b'a' + u8::try_from(number).expect("few nodes"))),
        other => format!("{other:?}-{number}").to_lowercase(),
    }
}

/// Everything a node's agent is told.
fn agent(id: &str, engine_url: &str, nats: &str, script: &Script, more: &[String]) -> Program {
    let engine = if script.api.ollama() { "ollama" } else { "openai" };
    let slots = script.slots.to_string();
    let mut args = vec!["--nats", nats, "--node", id, "--engine", engine, "--engine-url", engine_url];
    args.extend(["--slots", &slots, "--listen", "127.0.0.1:0"]);
    Program::new(format!("agent {id}"), "agent", arguments(&args, more))
}

fn arguments(first: &[&str], more: &[String]) -> Vec<String> {
    first.iter().map(|arg| (*arg).to_owned()).chain(more.iter().cloned()).collect()
}

fn turns() -> &'static Semaphore {
    static TURNS: OnceLock<Semaphore> = OnceLock::new();
    TURNS.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Semaphore::new(cores * MESHES_PER_CORE)
    })
}
