//! The plan of a start: the settings, a look at the machine, the choice of engines, free ports, room on the disk, and the
//! user's word for large downloads. Nothing is started, fetched or written here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use echo_bus::id::NodeId;
use echo_bus::process::{BadConfig, LogFormat};
use reqwest::Url;

use super::address::Address;
use super::engines::facts::{Choice, Machine, Missing, Mode, Seat};
use super::engines::local::{self, Looked};
use super::engines::probe::{Prober, WELL_KNOWN};
use super::engines::{per_node, pull, store};
use super::plan::{self, Api, Broker, From, Invites, Node, Own, Plan, Tls};
use super::ports::{self, Wanted};
use super::settings::{EngineSet, EngineSettings, Layout, MeshSet, Named, Settings, agent, letter};
use super::{disk, embedded};
use crate::invite::advertised;
use crate::place::Place;
use crate::say::{is_kept, say, warn};
use crate::typed::Typed;

/// Where the embedded engine is started where nobody says where: not on Ollama's own port, which may be wanted later.
const EMBEDDED_PORT: u16 = 11435;
const OLLAMA_PORT: u16 = 11434;

/// The engines that were chosen, and their agents.
pub struct Chosen {
    nodes: Vec<Node>,
    /// Of how many nodes the user has said where their agents listen.
    named: usize,
    model: Option<String>,
    pull: bool,
    why: String,
}

impl Settings {
    /// What is going to be started. May ask on the terminal.
    ///
    /// # Errors
    /// The sentence that says what is in the way, and how it is mended.
    pub async fn plan(&self, place: &Place) -> Result<Plan> {
        let set = self.read(&|name| std::env::var(name).ok())?;
        if self.nodes.is_none() {
            ["ECHO_ENGINE_A_URL", "ECHO_AGENT_A_LISTEN"].into_iter().filter(|it| is_set(it)).for_each(
                |name| {
                    warn(format!(
                        "note: {name} is a setting of --nodes (ECHO_NODES), and changes nothing without it."
                    ));
                },
            );
        }
        let advertise = self.advertise.as_deref().filter(|text| self.lan && !text.is_empty());
        let advertise = advertise.map(|text| advertised(text, set.mesh.nats.port)).transpose()?;
        let typed = Typed::of(place, self.nodes);
        let chosen = self.engines.choose(self.nodes, &set.engines, Some(&set.mesh), place, &typed).await?;
        let own = Own {
            edge: set.mesh.edge,
            open_lan: self.open_lan,
            tls: self
                .tls_cert
                .as_deref()
                .zip(self.tls_key.as_deref())
                .map(|(certificate, key)| Tls { certificate: absolute(certificate), key: absolute(key) }),
            broker: Broker {
                listen: Some(set.mesh.nats.to_string()),
                monitor: Some(set.mesh.monitor.to_string()),
                conf: set.mesh.conf,
                trust: self.lan.then(|| place.trust()),
            },
            model: chosen.model.clone(),
            // Nobody reads a code that only the journal gets, and it should not be kept there.
            invites: (self.lan && !is_kept()).then_some(Invites { advertise }),
        };
        Ok(chosen.plan(plan::Mesh::Own(own)))
    }
}

impl Chosen {
    /// The nodes of this mesh.
    pub fn plan(self, mesh: plan::Mesh) -> Plan {
        let Self { mut nodes, named, model: _, pull, why } = self;
        // Others may have taken a port while the user was asked.
        let mut kept = nodes.iter().map(|node| node.listen.port()).collect();
        for (at, node) in nodes.iter_mut().enumerate().skip(named) {
            if ports::look(&near(node.listen.port())) != ports::State::Free {
                node.listen.set_port(floating(at, &mut kept).port);
            }
        }
        let (agent_flags, log) = (Vec::new(), LogFormat::default());
        Plan { nodes, mesh, agent_flags, site: None, log, config: None, pull, why }
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.id.clone()).collect()
    }
}

impl EngineSettings {
    /// The engines of a machine that joins a mesh which runs elsewhere. May ask on the terminal.
    ///
    /// # Errors
    /// As for [`Settings::plan`].
    pub async fn joining(&self, place: &Place) -> Result<Chosen> {
        let set = self.read(None, &|name| std::env::var(name).ok())?;
        self.choose(None, &set, None, place, &Typed::joining(place)).await
    }

    /// Looks at the machine, and chooses. `mesh`: the other parts that will be started here.
    async fn choose(
        &self,
        nodes: Option<u8>,
        set: &EngineSet,
        mesh: Option<&MeshSet>,
        place: &Place,
        typed: &Typed,
    ) -> Result<Chosen> {
        let machine = machine();
        let mut choice = choose(set, mesh, &machine, typed).await?;
        give_key(set, &mut choice);
        let ids = self.ids(nodes, choice.engines.len())?;
        if choice.engines.iter().any(|engine| engine.from == From::Embedded) {
            embedded::check(place).await?;
        }
        let listens = listens(set, mesh, &choice, typed)?;
        let wish = &set.wish;
        let pull = match &choice.missing {
            // Nothing is asked for where nothing will be pulled.
            Some(missing) if self.dry_run => {
                say(pull::lacking(missing, free(missing, &machine)));
                wish.pull == Some(true)
            }
            Some(missing) => pull::agree(missing, wish.pull, free(missing, &machine)).map(|()| true)?,
            _ => wish.pull == Some(true),
        };
        let nodes = ids.into_iter().zip(listens).zip(choice.engines.into_iter().zip(choice.slots));
        let nodes = nodes.map(|((id, listen), (engine, slots))| Node { id, listen, engine, slots });
        Ok(Chosen {
            nodes: nodes.collect(),
            named: set.agents.len(),
            model: choice.model,
            pull,
            why: choice.why,
        })
    }

    /// The nodes' names: letters with `--nodes`, else the host's and numbers.
    fn ids(&self, nodes: Option<u8>, count: usize) -> Result<Vec<NodeId>, BadConfig> {
        if let Some(nodes) = nodes {
            let names = (0..nodes).map(|at| format!("node-{}", letter(at)).parse());
            return names.collect::<Result<_, _>>().map_err(BadConfig::because);
        }
        let first = match &self.node {
            Some(node) => node.clone(),
            None => {
                let host = sysinfo::System::host_name().unwrap_or_default();
                NodeId::from_host_name(&host).map_err(|_| {
                    BadConfig(format!("the host name {host:?} makes no node id: choose one with --node."))
                })?
            }
        };
        numbered(&first, count)
    }
}

/// `box`, `box-2`, `box-3`, each short enough for an id.
fn numbered(first: &NodeId, count: usize) -> Result<Vec<NodeId>, BadConfig> {
    let name = |at: usize| {
        let (text, end) = (first.to_string(), format!("-{}", at + 1));
        let room = text.len().min(63 - end.len());
        if at == 0 { Ok(first.clone()) } else { format!("{}{end}", &text[..room]).parse() }
    };
    (0..count).map(name).collect::<Result<_, _>>().map_err(BadConfig::because)
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn machine() -> Machine {
    let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let slots = std::env::var("OLLAMA_NUM_PARALLEL").ok().and_then(|text| text.parse().ok());
    Machine {
        ollama: is_on_path("ollama"),
        ollama_slots: slots.filter(|slots| *slots > 0),
        stores: store::stores(path("OLLAMA_MODELS"), path("HOME")),
    }
}

fn is_on_path(program: &str) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| {
        let file = std::fs::metadata(folder.join(program));
        file.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

async fn choose(set: &EngineSet, mesh: Option<&MeshSet>, machine: &Machine, typed: &Typed) -> Result<Choice> {
    let mode = set.wish.mode;
    match &set.layout {
        Layout::PerNode(engines) => {
            let node = |at: usize| format!("node-{}", letter(u8::try_from(at).unwrap_or_default()));
            let seats = seats(engines, node, &Prober::of_named(mode, set.key_file.as_deref())?, mode).await;
            Ok(per_node::choose(&seats, &set.wish, machine, typed)?)
        }
        Layout::Local(named) => {
            let ours = mesh.map(|mesh| [mesh.edge.port(), mesh.nats.port, mesh.monitor.port]);
            let ours = ours.as_ref().map_or(&[][..], <[u16; 3]>::as_slice);
            let ollama = ollama_address();
            let looked_at = if named.is_empty() { usual(&ollama, ours) } else { named.clone() };
            let prober = if named.is_empty() {
                Prober::of_strangers(mode)?
            } else {
                Prober::of_named(mode, set.key_file.as_deref())?
            };
            let seats = seats(&looked_at, |_| "this machine".to_owned(), &prober, mode).await;
            let looked = Looked {
                named: !named.is_empty(),
                for_ollama: seat(&ollama)?,
                for_embedded: seat(&near(EMBEDDED_PORT))?,
                seats,
            };
            Ok(local::choose(&looked, &set.wish, machine, typed)?)
        }
    }
}

/// Looks at addresses; nobody is asked where the embedded engine is wanted.
async fn seats(
    list: &[Named<Url>],
    node: impl Fn(usize) -> String,
    prober: &Prober,
    mode: Mode,
) -> Vec<Seat> {
    use super::engines::facts::Found;
    let urls: Vec<Url> = list.iter().map(|named| named.value.clone()).collect();
    let found =
        if mode == Mode::Embedded { vec![Found::Nothing; urls.len()] } else { prober.look(&urls).await };
    let seat = |(at, (named, found)): (usize, (&Named<Url>, Found))| Seat {
        node: node(at),
        name: named.name.clone(),
        url: named.value.clone(),
        found,
    };
    list.iter().zip(found).enumerate().map(seat).collect()
}

/// Where engines usually listen, save where our own parts will.
fn usual(ollama: &Address, ours: &[u16]) -> Vec<Named<Url>> {
    let others = WELL_KNOWN.into_iter().skip(1).filter(|port| !ours.contains(port) && *port != ollama.port);
    let all = std::iter::once(ollama.clone()).chain(others.map(near));
    let url = |address: Address| Url::parse(&format!("http://{address}")).ok();
    let named = |value| Named { name: "ECHO_ENGINE_URL".to_owned(), value };
    all.filter_map(url).map(named).collect()
}

fn near(port: u16) -> Address {
    Address { host: "127.0.0.1".to_owned(), port }
}

/// Where this user's Ollama listens, as OLLAMA_HOST says it to Ollama itself.
fn ollama_address() -> Address {
    let said = std::env::var("OLLAMA_HOST").unwrap_or_default();
    let text = said.split_once("://").map_or(said.as_str(), |(_, rest)| rest).trim_end_matches('/');
    let with_port = [text.to_owned(), format!("{text}:{OLLAMA_PORT}")];
    let read = with_port.iter().find_map(|text| Address::read("OLLAMA_HOST", text).ok());
    read.filter(|_| !text.is_empty()).map_or_else(|| near(OLLAMA_PORT), |address| address.reach())
}

fn seat(address: &Address) -> Result<Seat, BadConfig> {
    let url = Url::parse(&format!("http://{address}")).map_err(BadConfig::because)?;
    let (node, name) = ("this machine".to_owned(), "ECHO_ENGINE_URL".to_owned());
    Ok(Seat { node, name, url, found: super::engines::facts::Found::Nothing })
}

impl MeshSet {
    fn wanted(&self) -> Vec<Wanted> {
        let edge = Address { host: self.edge.ip().to_string(), port: self.edge.port() };
        vec![
            Wanted::new("ECHO_EDGE_LISTEN", edge),
            Wanted::new("ECHO_NATS_LISTEN", self.nats.clone()),
            Wanted::new("ECHO_NATS_MONITOR", self.monitor.clone()),
        ]
    }
}

/// Where each agent listens. All ports are looked at, those of the other parts as well.
fn listens(
    set: &EngineSet,
    mesh: Option<&MeshSet>,
    choice: &Choice,
    typed: &Typed,
) -> Result<Vec<SocketAddr>, BadConfig> {
    let mut wanted = mesh.map(MeshSet::wanted).unwrap_or_default();
    wanted.extend(
        set.agents.iter().take(choice.engines.len()).map(|it| Wanted::new(&it.name, it.value.clone())),
    );
    for (at, engine) in choice.engines.iter().enumerate().filter(|(_, engine)| engine.from != From::Found) {
        let name = match &set.layout {
            Layout::PerNode(named) | Layout::Local(named) => named.get(at).map(|named| named.name.as_str()),
        };
        if let Some(address) = Address::of(&engine.url) {
            let with = if matches!(set.layout, Layout::Local(_)) { "ECHO_ENGINE_MODE=ollama " } else { "" };
            wanted.push(Wanted {
                scheme: "http://",
                with,
                ..Wanted::new(name.unwrap_or("ECHO_ENGINE_URL"), address)
            });
        }
    }
    let refused = ports::refused(&wanted, ports::look, ports::owner, &typed.start);
    if !refused.is_empty() {
        return Err(BadConfig(refused.join("\nerror: ")));
    }
    let mut kept: BTreeSet<u16> = wanted.iter().map(|wanted| wanted.address.port).collect();
    let listen = |at: usize| match set.agents.get(at) {
        Some(named) => named.value.socket(&named.name),
        None => floating(at, &mut kept).socket("ECHO_AGENT_LISTEN"),
    };
    (0..choice.engines.len()).map(listen).collect()
}

/// Nobody has named a port: the usual one, or the next that is free.
fn floating(at: usize, kept: &mut BTreeSet<u16>) -> Address {
    let usual = agent(at);
    let before = usual.with(usual.port - 1);
    let port = ports::next_free(&before, kept, ports::look).unwrap_or(usual.port);
    kept.insert(port);
    usual.with(port)
}

/// The room for a model, in MB.
fn free(missing: &Missing, machine: &Machine) -> Option<u64> {
    disk::free_mb(missing.at.as_ref().unwrap_or(&machine.stores.own.path))
}

/// A part may be started again from elsewhere, as a service is.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A key is for engines that the user has named, not for whoever listens where engines usually do.
fn give_key(set: &EngineSet, choice: &mut Choice) {
    let is_named = set.layout != Layout::Local(Vec::new());
    for engine in choice.engines.iter_mut().filter(|it| it.api == Api::Openai && it.from == From::Found) {
        engine.key_file = set.key_file.as_deref().filter(|_| is_named).map(absolute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::plan::Engine;

    #[test]
    fn further_nodes_of_a_host_are_numbered() {
        let names = |first: &str| {
            let ids = numbered(&first.parse().unwrap(), 3).unwrap();
            ids.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names("box"), ["box", "box-2", "box-3"]);
        let long = "b".repeat(63);
        assert_eq!(names(&long)[1], format!("{}-2", "b".repeat(61)));
    }

    #[test]
    fn a_key_is_for_engines_that_the_user_has_named() {
        let keys = |urls: &[&str], api, from| {
            let engine_urls = urls.iter().map(ToString::to_string).collect();
            let key = Some("key".into());
            let settings = EngineSettings { engine_urls, engine_key_file: key, ..Default::default() };
            let url = Url::parse("http://127.0.0.1:1234").unwrap();
            let engines = vec![Engine { api, url, from, model: None, key_file: None }];
            let mut choice =
                Choice { engines, model: None, slots: Vec::new(), why: String::new(), missing: None };
            give_key(&settings.read(None, &|_| None).unwrap(), &mut choice);
            let key = choice.engines[0].key_file.take();
            assert!(key.as_ref().is_none_or(|key| key.is_absolute() && key.ends_with("key")));
            key.is_some()
        };
        assert!(keys(&["http://127.0.0.1:1234"], Api::Openai, From::Found));
        assert!(!keys(&[], Api::Openai, From::Found), "whoever listens there would get the key");
        assert!(!keys(&["http://127.0.0.1:1234"], Api::Ollama, From::Found), "Ollama has no keys");
        assert!(!keys(&["http://127.0.0.1:1234"], Api::Openai, From::Embedded));
    }

    #[test]
    fn engines_are_looked_for_where_none_of_our_parts_will_listen() {
        let ports = |ours: &[u16]| {
            let list = usual(&near(OLLAMA_PORT), ours);
            list.iter().filter_map(|named| named.value.port()).collect::<Vec<_>>()
        };
        assert_eq!(ports(&[]), WELL_KNOWN);
        assert!(!ports(&[8080]).contains(&8080) && ports(&[8080]).contains(&8081));
        assert_eq!(usual(&near(9999), &[])[0].value.as_str(), "http://127.0.0.1:9999/");
    }

    #[test]
    fn an_agents_usual_port_is_taken_or_the_next_free_one() {
        let mut kept = BTreeSet::new();
        let (first, second) = (floating(0, &mut kept), floating(0, &mut kept));
        assert!(first.port >= agent(0).port && second.port > first.port, "{first} {second}");
        assert_eq!(kept.len(), 2);
    }
}
