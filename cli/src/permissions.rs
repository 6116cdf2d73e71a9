//! `echo-mesh permissions`: what a part may say and hear on the bus, for whoever runs a NATS of their own.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use echo_bus::id::NodeId;
use echo_bus::key::{PublicKey, Seed};
use echo_bus::permission::Part;
use echo_bus::process::{self, BadConfig};
use echo_bus::subject::Duty;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the part does
    #[arg(long, value_enum)]
    duty: Duty,

    /// Of an agent: its node
    #[arg(long, value_name = "ID")]
    node: Option<NodeId>,

    /// The part's public key, or the file that `echo-mesh key` has made; only an agent's permissions are told without it
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,

    /// For whom it is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// A user in nats-server's configuration
    #[default]
    Conf,
    /// The claims of a user's JWT, for nsc
    Nsc,
}

/// What else the server needs, said where it is pasted.
const BESIDE: &str = "\
# A user for nats-server's configuration, in `accounts { ACCOUNT { users: [ … ] } }` or `authorization { users: [ … ] }`.
# The server also needs:
#   max_payload: 8MB           # requests with images, and answers that another node continues
#   ping_interval: \"2s\"        # so that a machine that has stopped is noticed in seconds
# Optional, so that a killed agent is noticed in milliseconds instead of half a second, in the account of the mesh:
#   imports: [ { stream: { account: SYS, subject: \"$SYS.ACCOUNT.ACCOUNT.DISCONNECT\" }, to: \"_echo.gone\" } ]
#   and in the system account SYS: exports: [ { stream: \"$SYS.ACCOUNT.ACCOUNT.DISCONNECT\" } ]
";

pub fn main(args: Args) -> ExitCode {
    process::ended(run(&args))
}

fn run(args: &Args) -> anyhow::Result<()> {
    let text = text(args)?;
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")
}

fn text(args: &Args) -> anyhow::Result<String> {
    let key = args.key.as_deref().map(public_key).transpose()?;
    let part = part(args, key.as_ref())?;
    let permissions = part.permissions();
    Ok(match args.format {
        Format::Nsc => format!("{:#}\n", permissions.to_jwt()),
        Format::Conf => {
            let key =
                key.map_or_else(|| "U… # as `echo-mesh key` prints it".to_owned(), |key| key.to_string());
            format!("{BESIDE}{{\n  nkey: {key}\n{}\n}}\n", permissions.to_conf(2))
        }
    })
}

fn part(args: &Args, key: Option<&PublicKey>) -> Result<Part, BadConfig> {
    match (args.duty, &args.node, key) {
        (Duty::Agent, Some(node), _) => Ok(Part::Agent(node.clone())),
        (Duty::Agent, None, _) => {
            Err(BadConfig("an agent speaks for a node: name it with --node".to_owned()))
        }
        (duty, _, Some(key)) => Part::of(duty, None, key)
            .ok_or_else(|| BadConfig(format!("{duty} has no permissions of its own"))),
        (duty, ..) => Err(BadConfig(format!(
            "what an {duty} may hear depends on its key: make one with `echo-mesh key FILE`, and name it with --key FILE"
        ))),
    }
}

fn public_key(text: &str) -> Result<PublicKey, BadConfig> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let path = Path::new(text);
    if !path.exists() {
        return Err(BadConfig(format!(
            "{text} is neither a public key (U and 55 letters and digits) nor a file; make one with `echo-mesh key FILE`"
        )));
    }
    Seed::read(path).map(|seed| seed.public().clone()).map_err(BadConfig::because)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    fn args(duty: Duty, node: Option<&str>, key: Option<&str>, format: Format) -> Args {
        let node = node.map(|node| node.parse().expect("an id"));
        Args { duty, node, key: key.map(str::to_owned), format }
    }

    #[test]
    fn an_agents_user_is_ready_to_be_pasted() {
        let text = text(&args(Duty::Agent, Some("x"), Some(KEY), Format::Conf)).expect("permissions");
        assert!(text.contains(&format!("nkey: {KEY}")), "{text}");
        assert!(text.contains("\"echo.node.x.heartbeat\"") && text.contains("max_payload: 8MB"), "{text}");
    }

    #[test]
    fn each_duty_has_permissions_in_json() {
        for duty in [Duty::Orchestrator, Duty::Edge, Duty::Broker, Duty::Operator, Duty::Watch] {
            let text = text(&args(duty, None, Some(KEY), Format::Nsc)).expect("permissions");
            let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert!(json["pub"]["allow"].as_array().is_some_and(|some| !some.is_empty()), "{text}");
        }
    }

    #[test]
    fn whose_key_is_missing_is_told_how_to_make_one() {
        let error = text(&args(Duty::Edge, None, None, Format::Conf)).expect_err("no key").to_string();
        assert!(error.contains("echo-mesh key"), "{error}");
        let error =
            text(&args(Duty::Edge, None, Some("nowhere.nk"), Format::Conf)).expect_err("no file").to_string();
        assert!(error.contains("nowhere.nk"), "{error}");
    }
}
