//! `echo-mesh config`, and what the configuration file adds to the command line.

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args) -> ExitCode {
    eprintln!("error: `config` is not built yet");
    ExitCode::FAILURE
}

/// The command line, with the file's values where it and the environment say nothing.
pub fn parse() -> Cli {
    Cli::parse()
}
