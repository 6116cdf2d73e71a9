//! The routers of vLLM and SGLang, which share an ancestor and their flags.

use super::{
    Kind, System,
    foreign::{command, free_address},
};
use crate::{engines::Engines, process::Process};

pub async fn start(kind: Kind, engines: &Engines) -> anyhow::Result<System> {
    let (address, metrics) = (free_address()?, free_address()?);
    let mut command = command(kind)?;
    if kind == Kind::SglangRouter {
        command.args(["-m", "sglang_router.launch_router"]);
    }
    // Taking turns is the policy that needs to know least; both default to one for prompts that share a beginning.
    command.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--policy", "round_robin"]);
    command.args(["--prometheus-port", &metrics.port().to_string(), "--log-level", "error"]);
    // Their own limit of requests at once is far below what is measured here.
    command.args(["--max-concurrent-requests", "20000", "--worker-urls"]);
    command.args(engines.addresses().map(|engine| format!("http://{engine}")));
    let process = Process::start(kind.name(), command).await?;
    let roots = vec![(kind.name().to_owned(), process.pid())];
    Ok(System::new(kind, vec![address], roots, process))
}
