//! What a machine keeps of the mesh that it has joined, so that it starts again without a code.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use echo_bus::Bus;
use echo_bus::client::{Access, AccessArgs, Authority, Guest, Login, NotLetIn, Options, knock};
use echo_bus::id::{NodeId, ProcessId, Role};
use echo_bus::key::{PublicKey, Seed};
use echo_bus::process::BadConfig;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::place::Place;

/// A broker on this network answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(8);
const REACH: Duration = Duration::from_secs(2);
/// Between two looks at a broker that is not there.
const AGAIN: Duration = Duration::from_millis(500);

/// The mesh, and what this machine is in it. The keys of its nodes are in files of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where the broker is.
    pub nats: String,
    /// An edge that this machine can reach.
    #[serde(default)]
    pub edge: Option<String>,
    /// The name of this machine's first node.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// The engines that were named, and which kind; what was not is looked for at each start.
    #[serde(default)]
    pub engine_urls: Vec<String>,
    #[serde(default)]
    pub engines: Option<String>,
    /// The nodes whose keys were let in; none where everybody is.
    #[serde(default)]
    pub keyed: Vec<NodeId>,
}

impl Member {
    /// What was kept; `None` if this machine has joined no mesh.
    pub fn read(place: &Place) -> Result<Option<Self>, BadConfig> {
        let path = folder(place).join("mesh.json");
        let cure = "remove it, and join with a new code";
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
                BadConfig(format!("{} cannot be understood ({error}): {cure}", path.display()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BadConfig(format!("{} cannot be read ({error}): {cure}", path.display()))),
        }
    }

    /// Keeps it.
    pub fn write(&self, place: &Place) -> Result<()> {
        let folder = folder(place);
        crate::place::make(&folder).with_context(|| format!("cannot write to {}", folder.display()))?;
        // Whole or not at all.
        let mut about = tempfile::NamedTempFile::new_in(&folder)?;
        about.write_all(&serde_json::to_vec_pretty(self)?)?;
        about.persist(folder.join("mesh.json"))?;
        Ok(())
    }

    /// The folder with the keys, if the mesh wants some.
    pub fn keys(&self, place: &Place) -> Option<PathBuf> {
        (!self.keyed.is_empty()).then(|| folder(place))
    }

    /// Whether these nodes can be let in by what is kept here.
    ///
    /// # Errors
    /// One has no key, or the mesh has never been told of it: the sentence that says what to do.
    pub fn knows(&self, place: &Place, nodes: &[NodeId]) -> Result<(), BadConfig> {
        if self.keyed.is_empty() {
            return Ok(());
        }
        let again = "join with a new code, which `echo-mesh invite` shows on the mesh's own machine";
        for node in nodes {
            let file = key(&folder(place), node.as_str());
            if !self.keyed.contains(node) {
                return Err(BadConfig(format!(
                    "the mesh at {} does not know {node}, which is new on this machine: {again}",
                    self.nats
                )));
            }
            Seed::read(&file).map_err(|error| match error {
                echo_bus::key::Error::Missing(_) => BadConfig(format!(
                    "the key of {node}, {}, is gone: take it out of the mesh there (echo-mesh machines revoke \
                     {node}), and {again}",
                    file.display()
                )),
                error => BadConfig::because(error),
            })?;
        }
        let authority = authority(&folder(place));
        Authority::read(&authority)
            .map(drop)
            .map_err(|error| BadConfig(format!("{:#}: {again}", anyhow::Error::from(error))))
    }
}

/// The public halves of the keys of these nodes, in their order; what is missing is made.
pub fn public_keys(place: &Place, nodes: &[NodeId]) -> Result<Vec<PublicKey>, BadConfig> {
    let folder = folder(place);
    crate::place::make(&folder).map_err(BadConfig::because)?;
    let public = |node: &NodeId| {
        let seed = Seed::read_or_create(&key(&folder, node.as_str())).map_err(BadConfig::because)?;
        Ok(seed.public().clone())
    };
    nodes.iter().map(public).collect()
}

/// Keeps by whose certificate the broker is known.
pub fn keep_authority(place: &Place, pem: &str) -> Result<()> {
    Authority::of(pem.to_owned()).context("the mesh sent no certificate that this machine can read")?;
    echo_bus::private_file::write(&authority(&folder(place)), pem).context("cannot keep the certificate")
}

pub fn folder(place: &Place) -> PathBuf {
    place.run.join("joined")
}

/// Where the key of a node is.
pub fn key(folder: &Path, node: &str) -> PathBuf {
    folder.join(format!("{node}.nk"))
}

/// Where it stands by whose certificate the broker is known.
pub fn authority(folder: &Path) -> PathBuf {
    folder.join("authority.pem")
}

/// Tries the key of each node before its agent is started: an agent goes on trying, and says why in its log only.
///
/// # Errors
/// The broker is not there, is another, or does not know one of them.
pub async fn let_in(nats: &str, folder: Option<&Path>, nodes: &[NodeId]) -> Result<()> {
    let Some(folder) = folder else { return reached(nats, &Access::default(), None).await };
    for node in nodes {
        reached(nats, &access(folder, node)?, Some(node)).await?;
    }
    Ok(())
}

/// Looks whether the mesh still lets in these nodes, whose agents run. A broker that does not answer has cut nobody off.
///
/// # Errors
/// The sentence that says that one was cut off.
pub async fn still_let_in(nats: &str, folder: &Path, nodes: &[NodeId]) -> Result<()> {
    for node in nodes {
        match knock(nats, &access(folder, node)?, REACH).await {
            Ok(()) => {}
            Err(error) if is_final(&error) => return Err(refusal(nats, &error, Some(node))),
            Err(_) => break,
        }
    }
    Ok(())
}

fn access(folder: &Path, node: &NodeId) -> Result<Access, BadConfig> {
    let args = AccessArgs {
        nkey: Some(key(folder, node.as_str())),
        tls_ca: Some(authority(folder)),
        ..AccessArgs::default()
    };
    args.read().map_err(BadConfig::because)
}

async fn reached(nats: &str, access: &Access, node: Option<&NodeId>) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match knock(nats, access, REACH).await {
            Ok(()) => return Ok(()),
            Err(error) if is_final(&error) || Instant::now() > until => {
                return Err(refusal(nats, &error, node));
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}

fn is_final(error: &NotLetIn) -> bool {
    matches!(error, NotLetIn::Refused | NotLetIn::Stranger(_) | NotLetIn::Url(_))
}

fn refusal(nats: &str, error: &NotLetIn, node: Option<&NodeId>) -> anyhow::Error {
    match (error, node) {
        (NotLetIn::Refused, Some(node)) => anyhow!(
            "the mesh at {nats} does not know the key of {node} (any more): this machine was cut off there (`echo-mesh \
             machines revoke`), or the mesh has begun anew. Join with a new code: echo-mesh join CODE"
        ),
        (NotLetIn::Refused, None) => anyhow!(
            "the mesh at {nats} lets nobody in without a key: join with a new code, which `echo-mesh invite` shows there"
        ),
        (NotLetIn::Stranger(_), _) => anyhow!(
            "whoever answers at {nats} is not the mesh that this machine has joined: its certificate is of another \
             authority, or not in force by this machine's clock. If the mesh has begun anew, join with a new code"
        ),
        (NotLetIn::Url(url), _) => anyhow!("{url:?} is not a NATS URL: write nats://HOST:PORT"),
        _ => anyhow!("no broker answers at {nats}: start the mesh there with `echo-mesh up --lan`"),
    }
}

/// The bus of the mesh, for people's commands.
pub async fn bus_of(nats: &str, access: Access) -> Result<Bus> {
    let has_key = !matches!(access.login, Login::Open);
    let options = Options { url: nats.to_owned(), role: Role::Other, id: ProcessId::random(), access };
    if let Ok(bus) = tokio::time::timeout(PATIENCE, Bus::connect(options)).await {
        return bus.map_err(|error| BadConfig::because(error).into());
    }
    // Whoever is let in nowhere else is let in as a guest, or at least told so: then the broker is there.
    let is_there = !matches!(Guest::connect(nats, REACH).await, Err(NotLetIn::Unreachable(_)));
    Err(match (is_there, has_key) {
        (false, _) => anyhow!("no broker answers at {nats}: start the mesh there with `echo-mesh up --lan`"),
        (true, true) => anyhow!(
            "the broker at {nats} does not know this key, or has a certificate of another authority: `echo-mesh \
             doctor` says which"
        ),
        (true, false) => anyhow!(
            "the broker at {nats} lets nobody in without a key: run this where the mesh was started, or name an \
             operator's key with --nkey and the mesh's authority with --tls-ca"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &Path) -> Place {
        let run = folder.join("run");
        Place { logs: run.join("logs"), cache: run.join("cache"), run }
    }

    #[test]
    fn what_was_joined_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        assert_eq!(Member::read(&place).unwrap(), None);
        let member = Member {
            nats: "nats://10.0.0.1:4222".into(),
            node: Some("b".parse().unwrap()),
            engine_urls: vec!["http://127.0.0.1:11434/".into()],
            ..Member::default()
        };
        member.write(&place).unwrap();
        assert_eq!(Member::read(&place).unwrap().as_ref(), Some(&member));
        assert_eq!(member.keys(&place), None);
        std::fs::write(place.run.join("joined/mesh.json"), "{").unwrap();
        assert!(Member::read(&place).unwrap_err().to_string().contains("remove it"));
    }

    #[test]
    fn a_new_node_and_a_key_that_is_gone_are_told_with_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let nodes: Vec<NodeId> = ["b", "b-2"].map(|node| node.parse().unwrap()).to_vec();
        let keys = public_keys(&place, &nodes).unwrap();
        assert_eq!(public_keys(&place, &nodes).unwrap(), keys, "another key at each try");
        let member =
            Member { nats: "nats://10.0.0.1:4222".into(), keyed: nodes[..1].to_vec(), ..Member::default() };
        let why = |nodes: &[NodeId]| member.knows(&place, nodes).unwrap_err().to_string();
        assert!(
            why(&nodes).contains("does not know b-2") && why(&nodes).contains("new code"),
            "{}",
            why(&nodes)
        );
        assert!(why(&nodes[..1]).contains("authority.pem"), "{}", why(&nodes[..1]));
        std::fs::remove_file(key(&super::folder(&place), "b")).unwrap();
        assert!(why(&nodes[..1]).contains("machines revoke b"), "{}", why(&nodes[..1]));
        assert!(Member::default().knows(&place, &nodes).is_ok(), "a mesh without keys knows everybody");
    }
}
