//! What `up` has written of the mesh that it keeps running on this machine.

use std::path::Path;

use serde::Deserialize;
use sysinfo::{Pid, ProcessesToUpdate, System};

/// The record.
#[derive(Debug, Default, Deserialize)]
pub struct Record {
    #[serde(default)]
    pub parts: Vec<Part>,
}

/// One part.
#[derive(Debug, Deserialize)]
pub struct Part {
    pub name: String,
    #[serde(default)]
    pub pid: Option<u32>,
    /// How often it was started again after it had ended unasked.
    #[serde(default)]
    pub restarts: u32,
}

/// The record of the mesh that runs here, if `up` has left one.
///
/// # Errors
/// It cannot be read: why.
pub fn here(run: &Path) -> Result<Option<Record>, String> {
    let path = run.join("mesh.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// For each part whether its process is there.
pub fn running(parts: &[Part]) -> Vec<bool> {
    let pids: Vec<Pid> = parts.iter().filter_map(|part| part.pid).map(Pid::from_u32).collect();
    let mut system = System::new();
    system.refresh_processes(ProcessesToUpdate::Some(&pids), true);
    let is_there = |part: &Part| part.pid.is_some_and(|pid| system.process(Pid::from_u32(pid)).is_some());
    parts.iter().map(is_there).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_does_not_run() {
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert!(here(folder.path()).unwrap().is_none(), "nobody has started anything");
        let parts = format!(
            r#"{{"newer": 1, "parts": [{{"name": "edge", "pid": {}}}, {{"name": "broker", "pid": {}, "restarts": 2}}]}}"#,
            std::process::id(),
            gone.id()
        );
        std::fs::write(folder.path().join("mesh.json"), parts).unwrap();
        let record = here(folder.path()).unwrap().unwrap();
        assert_eq!((running(&record.parts), record.parts[1].restarts), (vec![true, false], 2));
        std::fs::write(folder.path().join("mesh.json"), "{").unwrap();
        assert!(here(folder.path()).unwrap_err().contains("mesh.json"));
    }
}
