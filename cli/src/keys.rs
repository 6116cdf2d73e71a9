//! `echo-mesh keys`: the keys of the edge's clients.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_: Args) -> ExitCode {
    ExitCode::FAILURE
}
