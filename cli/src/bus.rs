//! Which bus a person means who asks something on it.

use echo_bus::client::AccessArgs;
use echo_bus::process::BusArgs;

use crate::record::Access;

/// The flags about the bus, for commands that know what runs on this machine.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WhichBus {
    /// Where the bus is; `auto` finds the broker that is announced on this network [default: that of the mesh that runs
    /// here or was joined, else nats://127.0.0.1:4222]
    #[arg(long, env = "ECHO_NATS_URL", value_name = "URL")]
    pub nats: Option<String>,

    #[command(flatten)]
    pub access: AccessArgs,
}

/// Where the bus is, if nobody says otherwise.
const DEFAULT: &str = "nats://127.0.0.1:4222";

impl WhichBus {
    /// The one that is meant: `here` and `access` are those of the mesh that runs on this machine. Its key is not used at
    /// another bus.
    pub fn meant(&self, here: Option<&str>, access: Option<&Access>) -> BusArgs {
        let is_here = self.nats.as_deref().is_none_or(|named| Some(named) == here);
        let mut given = self.access.clone();
        if let Some(access) = access.filter(|_| is_here) {
            if given.nkey.is_none() && given.creds.is_none() {
                given.nkey = Some(access.nkey.clone());
            }
            given.tls_ca.get_or_insert_with(|| access.tls_ca.clone());
        }
        BusArgs { nats: self.nats.as_deref().or(here).unwrap_or(DEFAULT).to_owned(), access: given }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mesh_that_runs_here_is_meant_unless_another_bus_is_named() {
        let here = "nats://127.0.0.1:5000";
        let meant = |named: Option<&str>, nkey: Option<&str>, here: Option<&str>| {
            let access = AccessArgs { nkey: nkey.map(Into::into), ..AccessArgs::default() };
            let which = WhichBus { nats: named.map(Into::into), access };
            let own = Access { nkey: "here".into(), tls_ca: "ca".into() };
            let bus = which.meant(here, here.map(|_| &own));
            let said = |path: Option<std::path::PathBuf>| path.map(|path| path.display().to_string());
            (bus.nats, said(bus.access.nkey), said(bus.access.tls_ca))
        };
        let said = |nats: &str, nkey: Option<&str>, ca: Option<&str>| {
            (nats.to_owned(), nkey.map(str::to_owned), ca.map(str::to_owned))
        };
        let ca = Some("ca");
        assert_eq!(meant(None, None, Some(here)), said(here, Some("here"), ca));
        assert_eq!(meant(Some(here), None, Some(here)), said(here, Some("here"), ca));
        assert_eq!(meant(None, Some("own"), Some(here)), said(here, Some("own"), ca));
        assert_eq!(
            meant(Some("nats://b:1"), None, Some(here)),
            said("nats://b:1", None, None),
            "another's key"
        );
        assert_eq!(meant(Some("nats://b:1"), Some("own"), Some(here)), said("nats://b:1", Some("own"), None));
        assert_eq!(meant(None, None, None), said(DEFAULT, None, None));
    }
}
