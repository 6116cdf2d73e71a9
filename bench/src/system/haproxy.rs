//! HAProxy as people put it before several engines: fewest connections, health checks, connections reused.

use std::fs;

use anyhow::Context;

use super::{
    Kind, System,
    foreign::{command, free_address},
};
use crate::{engines::Engines, process::Process};

pub async fn start(engines: &Engines) -> anyhow::Result<System> {
    let folder = tempfile::Builder::new().prefix("echo-bench-haproxy-").tempdir()?;
    let address = free_address()?;
    let [first, second] = engines.addresses();
    // Without http-no-delay it holds small pieces of a stream back for up to 200 ms, and without abortonclose a client
    // that leaves is noticed only at the next token.
    // Each connection takes two files; HAProxy finds out by itself how many it may open.
    let config = format!(
        "defaults
    mode http
    option http-no-delay
    option abortonclose
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    http-reuse always
frontend clients
    bind {address} backlog 4096
    default_backend engines
backend engines
    balance leastconn
    server first {first} check
    server second {second} check
"
    );
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, config).context("cannot write haproxy.cfg")?;
    let mut command = command(Kind::Haproxy)?;
    command.arg("-db").arg("-f").arg(&file);
    let process = Process::start("haproxy", command).await?;
    let roots = vec![("haproxy".to_owned(), process.pid())];
    Ok(System::new(Kind::Haproxy, vec![address], roots, (process, folder)))
}
