//! Where each part of a mesh that is open to other machines has its key: files, which are named in arguments and never read here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use echo_broker::trust::{Error, OPERATOR, Trust};
use echo_bus::id::NodeId;
use echo_bus::process::BadConfig;
use echo_bus::subject::Duty;

use super::plan::{Mesh, Node};
use crate::join::member;
use crate::record::Access;

const ORCHESTRATOR: &str = "orchestrator";
const EDGE: &str = "edge";

/// The files, or nothing where everybody on this machine is let in.
#[derive(Debug, Clone, Default)]
pub enum Keys {
    #[default]
    None,
    /// Of a mesh that runs here.
    Own { authority: PathBuf, keys: PathBuf },
    /// Of one that runs elsewhere: the folder of what was joined.
    Joined(PathBuf),
}

impl Keys {
    /// Those of the mesh that is planned. What is missing of its own is made, and let in.
    ///
    /// # Errors
    /// A key cannot be made or let in: why, and what to do.
    pub fn of(mesh: &Mesh, nodes: &[Node]) -> Result<Self, BadConfig> {
        match mesh {
            Mesh::Own(own) => match &own.broker.trust {
                Some(folder) => made(folder, nodes),
                None => Ok(Self::None),
            },
            Mesh::Joined(joined) => Ok(joined.keys.clone().map_or(Self::None, Self::Joined)),
        }
    }

    pub fn orchestrator(&self) -> Vec<OsString> {
        self.flags(ORCHESTRATOR)
    }

    pub fn edge(&self) -> Vec<OsString> {
        self.flags(EDGE)
    }

    pub fn agent(&self, node: &NodeId) -> Vec<OsString> {
        self.flags(node.as_str())
    }

    /// By what commands on this machine look after the mesh: none on one that has only joined.
    pub fn operator(&self) -> Option<Access> {
        matches!(self, Self::Own { .. }).then(|| self.files(OPERATOR)).flatten()
    }

    fn files(&self, name: &str) -> Option<Access> {
        match self {
            Self::None => None,
            Self::Own { authority, keys } => {
                Some(Access { nkey: keys.join(format!("{name}.nk")), tls_ca: authority.clone() })
            }
            Self::Joined(folder) => {
                Some(Access { nkey: member::key(folder, name), tls_ca: member::authority(folder) })
            }
        }
    }

    fn flags(&self, name: &str) -> Vec<OsString> {
        let Some(Access { nkey, tls_ca }) = self.files(name) else { return Vec::new() };
        vec!["--nkey".into(), nkey.into(), "--tls-ca".into(), tls_ca.into()]
    }
}

fn made(folder: &Path, nodes: &[Node]) -> Result<Keys, BadConfig> {
    let trust = Trust::open(folder).map_err(BadConfig::because)?;
    let operator = trust.own_key(OPERATOR, Duty::Operator, None).map_err(BadConfig::because)?;
    for (name, duty) in [(ORCHESTRATOR, Duty::Orchestrator), (EDGE, Duty::Edge)] {
        own(&trust, name, duty)?;
    }
    for Node { id, .. } in nodes {
        trust.own_key(id.as_str(), Duty::Agent, Some(id)).map_err(|error| match error {
            Error::Refused(why) => taken(id, &why),
            error => BadConfig::because(error),
        })?;
    }
    let keys = operator.parent().map(Path::to_owned).unwrap_or_default();
    Ok(Keys::Own { authority: trust.authority(), keys })
}

/// A part that only this machine has: whoever had its name before is this machine with a key that is lost.
fn own(trust: &Trust, name: &str, duty: Duty) -> Result<(), BadConfig> {
    match trust.own_key(name, duty, None) {
        Err(Error::Refused(_)) => {
            let machines = trust.machines().map_err(BadConfig::because)?;
            // A machine that somebody has named so is not thrown out unasked.
            if machines.iter().any(|one| one.name == name && one.duty == duty) {
                trust.revoke(&[name.to_owned()]).map_err(BadConfig::because)?;
            }
            trust.own_key(name, duty, None).map(drop).map_err(BadConfig::because)
        }
        made => made.map(drop).map_err(BadConfig::because),
    }
}

fn taken(node: &NodeId, why: &str) -> BadConfig {
    BadConfig(format!(
        "the mesh knows {node} by another key ({why}): give this node another name with --node, or, if that was an \
         earlier start here whose key file is gone, take the old key out first: echo-mesh machines revoke {node}"
    ))
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::*;
    use crate::up::plan::{Api, Engine, From};

    fn node(id: &str) -> Node {
        let url = Url::parse("http://127.0.0.1:11434").unwrap();
        let engine = Engine { api: Api::Ollama, url, from: From::Found, model: None, key_file: None };
        Node { id: id.parse().unwrap(), listen: "127.0.0.1:9001".parse().unwrap(), engine, slots: None }
    }

    fn names(folder: &Path) -> Vec<String> {
        Trust::open(folder).unwrap().machines().unwrap().into_iter().map(|one| one.name).collect()
    }

    #[test]
    fn each_part_has_a_key_of_its_own_which_is_the_same_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let two = [node("node-a"), node("node-b")];
        let keys = made(folder.path(), &two).unwrap();
        assert_eq!(names(folder.path()), ["operator", "orchestrator", "edge", "node-a", "node-b"]);
        let flags = [keys.edge(), keys.orchestrator(), keys.agent(&two[0].id), keys.agent(&two[1].id)];
        let seeds: std::collections::BTreeSet<_> =
            flags.iter().map(|flags| std::fs::read_to_string(&flags[1]).unwrap()).collect();
        assert_eq!(seeds.len(), 4);
        // Fewer nodes, and as many again: nothing new, and nothing in the way.
        for nodes in [&two[..1], &two] {
            made(folder.path(), nodes).unwrap();
            assert_eq!(names(folder.path()).len(), 5);
        }
    }

    #[test]
    fn a_key_file_that_is_gone_stops_a_node_with_the_cure_and_no_other_part() {
        let folder = tempfile::tempdir().unwrap();
        let keys = made(folder.path(), &[node("node-a")]).unwrap();
        for flags in [keys.edge(), keys.orchestrator()] {
            std::fs::remove_file(&flags[1]).unwrap();
        }
        std::fs::remove_file(keys.operator().unwrap().nkey).unwrap();
        made(folder.path(), &[node("node-a")]).unwrap();
        std::fs::remove_file(&keys.agent(&"node-a".parse().unwrap())[1]).unwrap();
        let why = made(folder.path(), &[node("node-a")]).unwrap_err().to_string();
        assert!(why.contains("machines revoke node-a") && why.contains("--node"), "{why}");
        Trust::open(folder.path()).unwrap().revoke(&["node-a".to_owned()]).unwrap();
        made(folder.path(), &[node("node-a")]).unwrap();
    }
}
