//! The parts that `up` keeps running: each is there, and stays.

use super::finding::Looked;
use super::scene::Scene;
use crate::record::Part;

/// A part that was started so often has more than an accident.
const OFTEN: u32 = 3;

pub async fn look(scene: &Scene) -> Looked {
    match scene.here() {
        None => Looked::default(),
        Some(record) => {
            let running: Vec<bool> = record.parts.iter().map(|part| part.process.runs()).collect();
            judge(&record.parts, &running)
        }
    }
}

fn judge(parts: &[Part], running: &[bool]) -> Looked {
    if !parts.is_empty() && running.iter().all(|runs| !runs) {
        return Looked::wrong(
            "the mesh that `up` has started here is gone",
            "it was killed, or this machine was started again",
            "start it again with `echo-mesh up`, or let the system do that: `echo-mesh service install`",
        );
    }
    let looked = Looked::seen(format!("{} parts that `up` keeps running", parts.len()));
    parts.iter().zip(running).fold(looked, |looked, (part, runs)| {
        let Part { name, restarts, .. } = part;
        let what = match (runs, *restarts >= OFTEN) {
            (true, false) => return looked,
            (true, true) => format!("{name} ends again and again: it was started {restarts} times more"),
            (false, _) => format!("{name} does not run"),
        };
        looked.and_wrong(
            what,
            "what it does for the mesh is missing meanwhile",
            format!("see why: echo-mesh logs {name}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    fn said(parts: &[(&str, u32)], running: &[bool]) -> Vec<String> {
        let part = |(name, restarts): &(&str, u32)| Part {
            name: (*name).to_owned(),
            process: Process::own().unwrap(),
            restarts: *restarts,
        };
        let parts: Vec<Part> = parts.iter().map(part).collect();
        judge(&parts, running).findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_part_that_is_dead_or_ends_again_and_again_is_told() {
        assert_eq!(said(&[("edge", 0), ("broker", 2)], &[true, true]), [""; 0]);
        assert_eq!(said(&[("edge", 5)], &[true]), ["edge ends again and again: it was started 5 times more"]);
        assert_eq!(said(&[("edge", 9), ("broker", 0)], &[false, true]), ["edge does not run"]);
        assert_eq!(said(&[("edge", 0)], &[false]), ["the mesh that `up` has started here is gone"]);
    }
}
