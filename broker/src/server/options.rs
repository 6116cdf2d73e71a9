//! What a nats-server is started with.

use std::path::PathBuf;
use std::time::Duration;

use echo_bus::threads::Threads;

use super::address::{Listen, Monitor};
use crate::trust::{CERTIFICATE_LASTS, Trust};

/// What to start, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The nats-server itself; see [`find`](super::find()).
    pub binary: PathBuf,
    /// Its configuration; absent: the `nats.conf` of this project, which is compiled in.
    pub config: Option<PathBuf>,
    /// Where clients connect, if not where the configuration says; port 0 lets the kernel choose.
    pub listen: Option<Listen>,
    /// The port of the pages about the server, if not the configuration's; 0 lets the kernel choose.
    pub monitor: Option<Monitor>,
    /// Whose keys get in, and over TLS only. Without it the server must stay on loopback.
    pub trust: Option<Trust>,
    /// Let everybody in from everywhere, in clear, knowingly.
    pub insecure_lan: bool,
    /// How many threads of the server work at once, where `GOMAXPROCS` does not say.
    pub threads: Threads,
    /// For how long its certificate holds, where there is trust.
    pub renewal: Renewal,
}

/// When the broker's certificate is signed anew: at each start, and when a third of its time is left.
#[derive(Debug, Clone, Copy)]
pub struct Renewal {
    /// How long one is good for.
    pub lasts: Duration,
    /// How often it is looked whether it is time.
    pub look: Duration,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { lasts: CERTIFICATE_LASTS, look: Duration::from_secs(60 * 60) }
    }
}
