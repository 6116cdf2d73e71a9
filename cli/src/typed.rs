//! The commands that lead back to a mesh, as the person who started it would type them.

use std::path::Path;

use crate::place::Place;

/// Set by the scripts of a checkout: what comes before `start-phase1.sh` and its siblings, such as `./scripts/`.
const SCRIPTS: &str = "ECHO_SCRIPTS";

/// How a mesh is started, checked and stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typed {
    pub start: String,
    pub check: String,
    pub stop: String,
    /// How other machines are let in: from the start, and one more.
    pub lan: String,
    pub invite: String,
}

impl Typed {
    /// Only what differs from the default is named. `nodes` as for `up --nodes`.
    pub fn of(place: &Place, nodes: Option<u8>) -> Self {
        match std::env::var(SCRIPTS) {
            Ok(scripts) if !scripts.is_empty() => Self::scripts(&scripts),
            _ => {
                let called = std::env::args().next().unwrap_or_else(|| "echo-mesh".to_owned());
                let run = if place.is_default() { None } else { Some(place.run.as_path()) };
                Self::program(&called, run, nodes)
            }
        }
    }

    /// The same for a machine that joins a mesh which runs elsewhere.
    pub fn joining(place: &Place) -> Self {
        let up = Self::of(place, None);
        Self { start: up.invite.trim_end_matches("invite").to_owned() + "join", ..up }
    }

    fn scripts(before: &str) -> Self {
        let script = |name: &str| format!("{before}{name}.sh");
        let start = script("start-phase1");
        Self {
            lan: format!("{start} --lan"),
            start,
            check: script("test-task"),
            stop: script("stop"),
            invite: "echo-mesh invite".to_owned(),
        }
    }

    /// `run` is the run directory, where it is not the default.
    fn program(called: &str, run: Option<&Path>, nodes: Option<u8>) -> Self {
        let before = run.map(|run| format!("ECHO_RUN_DIR={} ", run.display())).unwrap_or_default();
        let nodes = nodes.map(|nodes| format!(" --nodes {nodes}")).unwrap_or_default();
        let command = |words: &str| format!("{before}{called} {words}");
        Self {
            start: command(&format!("up{nodes}")),
            check: command("check"),
            stop: command("down"),
            lan: command(&format!("up --lan{nodes}")),
            invite: command("invite"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_the_default_is_typed() {
        let usual = Typed::program("echo-mesh", None, None);
        assert_eq!((usual.start.as_str(), usual.stop.as_str()), ("echo-mesh up", "echo-mesh down"));
        let other = Typed::program("./echo-mesh", Some(Path::new("/other")), Some(2));
        assert_eq!(other.start, "ECHO_RUN_DIR=/other ./echo-mesh up --nodes 2");
        assert_eq!(other.check, "ECHO_RUN_DIR=/other ./echo-mesh check");
        assert_eq!(Typed::scripts("./scripts/").start, "./scripts/start-phase1.sh");
    }
}
