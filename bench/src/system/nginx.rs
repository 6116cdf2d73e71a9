//! nginx as people put it before several engines: least connections, no buffering, connections kept.

use std::fs;

use anyhow::Context;

use super::{
    Kind, System,
    foreign::{command, free_address},
};
use crate::{engines::Engines, process::Process};

pub async fn start(engines: &Engines) -> anyhow::Result<System> {
    let folder = tempfile::Builder::new().prefix("echo-bench-nginx-").tempdir()?;
    let address = free_address()?;
    let [first, second] = engines.addresses();
    let path = folder.path().display();
    // Started by root, nginx would give its workers to a user who may not enter the folder.
    let user = if owned_by_root(folder.path())? { "user root;" } else { "" };
    let config = format!(
        "{user}
daemon off;
pid {path}/pid;
error_log stderr error;
worker_processes auto;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    client_body_temp_path {path}/body;
    proxy_temp_path {path}/proxy;
    fastcgi_temp_path {path}/fastcgi;
    uwsgi_temp_path {path}/uwsgi;
    scgi_temp_path {path}/scgi;
    keepalive_requests 1000000;
    upstream engines {{
        least_conn;
        server {first};
        server {second};
        keepalive 256;
        keepalive_requests 1000000;
    }}
    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://engines;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
            proxy_read_timeout 1h;
        }}
    }}
}}
"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, config).context("cannot write nginx.conf")?;
    let mut command = command(Kind::Nginx)?;
    command.arg("-e").arg("stderr").arg("-p").arg(folder.path()).arg("-c").arg(&file);
    let process = Process::start("nginx", command).await?;
    let roots = vec![("nginx".to_owned(), process.pid())];
    Ok(System::new(Kind::Nginx, vec![address], roots, (process, folder)))
}

fn owned_by_root(folder: &std::path::Path) -> anyhow::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(folder)?.uid() == 0)
}
