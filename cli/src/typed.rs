//! The commands that lead back to a mesh, as the person who started it would type them.

use crate::place::Place;

/// Set by the scripts of a checkout: what comes before `start-phase1.sh` and its siblings, such as `./scripts/`.
const SCRIPTS: &str = "ECHO_SCRIPTS";

/// How a mesh is started, checked and stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    pub start: String,
    pub check: String,
    pub stop: String,
}

impl Typed {
    /// Only what differs from the default is named. `nodes` as for `up --nodes`.
    pub fn of(place: &Place, nodes: Option<u8>) -> Self {
        match std::env::var(SCRIPTS) {
            Ok(scripts) if !scripts.is_empty() => Self::scripts(&scripts),
            _ => Self::program(place, crate::place::PlaceArgs::default().place().ok().as_ref(), nodes),
        }
    }

    fn scripts(before: &str) -> Self {
        let script = |name: &str| format!("{before}{name}.sh");
        Self { start: script("start-phase1"), check: script("test-task"), stop: script("stop") }
    }

    fn program(place: &Place, usual: Option<&Place>, nodes: Option<u8>) -> Self {
        let elsewhere = usual.is_none_or(|usual| usual.run != place.run);
        let before = if elsewhere { format!("ECHO_RUN_DIR={} ", place.run.display()) } else { String::new() };
        let nodes = nodes.map(|nodes| format!(" --nodes {nodes}")).unwrap_or_default();
        Self {
            start: format!("{before}echo-mesh up{nodes}"),
            check: format!("{before}echo-mesh check"),
            stop: format!("{before}echo-mesh down"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(run: &str) -> Place {
        Place { run: run.into(), logs: "/logs".into(), cache: "/cache".into() }
    }

    #[test]
    fn only_what_differs_from_the_default_is_typed() {
        let usual = place("/usual");
        let same = Typed::program(&usual, Some(&usual), None);
        assert_eq!((same.start.as_str(), same.stop.as_str()), ("echo-mesh up", "echo-mesh down"));
        let other = Typed::program(&place("/other"), Some(&usual), Some(2));
        assert_eq!(other.start, "ECHO_RUN_DIR=/other echo-mesh up --nodes 2");
        assert_eq!(other.check, "ECHO_RUN_DIR=/other echo-mesh check");
        assert_eq!(Typed::scripts("./scripts/").start, "./scripts/start-phase1.sh");
    }
}
