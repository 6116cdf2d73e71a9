//! Which bus a person means who asks something on it.

use std::path::{Path, PathBuf};

use echo_bus::client::AccessArgs;
use echo_bus::process::BusArgs;

/// The flags about the bus, for commands that know what runs on this machine.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WhichBus {
    /// Where the bus is; `auto` finds the broker that is announced on this network [default: that of the mesh that runs
    /// here or was joined, else nats://127.0.0.1:4222]
    #[arg(long, env = "ECHO_NATS_URL", value_name = "URL")]
    pub nats: Option<String>,

    /// The mesh's shared secret, as the broker has written it [default: that of the mesh that runs here or was joined]
    #[arg(long, env = "ECHO_SECRET_FILE", value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
}

/// Where the bus is, if nobody says otherwise.
const DEFAULT: &str = "nats://127.0.0.1:4222";

impl WhichBus {
    /// The one that is meant: `here` and `secret` are those of the mesh that runs on this machine. Its secret is not told to
    /// another bus.
    pub fn meant(&self, here: Option<&str>, secret: Option<&Path>) -> BusArgs {
        let is_here = self.nats.as_deref().is_none_or(|named| Some(named) == here);
        let secret = secret.filter(|_| is_here).map(Path::to_owned);
        BusArgs {
            nats: self.nats.as_deref().or(here).unwrap_or(DEFAULT).to_owned(),
            access: AccessArgs { secret_file: self.secret_file.clone().or(secret), ..AccessArgs::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mesh_that_runs_here_is_meant_unless_another_bus_is_named() {
        let here = "nats://127.0.0.1:5000";
        let meant = |named: Option<&str>, file: Option<&str>, here: Option<&str>| {
            let which = WhichBus { nats: named.map(Into::into), secret_file: file.map(Into::into) };
            let bus = which.meant(here, here.map(|_| Path::new("here")));
            (bus.nats, bus.access.secret_file.map(|file| file.to_string_lossy().into_owned()))
        };
        let said = |nats: &str, file: Option<&str>| (nats.to_owned(), file.map(str::to_owned));
        assert_eq!(meant(None, None, Some(here)), said(here, Some("here")));
        assert_eq!(meant(None, Some("x"), Some(here)), said(here, Some("x")));
        assert_eq!(meant(Some(here), None, Some(here)), said(here, Some("here")));
        assert_eq!(meant(Some("nats://b:1"), None, Some(here)), said("nats://b:1", None), "another's secret");
        assert_eq!(meant(Some(DEFAULT), None, Some(here)), said(DEFAULT, None), "it is named, and meant");
        assert_eq!(meant(None, None, None), said(DEFAULT, None));
    }
}
