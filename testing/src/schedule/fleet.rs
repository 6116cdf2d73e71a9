//! The machines of a trace as scripted engines.

use std::time::Duration;

use echo_orchestrator::sim::{
    engine::{Machine, OVERHEAD},
    trace::Trace,
};

use echo_scripted_engine::{Api, Hardware, Model, Pace, Script};

const GIB: f64 = (1_u64 << 30) as f64;
/// Longer than any prompt of a trace.
const CONTEXT: u64 = 65_536;

/// One for each machine. They speak as Ollama: its agents learn loads and memory too.
pub fn scripts(trace: &Trace) -> Vec<Script> {
    trace.machines.iter().map(|(machine, loaded)| script(machine, loaded, &trace.models)).collect()
}

fn script(machine: &Machine, loaded: &[usize], names: &[String]) -> Script {
    let here = || (0..names.len()).filter(|&model| machine.has(model));
    let pace = |model: usize| {
        let pace = machine.pace(model);
        Pace { decode: pace.decode, prompt: pace.prompt, load: Duration::from_secs_f64(pace.load) }
    };
    let hardware = Hardware {
        memory: (machine.memory * GIB) as u64,
        sharing: machine.alpha,
        overhead: Duration::from_secs_f64(OVERHEAD),
        models: here().map(|model| (names[model].clone(), pace(model))).collect(),
        loaded: loaded.iter().map(|&model| names[model].clone()).collect(),
    };
    let model = |model: usize| {
        let size = (machine.pace(model).size * GIB) as u64;
        Model { size: Model::of_memory(size), context: CONTEXT, ..Model::named(&names[model]) }
    };
    Script {
        api: Api::Ollama,
        slots: machine.slots,
        models: here().map(model).collect(),
        hardware: Some(hardware),
        ..Script::default()
    }
}
