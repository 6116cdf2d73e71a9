//! How the parts of a plan are started: this same program, once for each.

use std::ffi::OsString;
use std::path::Path;

use echo_bus::id::SiteName;
use echo_bus::process::LogFormat;

use super::keys::Keys;
use super::plan::{Broker, Node, Own, Plan};
use crate::keys::local;
use crate::lifeline::{AGENT, BROKER, EDGE, ORCHESTRATOR};
use crate::place::Place;
use crate::scratch;
use crate::supervise::{Kind, Spec};

/// What is said to each part by flags, or is no business of a part's: the environment must not say it to another.
const NOT_PASSED_ON: [&str; 28] = [
    "ECHO_AGENT_LISTEN",
    "ECHO_API_KEY",
    "ECHO_API_KEY_FILE",
    "ECHO_CONFIG",
    "ECHO_CREDS",
    "ECHO_EDGE_LISTEN",
    "ECHO_ENGINE",
    "ECHO_ENGINE_KEY_FILE",
    "ECHO_ENGINE_URL",
    "ECHO_KEYS",
    "ECHO_LOG_DIR",
    "ECHO_MODEL",
    "ECHO_NATS_CONF",
    "ECHO_NATS_LISTEN",
    "ECHO_NATS_MONITOR",
    "ECHO_NATS_URL",
    "ECHO_NKEY",
    "ECHO_NODES",
    "ECHO_NODE_ID",
    "ECHO_OPEN_LAN",
    "ECHO_READY_FILE",
    "ECHO_RUN_DIR",
    "ECHO_SITE",
    "ECHO_SLOTS",
    "ECHO_TLS_CA",
    "ECHO_TLS_CERT",
    "ECHO_TLS_KEY",
    "ECHO_TRUST",
];

/// What names the configuration file, for the parts too.
pub const CONFIG: &str = "ECHO_CONFIG";

/// How to start each part of one mesh.
pub struct Parts<'a> {
    /// This program.
    pub program: &'a Path,
    pub plan: &'a Plan,
    pub keys: &'a Keys,
    pub place: &'a Place,
}

impl Parts<'_> {
    /// The broker, which runs `server` and says in `ready` where the bus is.
    pub fn broker(&self, broker: &Broker, server: &Path, ready: &Path) -> Spec {
        let mut args = flags([("--ready-file", Some(ready)), ("--nats-server", Some(server))]);
        args.extend(flags([("--listen", broker.listen.as_ref()), ("--monitor", broker.monitor.as_ref())]));
        args.extend(flags([("--nats-conf", broker.conf.as_ref())]));
        args.extend(flags([("--trust", broker.trust.as_ref())]));
        let scratch = Some(self.place.run.join(scratch::FOLDER));
        Spec { scratch, ..self.part("broker", BROKER, args, "broker") }
    }

    pub fn orchestrator(&self, own: &Own, bus: &str) -> Spec {
        let mut args = flags([("--default-model", own.model.as_ref())]);
        args.extend(self.keys.orchestrator());
        self.on_bus("orchestrator", ORCHESTRATOR, args, "orchestrator", bus)
    }

    pub fn agent(&self, node: &Node, bus: &str) -> Spec {
        let mut args = flags([
            ("--node", Some(node.id.as_str())),
            ("--engine", Some(node.engine.api.as_str())),
            ("--engine-url", Some(node.engine.url.as_str().trim_end_matches('/'))),
        ]);
        args.extend(flags([("--listen", Some(node.listen.to_string()))]));
        args.extend(flags([("--engine-key-file", node.engine.key_file.as_ref())]));
        args.extend(flags([("--slots", node.slots.map(|slots| slots.to_string()))]));
        args.extend(flags([("--site", self.plan.site.as_ref().map(SiteName::as_str))]));
        args.extend(self.keys.agent(&node.id));
        args.extend(self.plan.agent_flags.iter().map(OsString::from));
        self.on_bus("agent", AGENT, args, &node.agent(), bus)
    }

    pub fn edge(&self, own: &Own, bus: &str) -> Spec {
        let mut args = flags([("--listen", Some(own.edge.to_string()))]);
        args.extend(flags([("--keys", own.wants_keys(self.place).then(|| local::keys(&self.place.run)))]));
        args.extend(own.open_lan.then(|| "--open-lan".into()));
        if let Some(tls) = &own.tls {
            args.extend(flags([("--tls-cert", Some(&tls.certificate)), ("--tls-key", Some(&tls.key))]));
        }
        args.extend(flags([("--site", self.plan.site.as_ref().map(SiteName::as_str))]));
        args.extend(self.keys.edge());
        self.on_bus("edge", EDGE, args, "edge", bus)
    }

    fn on_bus(&self, command: &str, rank: usize, mut args: Vec<OsString>, name: &str, bus: &str) -> Spec {
        args.extend(flags([("--nats", Some(bus))]));
        self.part(command, rank, args, name)
    }

    fn part(&self, command: &str, rank: usize, flags: Vec<OsString>, name: &str) -> Spec {
        let log = match self.plan.log {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        let log = ["--log-format".into(), log.into()];
        let args = std::iter::once(command.into()).chain(flags).chain(log).collect();
        let mut env: Vec<_> = NOT_PASSED_ON.iter().map(|name| ((*name).to_owned(), None)).collect();
        let config = self.plan.config.as_ref().map(|path| path.as_os_str().to_owned());
        env.extend(config.map(|config| (CONFIG.to_owned(), Some(config))));
        let (name, program) = (name.to_owned(), self.program.to_owned());
        Spec { name, program, args, env, scratch: None, kind: Kind::Part { rank } }
    }
}

fn flags<const N: usize>(pairs: [(&str, Option<impl Into<OsString>>); N]) -> Vec<OsString> {
    let given = pairs.into_iter().filter_map(|(flag, value)| Some([flag.into(), value?.into()]));
    given.flatten().collect()
}
