//! LiteLLM's proxy with one worker, as its documentation starts it.

use std::fs;

use anyhow::Context;
use serde_json::json;

use super::{
    Kind, System,
    foreign::{command, free_address},
};
use crate::{client::request::MODEL, engines::Engines, process::Process};

pub async fn start(engines: &Engines) -> anyhow::Result<System> {
    let folder = tempfile::Builder::new().prefix("echo-bench-litellm-").tempdir()?;
    let address = free_address()?;
    let models = engines.addresses().map(|engine| {
        let params = json!({"model": format!("openai/{MODEL}"), "api_base": format!("http://{engine}/v1"),
            "api_key": "none"});
        json!({"model_name": MODEL, "litellm_params": params})
    });
    let config = json!({"model_list": models, "router_settings": {"routing_strategy": "least-busy"}});
    // JSON is YAML.
    let file = folder.path().join("config.yaml");
    fs::write(&file, config.to_string()).context("cannot write config.yaml")?;
    let mut command = command(Kind::Litellm)?;
    command.arg("--config").arg(&file).args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--telemetry", "False"]);
    // Its price list comes with it: nothing is fetched.
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("NO_PROXY", "*").current_dir(folder.path());
    let process = Process::start("litellm", command).await?;
    let roots = vec![("litellm".to_owned(), process.pid())];
    Ok(System::new(Kind::Litellm, vec![address], roots, (process, folder)))
}
