//! What a machine keeps of the mesh that it has joined, so that it starts again without a code.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use echo_bus::Bus;
use echo_bus::client::{Access, Guest, Login, NotLetIn, Options};
use echo_bus::id::{NodeId, ProcessId, Role};
use echo_bus::process::BadConfig;
use echo_bus::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::place::Place;

/// A broker on this network answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(8);
const REACH: Duration = Duration::from_secs(2);

/// The mesh, and what this machine is in it. The secret is in a file of its own.
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

    /// Keeps it, and the secret, which only the owner can read.
    pub fn write(&self, place: &Place, secret: Option<&Secret>) -> Result<()> {
        let folder = folder(place);
        crate::place::make(&folder).with_context(|| format!("cannot write to {}", folder.display()))?;
        let file = Self::secret_file(place);
        match secret {
            Some(secret) => secret.write(&file)?,
            None if file.exists() => std::fs::remove_file(&file)?,
            None => {}
        }
        // Last, and whole or not at all: where it is, the secret is too.
        let mut about = tempfile::NamedTempFile::new_in(&folder)?;
        about.write_all(&serde_json::to_vec_pretty(self)?)?;
        about.persist(folder.join("mesh.json"))?;
        Ok(())
    }

    /// Where the secret of a mesh that was joined is.
    pub fn secret_file(place: &Place) -> PathBuf {
        folder(place).join("secret")
    }

    /// The secret; absent where everybody is let in.
    pub fn secret(place: &Place) -> Result<Option<Secret>, BadConfig> {
        let file = Self::secret_file(place);
        if !file.exists() {
            return Ok(None);
        }
        Secret::read(&file).map(Some).map_err(BadConfig::because)
    }
}

fn folder(place: &Place) -> PathBuf {
    place.run.join("joined")
}

/// The bus of a mesh of which this machine has the secret.
pub async fn bus_of(nats: &str, secret: Option<Secret>) -> Result<Bus> {
    let has_secret = secret.is_some();
    let login = secret.map_or(Login::Open, Login::Secret);
    let access = Access { login, authority: None };
    let options = Options { url: nats.to_owned(), role: Role::Other, id: ProcessId::random(), access };
    if let Ok(bus) = tokio::time::timeout(PATIENCE, Bus::connect(options)).await {
        return bus.map_err(|error| BadConfig::because(error).into());
    }
    // Whoever is let in nowhere else is let in as a guest, or at least told so: then the broker is there.
    let is_there = !matches!(Guest::connect(nats, REACH).await, Err(NotLetIn::Unreachable(_)));
    Err(match (is_there, has_secret) {
        (false, _) => anyhow!("no broker answers at {nats}: start the mesh there with `echo-mesh up --lan`"),
        (true, true) => {
            anyhow!("the broker at {nats} has another secret than this machine: join with a new code")
        }
        (true, false) => {
            anyhow!("the broker at {nats} wants the mesh's secret: name its file with --secret-file")
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn what_was_joined_is_found_again_and_the_secret_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let place = Place { logs: run.join("logs"), cache: run.join("cache"), run };
        assert_eq!(Member::read(&place).unwrap(), None);
        let member = Member {
            nats: "nats://10.0.0.1:4222".into(),
            edge: None,
            node: Some("b".parse().unwrap()),
            engine_urls: vec!["http://127.0.0.1:11434/".into()],
            engines: None,
        };
        let secret = Secret::of("0123456789abcdef".into());
        member.write(&place, secret.as_ref()).unwrap();
        assert_eq!(Member::read(&place).unwrap().as_ref(), Some(&member));
        assert_eq!(Member::secret(&place).unwrap(), secret);
        assert_eq!(std::fs::metadata(Member::secret_file(&place)).unwrap().mode() & 0o777, 0o600);
        member.write(&place, None).unwrap();
        assert_eq!(Member::secret(&place).unwrap(), None);
        std::fs::write(place.run.join("joined/mesh.json"), "{").unwrap();
        assert!(Member::read(&place).unwrap_err().to_string().contains("remove it"));
    }
}
