//! The commands.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use echo_bus::process::{self, BadConfig};

use crate::{
    ask, chat, check, completions, config, doctor, down, invite, join, key, keys, logs, machines, models,
    order, permissions, service, status, top, up,
};

/// A mesh of the AI engines on your machines: one address, and the answers go on when a machine dies.
///
/// `echo-mesh up` starts everything that one machine needs; `echo-mesh join` brings another one in.
#[derive(Debug, Parser)]
#[command(name = "echo-mesh", version, propagate_version = true, max_term_width = 120)]
pub struct Cli {
    /// The configuration; /dev/null is none [default: ~/.config/echo-mesh/config.toml, if it is there]
    #[arg(long, env = "ECHO_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start this machine's whole mesh: broker, orchestrator, edge, and an agent for each engine
    Up(up::Args),
    /// Bring this machine's engines into a mesh that runs elsewhere
    Join(join::Args),
    /// Make a code with which one machine may join
    Invite(invite::Args),
    /// Show which machines may get onto the bus, let one in, cut one off
    Machines(machines::Args),
    /// Show the keys of the edge's clients, make one, take one back
    Keys(keys::Args),
    /// Make a key for a part, or show the public half of one
    Key(key::Args),
    /// Print what a part may say and hear on the bus, for a NATS of your own
    Permissions(permissions::Args),
    /// Stop what `up` or `join` has started on this machine
    Down(down::Args),
    /// Show what runs here, and the mesh as a table
    Status(status::Args),
    /// Show what the parts here say
    Logs(logs::Args),
    /// Watch the mesh at work
    Top(top::Args),
    /// Ask for one answer
    Ask(ask::Args),
    /// Talk with a model
    #[command(alias = "run")]
    Chat(chat::Args),
    /// Show, pull and remove models
    #[command(aliases = ["list", "ls"])]
    Models(models::Args),
    /// Let a node finish what it does and take nothing new
    Drain(order::DrainArgs),
    /// Let a drained node take work again
    Resume(order::ResumeArgs),
    /// Ask the mesh a few things as a user would, and say what came of it
    Check(check::Args),
    /// Find out what is wrong, and how to mend it
    Doctor(doctor::Args),
    /// Show which settings are in force, and where each comes from
    Config(config::Args),
    /// Have the system start the mesh
    Service(service::Args),
    /// Print a shell's completions, or the manual pages
    Completions(completions::Args),
    /// The bus: finds or fetches nats-server, checks its configuration, starts it, and keeps it up
    Broker(echo_broker::program::Args),
    /// Places tasks on the nodes of the mesh, and holds those that must wait
    Orchestrator(echo_orchestrator::Config),
    /// Makes one engine a node of the mesh
    Agent(echo_agent::Args),
    /// The HTTP API: takes tasks, has them run on the nodes, and streams the answers
    Edge(echo_edge::Config),
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    if let Err(error) = no_secret() {
        return process::ended(Err(error.into()));
    }
    let matches = config::parse(commands());
    let Cli { config: file, command } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match command {
        Command::Up(args) => up::main(args, file),
        Command::Join(args) => join::main(args, file),
        Command::Invite(args) => invite::main(args),
        Command::Machines(args) => machines::main(args),
        Command::Keys(args) => keys::main(args),
        Command::Key(args) => key::main(args),
        Command::Permissions(args) => permissions::main(args),
        Command::Down(args) => down::main(args),
        Command::Status(args) => status::main(args),
        Command::Logs(args) => logs::main(args),
        Command::Top(args) => top::main(args),
        Command::Ask(args) => ask::main(args),
        Command::Chat(args) => chat::main(args),
        Command::Models(args) => models::main(args),
        Command::Drain(args) => order::drain(args),
        Command::Resume(args) => order::resume(args),
        Command::Check(args) => check::main(args),
        Command::Doctor(args) => doctor::main(args, file, commands()),
        Command::Config(args) => config::main(args, file, &commands()),
        Command::Service(args) => service::main(args, commands()),
        Command::Completions(args) => completions::main(args, Cli::command()),
        Command::Broker(args) => echo_broker::program::execute(args),
        Command::Orchestrator(args) => echo_orchestrator::program::execute(args),
        Command::Agent(args) => echo_agent::program::execute(args),
        Command::Edge(args) => echo_edge::program::execute(args),
    }
}

/// Earlier versions had one secret for everybody. Nothing is started with less protection than somebody has asked for.
fn no_secret() -> Result<(), BadConfig> {
    let flag = |arg: &std::ffi::OsString| arg.to_string_lossy().starts_with("--secret-file");
    let is_set = std::env::var_os("ECHO_SECRET_FILE").is_some_and(|value| !value.is_empty());
    if !is_set && !std::env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| flag(&arg)) {
        return Ok(());
    }
    Err(BadConfig(
        "--secret-file (ECHO_SECRET_FILE) is gone: instead of one secret for all, each machine has a key of its own. Take \
         it away, start the mesh with `echo-mesh up --lan` (a broker alone: --trust DIR), and bring each other machine \
         in again with `echo-mesh invite` and `echo-mesh join`"
            .to_owned(),
    ))
}

/// The whole command line, as it is without a file.
fn commands() -> clap::Command {
    config::without_empty(Cli::command())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }
}
